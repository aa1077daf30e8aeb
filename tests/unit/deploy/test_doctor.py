"""`sealserve doctor` on machines that have everything, nothing, and things in between."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import metadata
from pathlib import Path

import pytest

from sealserve.cli import main
from sealserve.deploy import collateral_service
from sealserve.deploy.doctor import Report, examine
from sealserve.deploy.finding import Finding, command_output


def put(root: Path, path: str, text: str = "") -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


@pytest.fixture
def no_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is all of PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def command(folder: Path, name: str, output: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\ncat <<'END'\n{output}\nEND\n")
    (folder / name).chmod(0o755)


def of(report: Report, name: str) -> Finding:
    return next(finding for finding in report.findings if finding.name == name)


def test_a_machine_with_nothing_is_told_what_to_do_about_each(
    tmp_path: Path, no_commands: Path
) -> None:
    report = examine(tmp_path)
    lacks = [finding for finding in report.findings if not finding.good]
    assert {"processor", "enclave device", "AESM", "Gramine", "PCCS", "kubectl"} <= {
        finding.name for finding in lacks
    }
    assert all(finding.advice for finding in lacks)
    assert not report.hardware_is_ready


def test_what_hardware_lacks_does_not_keep_the_lab_from_running(
    tmp_path: Path, no_commands: Path
) -> None:
    assert examine(tmp_path).lab_can_run


@pytest.fixture
def sgx_machine(no_commands: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The files of a machine with SGX, in a folder whose name leaves room for a socket's."""
    root = tmp_path_factory.mktemp("m")
    put(root, "proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu aes sgx avx512f sgx_lc\n")
    put(root, "proc/sys/kernel/osrelease", "6.8.0-45-generic\n")
    put(root, "sys/devices/system/node/node0/x86/sgx_total_bytes", f"{32 << 30}\n")
    put(root, "sys/devices/system/node/node1/x86/sgx_total_bytes", f"{32 << 30}\n")
    put(root, "dev/sgx_enclave")
    put(root, "dev/sgx_provision")
    command(no_commands, "gramine-sgx", "Gramine 1.9 (a0b1c2)")
    socket_path = root / "var/run/aesmd/aesm.socket"
    socket_path.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(socket_path))
        listener.listen()
        yield root


@pytest.fixture(autouse=True)
def run_tools_of_the_fixtures(monkeypatch: pytest.MonkeyPatch, no_commands: Path) -> None:
    """The fixtures' scripts need `cat`, which is no tool that is looked for."""
    (no_commands / "cat").symlink_to("/bin/cat")


def test_a_machine_with_sgx_is_ready(sgx_machine: Path) -> None:
    report = examine(sgx_machine)
    assert [f for f in report.findings if f.area == "hardware" and not f.good] == []
    assert report.hardware_is_ready
    assert of(report, "enclave memory (EPC)").found == "64.0 GiB"
    assert of(report, "Gramine").found == "Gramine 1.9 (a0b1c2)"


@pytest.mark.parametrize(
    ("release", "good", "advice"),
    [
        ("5.4.0-42-generic", False, "5.11"),
        ("5.15.0-1037-azure", True, ""),
        ("6.0.0", True, ""),
        ("10.1-rc1", True, ""),
        ("strange", False, "5.11"),
    ],
)
def test_the_kernel_s_version_decides_what_enclaves_can_do(
    sgx_machine: Path, release: str, good: bool, advice: str
) -> None:
    put(sgx_machine, "proc/sys/kernel/osrelease", release)
    kernel = of(examine(sgx_machine), "kernel")
    assert kernel.good == good
    assert advice in kernel.advice


@pytest.mark.parametrize(("release", "good"), [("5.15.0-1037-azure", False), ("6.0.0", True)])
def test_a_kernel_without_edmm_keeps_no_enclave_from_running(
    sgx_machine: Path, release: str, good: bool
) -> None:
    put(sgx_machine, "proc/sys/kernel/osrelease", release)
    report = examine(sgx_machine)
    edmm = of(report, "EDMM")
    assert (edmm.good, edmm.needed, report.hardware_is_ready) == (good, False, True)


@pytest.mark.parametrize("older", ["dev/sgx/enclave", "dev/isgx"])
def test_an_older_name_of_the_device_is_recognised(sgx_machine: Path, older: str) -> None:
    (sgx_machine / "dev/sgx_enclave").unlink()
    put(sgx_machine, older)
    device = of(examine(sgx_machine), "enclave device")
    assert (device.good, device.found) == (False, f"/{older}, an older name")
    assert "/dev/sgx_enclave alone" in device.advice


def test_a_gramine_before_1_9_is_told_to_get_version_1_files(
    sgx_machine: Path, no_commands: Path
) -> None:
    command(no_commands, "gramine-sgx", "Gramine 1.8 (ffff)")
    gramine = of(examine(sgx_machine), "Gramine")
    assert not gramine.good
    assert "--format v1" in gramine.advice


def test_an_aesm_socket_that_nobody_listens_on_does_not_answer(sgx_machine: Path) -> None:
    path = sgx_machine / "var/run/aesmd/aesm.socket"
    path.unlink()
    with socket.socket(socket.AF_UNIX) as forgotten:
        forgotten.bind(str(path))
    assert not of(examine(sgx_machine), "AESM").good


def test_an_enclave_is_seen_from_inside(sgx_machine: Path) -> None:
    put(sgx_machine, "dev/attestation/attestation_type", "dcap")
    assert of(examine(sgx_machine), "in a Gramine enclave").found == "yes, attestation dcap"


class Pccs(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        good = self.path == "/sgx/certification/v4/qe/identity"
        self.send_response(200 if good else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def pccs() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Pccs) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("path", ["", "/", "/sgx/certification/v4", "/sgx/certification/v4/"])
def test_a_collateral_service_that_answers_is_found(tmp_path: Path, pccs: str, path: str) -> None:
    finding = of(examine(tmp_path, pccs=pccs + path), "PCCS")
    assert finding.good
    assert finding.found.endswith(": answers")


@pytest.mark.parametrize(
    "config",
    [
        pytest.param('// a comment\n{{"pccs_url": "{url}/sgx/certification/v4/"}}', id="JSON"),
        pytest.param("# a comment\nPCCS_URL={url}/sgx/certification/v4/\n", id="key and value"),
    ],
)
def test_the_service_in_intel_s_configuration_is_asked(
    tmp_path: Path, pccs: str, config: str
) -> None:
    put(tmp_path, "etc/sgx_default_qcnl.conf", config.format(url=pccs))
    assert of(examine(tmp_path), "PCCS").good


@pytest.mark.parametrize(
    ("url", "says"),
    [
        pytest.param("{url}/elsewhere", "status 404", id="another path"),
        pytest.param("http://127.0.0.1:1", "failed", id="nobody there"),
        pytest.param("https://[", "", id="no URL"),
        pytest.param("ftp://127.0.0.1", "protocol", id="no HTTP"),
    ],
)
def test_a_collateral_service_that_does_not_answer_is_reported(
    tmp_path: Path, pccs: str, url: str, says: str
) -> None:
    finding = of(examine(tmp_path, pccs=url.format(url=pccs)), "PCCS")
    assert not finding.good
    assert says in finding.found


def test_a_collateral_service_that_stalls_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collateral_service, "SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        finding = of(examine(tmp_path, pccs=url), "PCCS")
    assert "no answer within 0.2 seconds" in finding.found


def test_a_missing_package_keeps_the_lab_from_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        metadata, "requires", lambda _name: ["click>=8", 'no-such-package>=2; extra == "lab"']
    )
    report = examine(tmp_path)
    packages = of(report, "packages for lab")
    assert not report.lab_can_run
    assert packages.found == "no-such-package is missing"
    assert packages.advice == "pip install 'sealserve[lab]'"


def test_a_missing_package_of_an_option_keeps_nothing_from_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = ['no-such-package>=2; extra == "tensorflow"', 'click>=8; extra == "lab"']
    monkeypatch.setattr(metadata, "requires", lambda _name: packages)
    report = examine(tmp_path)
    assert report.lab_can_run
    assert of(report, "packages for tensorflow").found == "no-such-package is missing"
    areas = [finding.area for finding in report.findings]
    assert areas.index("options") > max(at for at, area in enumerate(areas) if area == "lab")


def test_the_packages_of_every_role_are_looked_for(tmp_path: Path) -> None:
    names = {finding.name for finding in examine(tmp_path).findings if finding.area == "lab"}
    assert {"packages of the core", "packages for serving", "packages for lab"} <= names
    assert not {"packages for dev", "packages for train", "packages for all"} & names


def test_a_command_that_is_not_there_has_no_output(no_commands: Path) -> None:
    assert command_output("no-such-command") is None


def test_the_command_line_prints_one_json_object(
    capsys: pytest.CaptureFixture[str], pccs: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["doctor", "--json", "--pccs", pccs])
    report = json.loads(capsys.readouterr().out)
    assert caught.value.code == (0 if report["lab_can_run"] else 1)
    assert {finding["area"] for finding in report["findings"]} == {
        "lab",
        "options",
        "edge",
        "hardware",
        "collateral",
        "deployment",
    }


def test_the_command_line_says_both_outcomes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["doctor"])
    assert "The lab can" in capsys.readouterr().out
