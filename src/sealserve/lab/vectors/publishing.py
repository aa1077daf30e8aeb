"""Conformance vectors as a folder of files, for whoever writes a verifier.

    DIR/README.md            the format, and what it means
    DIR/INDEX.json           all manifests in one list
    DIR/<id>/manifest.json   what was changed, and what must come out
    DIR/<id>/quote.bin
    DIR/<id>/…               collateral, a file for each part, under the names of
                             `endorsements.collateral`; an empty file is a part that is not there
    DIR/<id>/collateral.json the same in one file, where that form can say it
    DIR/<id>/trust_root.pem

The folder appears whole or not at all. Everything in it is the same each time, but for keys and
what is made with them; no private key is ever written.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from sealserve.endorsements.collateral import Collateral
from sealserve.endorsements.signed_json import split
from sealserve.errors import FormatError, UsageError
from sealserve.lab.vectors.case import Case
from sealserve.lab.vectors.manifest import FORMAT, SIMULATED, manifest_of
from sealserve.lab.vectors.original import STATEMENT_NAMES

MANIFEST = "manifest.json"
QUOTE = "quote.bin"
ONE_FILE = "collateral.json"
TRUST_ROOT = "trust_root.pem"
INDEX = "INDEX.json"
README = "README.md"


def publish(cases: Iterable[Case], out: Path) -> int:
    """Write the cases to the folder `out` and say how many; raises UsageError if it holds anything.

    Nothing is synced to disk: it can be made again.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is there, and not an empty folder", hint="name another folder")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
        try:
            written = _write(cases, part)
            part.chmod(0o755)
            part.rename(out)  # replaces an empty folder, and no other
        finally:
            shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        raise UsageError(f"cannot write {out}: {error.strerror}") from error
    return written


def _write(cases: Iterable[Case], folder: Path) -> int:
    index: list[Mapping[str, Any]] = []
    for case in cases:
        target = folder / case.id
        target.mkdir()
        index.append(_write_case(case, target))
    contents = {"format": FORMAT, "warning": SIMULATED, "vectors": index}
    (folder / INDEX).write_bytes(_json(contents))
    readme = resources.files("sealserve.lab.vectors").joinpath(README)
    (folder / README).write_bytes(readme.read_bytes())
    return len(index)


def _write_case(case: Case, target: Path) -> Mapping[str, Any]:
    evidence = case.evidence
    files = {
        QUOTE: evidence.quote,
        TRUST_ROOT: evidence.trust_root,
        **evidence.collateral.to_files(),
    }
    one_file = collateral_json(evidence.collateral)
    if one_file is not None:
        files[ONE_FILE] = one_file
    manifest = manifest_of(case, has_one_file=one_file is not None)
    files[MANIFEST] = _json(manifest)
    for name, content in files.items():
        (target / name).write_bytes(content)
    return manifest


@lru_cache(maxsize=64)
def collateral_json(collateral: Collateral) -> bytes | None:
    """The one-file form that `Collateral.from_json` reads; None where it cannot say the same.

    It has the statements and their signatures apart, so it knows no body but a well-formed one.
    Most vectors share their collateral: what was made is remembered.
    """
    members: dict[str, str] = {}
    try:
        for part, name in STATEMENT_NAMES.items():
            received = split(getattr(collateral, part), name)
            members[part] = received.signed.decode()
            members[f"{part}_signature"] = received.signature.hex()
            chain = f"{part}_issuer_chain"
            members[chain] = getattr(collateral, chain).decode()
        members["pck_crl_issuer_chain"] = collateral.pck_crl_issuer_chain.decode()
    except (FormatError, UnicodeDecodeError):
        return None
    members["pck_crl"] = collateral.pck_crl.hex()
    members["root_ca_crl"] = collateral.root_ca_crl.hex()
    said = _json(members)
    return said if Collateral.from_json(said) == collateral else None


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()
