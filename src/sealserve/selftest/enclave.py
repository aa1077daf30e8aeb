"""An SGX enclave by Gramine: each command is an enclave of its own, built, signed and started here.

A manifest pins its arguments, so every command has a folder with a manifest that is rendered as for
a described service, filled in by `gramine-manifest`, and signed with a key that is made for this
alone. What `gramine-sgx-sign` states is the prediction that the hardware's quote is held to.

Never run by anybody on SGX: see docs/hardware.md. Source: Gramine 1.9, `Documentation/manpages/
{gramine-manifest,gramine-sgx-sign,gramine-sgx}.rst`.
"""

from __future__ import annotations

import shutil
import site as python_site
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import sealserve
from sealserve.demo.processes import Service
from sealserve.deploy.description.model import Description
from sealserve.deploy.finding import Finding
from sealserve.deploy.gramine.render import Choice, render_choice
from sealserve.deploy.gramine.servers import program
from sealserve.deploy.sgx import sgx_findings
from sealserve.endorsements.collateral import Tee
from sealserve.errors import SourceError
from sealserve.evidence.sigstruct import check_signature, parse_sigstruct
from sealserve.files import read_file, write_file
from sealserve.lab.identity import create_signing_key
from sealserve.selftest.commands import run_with
from sealserve.selftest.platform import Site
from sealserve.verifier import INTEL_SGX_ROOT_CA
from sealserve.verifier.claims import SgxEnclave

_TOOLS: Final = ("gramine-manifest", "gramine-sgx-sign", "gramine-sgx")
_HERE: Final = Path("/")
_KEY: Final = "enclave-key.pem"
_BUILD_SECONDS: Final = 1800.0  # signing hashes every trusted file, and each page of the enclave
_RUN_SECONDS: Final = 900.0  # all of an enclave's memory is committed before it starts
_SIG_LIMIT: Final = 64 << 10
_LIBRARIES: Final = "/lib/x86_64-linux-gnu"


class Enclave:
    """SGX on this machine."""

    simulated = False
    title = "SGX, by Gramine"
    tee: Tee = "SGX"
    source = "gramine"
    ready_seconds = _RUN_SECONDS

    def __init__(
        self,
        description: Description,
        collateral: str,
        collateral_ca: Path | None = None,
        *,
        root: Path = _HERE,
    ) -> None:
        self.collateral = collateral
        self.collateral_ca = collateral_ca
        self._description = description
        self._root = root
        self._built: dict[tuple[str, ...], SgxEnclave] = {}

    def find(self, site: Site) -> str:
        """What the doctor finds; raises SourceError for what is missing."""
        self._site = site
        findings = list(sgx_findings(self._root))
        blocking = [each for each in findings if each.blocks]
        if blocking:
            raise SourceError(
                "; ".join(f"{each.name}: {each.found}" for each in blocking),
                hint="sealserve doctor --sgx says how to mend each",
            )
        missing = [name for name in _TOOLS if shutil.which(name) is None]
        if missing:
            raise SourceError(f"not found: {', '.join(missing)}", hint="install all of Gramine")
        return "; ".join(map(_told, findings))

    def trust_root(self) -> bytes:
        """Intel's."""
        return INTEL_SGX_ROOT_CA

    def predict(self, words: Sequence[str]) -> SgxEnclave:
        """What the SIGSTRUCT of the command's enclave states; builds the enclave."""
        key = tuple(words)
        if key not in self._built:
            self._built[key] = self._build(key)
        return self._built[key]

    def run(self, words: Sequence[str], line: str) -> str:
        """The command as an enclave, to its end."""
        self.predict(words)
        command = ("gramine-sgx", _name(words))
        return run_with(command, line, folder=self._site.folder, seconds=_RUN_SECONDS)

    def start(self, name: str, words: Sequence[str]) -> Service:
        """The command as an enclave, which goes on."""
        self.predict(words)
        log = self._site.logs / f"{name}.log"
        command = ("gramine-sgx", _name(words))
        return Service(name, command, folder=self._site.folder, log=log)

    def close(self) -> None:
        """Nothing of the platform itself was started."""

    def _build(self, words: tuple[str, ...]) -> SgxEnclave:
        """Manifest, signature and all, in the site's folder, under the command's name."""
        folder, name = self._site.folder, _name(words)
        for path, data in _files(self._description, words).items():
            write_file(folder / path, data)
        if not (folder / _KEY).exists():
            create_signing_key(folder / _KEY)
        for command in _build_commands(folder, name):
            run_with(command, "", folder=folder, seconds=_BUILD_SECONDS)
        stated = parse_sigstruct(read_file(folder / f"{name}.sig", limit=_SIG_LIMIT))
        check_signature(stated)
        return SgxEnclave(
            mr_enclave=stated.mr_enclave,
            mr_signer=stated.mr_signer,
            isv_prod_id=stated.isv_prod_id,
            isv_svn=stated.isv_svn,
            debug=stated.debug,
            report_data=bytes(64),
            attributes=None,
            misc_select=None,
            config_id=None,
            config_svn=None,
            isv_ext_prod_id=None,
            isv_family_id=None,
        )


def _name(words: Sequence[str]) -> str:
    return "server" if words[0] == "serve" else "probe"


def _told(finding: Finding) -> str:
    return f"{finding.name}: {finding.found}"


def _files(description: Description, words: tuple[str, ...]) -> dict[str, bytes]:
    """The rendered files: those of the described server, with this command's arguments."""
    described = program(description)
    interpreter = described.arguments[: described.arguments.index("serve")]
    trusted = described.trusted if words[0] == "serve" else ()
    chosen = replace(
        described, name=_name(words), arguments=(*interpreter, *words), trusted=trusted
    )
    return render_choice(description, Choice(chosen)).files


def _build_commands(folder: Path, name: str) -> tuple[tuple[str, ...], ...]:
    manifest = f"{name}.manifest"
    return (
        (
            "gramine-manifest",
            f"-Darch_libdir={_LIBRARIES}",
            f"-Dentrypoint={Path(sys.executable).resolve()}",
            f"-Dpackages={':'.join(_packages())}",
            f"{manifest}.template",
            manifest,
        ),
        (
            "gramine-sgx-sign",
            *("--key", str(folder / _KEY)),
            *("--manifest", manifest),
            *("--output", f"{manifest}.sgx"),
            *("--sigfile", f"{name}.sig"),
        ),
    )


def _packages() -> list[str]:
    """Folders to import from that the interpreter does not know by itself: a virtual environment's.

    And where SealServe itself is, if that is none of them.
    """
    own = str(Path(sealserve.__file__).resolve().parents[1])
    installed = [] if sys.prefix == sys.base_prefix else python_site.getsitepackages()
    # Debian's Python names folders that there are not, and Gramine refuses those.
    folders = [str(Path(each).resolve()) for each in installed if Path(each).is_dir()]
    if own not in folders and own not in python_site.getsitepackages():
        folders.append(own)
    return folders
