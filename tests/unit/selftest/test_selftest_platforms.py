"""What the two kinds of hardware are asked to run, and how SGX's enclaves are built for it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from socket import AF_UNIX, socket

import pytest

from sealserve.demo.processes import COMMAND
from sealserve.deploy.gramine.lint import lint_manifest
from sealserve.deploy.gramine.manifest import Manifest
from sealserve.errors import SourceError
from sealserve.selftest.commands import probe_words, server_words
from sealserve.selftest.description import describe_service
from sealserve.selftest.enclave import Enclave
from sealserve.selftest.guest import Guest
from sealserve.selftest.platform import Platform, Site

SAMPLE = Path(__file__).parents[2] / "data" / "gramine" / "sigstruct" / "sample.sig"
DESCRIPTION = describe_service(port=8500, key_service_port=4433)
TOOL = """#!/bin/sh
[ "$1" = --version ] && echo 'Gramine 1.9 (x)' && exit
printf '%s\\n' "$(basename $0) $*" >> calls
case $(basename $0) in
gramine-manifest) while [ $# -gt 2 ]; do shift; done; cp "$1" "$2";;
gramine-sgx-sign) for last in "$@"; do :; done; cp SAMPLE "$last"; touch x.manifest.sgx;;
gramine-sgx) read line; echo "$1 $line";;
esac
""".replace("SAMPLE", str(SAMPLE))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = Site(tmp_path / "platform", tmp_path / "logs")
    made.folder.mkdir()
    made.logs.mkdir()
    return made


@pytest.fixture
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The files of a machine with SGX."""
    root = tmp_path_factory.mktemp("m")
    texts = {
        "proc/cpuinfo": "flags\t\t: fpu sgx sgx_lc\n",
        "proc/sys/kernel/osrelease": "6.8.0\n",
        "sys/devices/system/node/node0/x86/sgx_total_bytes": f"{32 << 30}\n",
        "dev/sgx_enclave": "",
        "dev/sgx_provision": "",
    }
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "var/run/aesmd").mkdir(parents=True)
    with ExitStack() as stack:
        aesm = stack.enter_context(socket(AF_UNIX))
        aesm.bind(str(root / "var/run/aesmd/aesm.socket"))
        aesm.listen()
        yield root


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("gramine-manifest", "gramine-sgx-sign", "gramine-sgx"):
        (folder / name).write_text(TOOL)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


def test_only_the_source_of_evidence_differs_between_hardware_and_lab() -> None:
    enclave, guest, lab = (
        server_words(DESCRIPTION, source) for source in ("gramine", "tsm", "lab:lab/qe.sock")
    )
    assert [word for word in enclave if word not in guest] == ["--evidence_source=gramine"]
    assert [word for word in lab if word not in guest] == ["--evidence_source=lab:lab/qe.sock"]
    assert "--attest" in enclave
    assert "--host=127.0.0.1" in enclave


def test_an_enclave_is_rendered_built_signed_and_started(
    site: Site, machine: Path, tools: Path
) -> None:
    enclave = Enclave(DESCRIPTION, "intel", root=machine)
    assert "processor: offers SGX" in enclave.find(site)
    words = probe_words(enclave.source)
    stated = json.loads(SAMPLE.with_name("sample.view.json").read_text())
    assert enclave.predict(words).mr_enclave.hex() == stated["mr_enclave"]
    assert enclave.run(words, "a challenge") == "probe a challenge\n"
    manifest, sign, start = (site.folder / "calls").read_text().splitlines()
    assert manifest.startswith("gramine-manifest -Darch_libdir=/lib/x86_64-linux-gnu -Dentrypoint=")
    assert manifest.endswith("probe.manifest.template probe.manifest")
    assert "--output probe.manifest.sgx --sigfile probe.sig" in sign
    assert start == "gramine-sgx probe"
    assert (site.folder / "enclave-key.pem").stat().st_mode & 0o777 == 0o600


def test_what_is_rendered_pins_the_command_and_passes_our_own_linter(
    site: Site, machine: Path, tools: Path
) -> None:
    enclave = Enclave(DESCRIPTION, "intel", root=machine)
    enclave.find(site)
    for words in (probe_words("gramine"), server_words(DESCRIPTION, "gramine")):
        enclave.predict(words)
    texts = {
        name: (site.folder / f"{name}.manifest.template").read_text()
        for name in ("probe", "server")
    }
    for name, text in texts.items():
        assert [each for each in lint_manifest(text, (1, 9)) if each.severity == "error"] == [], (
            name
        )
    probe = Manifest(texts["probe"]).arguments()
    assert probe is not None
    assert probe[-len(probe_words("gramine")) :] == probe_words("gramine")
    files = [each.file for each in Manifest(texts["server"]).listed("sgx.trusted_files")]
    assert {"models/digits/", "ssl.cfg", "key-service-ca.pem"} <= set(files)
    assert "key-service-ca.pem" not in texts["probe"]


def test_a_tool_that_fails_says_what_it_said(site: Site, machine: Path, tools: Path) -> None:
    (tools / "gramine-sgx-sign").write_text("#!/bin/sh\necho 'no libpal' >&2\nexit 3\n")
    enclave = Enclave(DESCRIPTION, "intel", root=machine)
    enclave.find(site)
    with pytest.raises(SourceError, match="gramine-sgx-sign ended with 3: no libpal"):
        enclave.predict(probe_words("gramine"))


def test_a_machine_without_sgx_is_told_what_lacks(site: Site, tmp_path: Path, tools: Path) -> None:
    with pytest.raises(SourceError, match="enclave device: none") as caught:
        Enclave(DESCRIPTION, "intel", root=tmp_path).find(site)
    assert "doctor --sgx" in str(caught.value.hint)


def test_half_of_gramine_is_not_enough(site: Site, machine: Path, tools: Path) -> None:
    (tools / "gramine-manifest").unlink()
    with pytest.raises(SourceError, match="not found: gramine-manifest"):
        Enclave(DESCRIPTION, "intel", root=machine).find(site)


def test_a_guest_runs_commands_as_they_are_and_predicts_nothing(site: Site, tmp_path: Path) -> None:
    (tmp_path / "proc/sys/kernel").mkdir(parents=True)
    (tmp_path / "proc/cpuinfo").write_text("flags\t\t: fpu tdx_guest\n")
    (tmp_path / "proc/sys/kernel/osrelease").write_text("6.8.0\n")
    (tmp_path / "sys/kernel/config/tsm/report").mkdir(parents=True)
    guest = Guest("intel", root=tmp_path)
    assert "configfs-tsm: /sys/kernel/config/tsm/report" in guest.find(site)
    as_any_platform: Platform = guest
    assert as_any_platform.predict(probe_words("tsm")) is None
    assert guest.run(("lab", "selfquote", "--help"), "").startswith("Usage: ")
    assert COMMAND[-1] == "sealserve"


@pytest.mark.parametrize("flags", ["fpu sgx", "fpu tdx_guest"], ids=["no guest", "no configfs"])
def test_what_a_guest_lacks_is_told(flags: str, site: Site, tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(f"flags\t\t: {flags}\n")
    with pytest.raises(SourceError) as caught:
        Guest("intel", root=tmp_path).find(site)
    assert caught.value.hint
