"""`sealserve doctor --sgx` on folders that look like machines: what it says of each."""

from __future__ import annotations

import gzip
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from sealserve.cli import main
from sealserve.deploy.clouds import load_cloud
from sealserve.deploy.clouds.qcnl import render_qcnl
from sealserve.deploy.description.reading import check_description
from sealserve.deploy.description.writing import Answers, describe
from sealserve.deploy.doctor import Report, examine_sgx
from sealserve.deploy.finding import Finding
from sealserve.deploy.sgx.machine import Machine, User

SGX_FLAGS = "fpu aes sgx avx512f sgx_lc tme"
NOBODY = "http://127.0.0.1:1"  # refuses at once
AVAILABLE = """\
SGX supported by CPU: true
SGX2 (EAUG, EACCEPT, EMODPR, ...): {sgx2}
EPC size: 0x{epc:x}
"""
DMI = "sys/class/dmi/id"
AZURE_TAG = "7783-7084-3265-9085-8269-3286-77"


@dataclass
class Built:
    """The files of a machine, its commands, and who uses it."""

    root: Path
    commands: Path
    listeners: ExitStack
    user: User | None = None
    cloud: str | None = None
    wants: Answers | None = None

    def put(self, path: str, text: str = "") -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def take(self, *paths: str) -> None:
        for path in paths:
            (self.root / path).unlink()

    def command(self, name: str, output: str) -> None:
        (self.commands / name).write_text(f"#!/bin/sh\ncat <<'END'\n{output}\nEND\n")
        (self.commands / name).chmod(0o755)

    def aesm(self) -> None:
        path = self.root / "var/run/aesmd/aesm.socket"
        path.parent.mkdir(parents=True)
        listener = self.listeners.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(path))
        listener.listen()

    def kernel(self, release: str) -> None:
        self.put("proc/sys/kernel/osrelease", f"{release}\n")
        self.put(f"boot/config-{release}", "CONFIG_X86=y\nCONFIG_X86_SGX=y\n")

    def flags(self, flags: str, vendor: str = "GenuineIntel", model: str = "Intel Xeon") -> None:
        lines = (
            f"processor\t: 0\nvendor_id\t: {vendor}\nmodel name\t: {model}\nflags\t\t: {flags}\n"
        )
        self.put("proc/cpuinfo", lines)

    def qcnl(self, text: bytes) -> None:
        self.put("etc/sgx_default_qcnl.conf", text.decode())


@pytest.fixture
def built(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Built]:
    """A machine on which nothing is wrong."""
    root, commands = tmp_path_factory.mktemp("m"), tmp_path_factory.mktemp("bin")
    monkeypatch.setenv("PATH", str(commands))
    (commands / "cat").symlink_to("/bin/cat")
    with ExitStack() as listeners:
        machine = Built(root, commands, listeners)
        machine.flags(SGX_FLAGS)
        machine.kernel("6.8.0-45-generic")
        machine.put("proc/cmdline", "root=/dev/sda1 ro\n")
        machine.put("proc/mounts", "udev /dev devtmpfs rw,nosuid 0 0\n")
        machine.put("etc/group", "sgx:x:901:alice\nsgx_prv:x:902:aesmd\n")
        machine.put("sys/devices/system/node/node0/x86/sgx_total_bytes", f"{64 << 30}\n")
        machine.put("run/systemd/timesync/synchronized")
        for device, gid in (("dev/sgx_enclave", 901), ("dev/sgx_provision", 902)):
            machine.put(device)
            (root / device).chmod(0o660)
            os.chown(root / device, -1, gid)
        machine.user = User(1000, frozenset({1000, 901}))
        machine.command("gramine-sgx", "Gramine 1.9 (a0b1c2)")
        machine.command("is-sgx-available", AVAILABLE.format(sgx2="true", epc=64 << 30))
        machine.aesm()
        machine.qcnl(
            render_qcnl(
                load_cloud("generic"),
                region=None,
                pccs="https://pccs.example:8081/sgx/certification/v4/",
            )
        )
        yield machine


class Pccs(BaseHTTPRequestHandler):
    """A service whose clock is off by what the server says."""

    def do_GET(self) -> None:
        self.send_response_only(200)
        self.send_header("Date", formatdate(self.server.now, usegmt=True))  # type: ignore[attr-defined]
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def pccs() -> Iterator[Callable[[float], str]]:
    """Starts a service, whose clock is that many seconds off."""
    with ExitStack() as stack:

        def start(off: float = 0.0) -> str:
            server = stack.enter_context(HTTPServer(("127.0.0.1", 0), Pccs))
            server.now = time.time() + off  # type: ignore[attr-defined]
            thread = Thread(target=server.serve_forever, args=(0.02,))
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            return f"http://127.0.0.1:{server.server_port}"

        yield start


def examined(built: Built, pccs: str = NOBODY) -> Report:
    text = describe(built.wants) if built.wants else None
    description = check_description(text).description if text else None
    machine = Machine(built.root, built.user)
    return examine_sgx(machine, description=description, pccs=pccs, cloud=built.cloud)


def of(report: Report, name: str) -> Finding:
    return next(finding for finding in report.findings if finding.name == name)


def faults(report: Report) -> dict[str, Finding]:
    return {each.name: each for each in report.findings if not each.good}


def no_sgx(built: Built) -> None:
    built.flags("fpu svm", "AuthenticAMD", "AMD EPYC 7763")
    built.take("dev/sgx_enclave", "dev/sgx_provision")
    built.take("sys/devices/system/node/node0/x86/sgx_total_bytes")
    built.commands.joinpath("is-sgx-available").unlink()


def firmware_off(built: Built) -> None:
    no_sgx(built)
    built.flags("fpu aes")
    built.put("dev/cpu/0/cpuid")
    registers = bytes(7) + bytes(4) + (1 << 2).to_bytes(4, "little") + bytes(8)
    (built.root / "dev/cpu/0/cpuid").write_bytes(registers)


def launch_control_locked(built: Built) -> None:
    built.flags("fpu aes sgx")
    built.take("dev/sgx_enclave", "dev/sgx_provision")


def driver_missing(built: Built) -> None:
    built.put("boot/config-6.8.0-45-generic", "CONFIG_X86=y\n# CONFIG_X86_SGX is not set\n")
    built.take("dev/sgx_enclave", "dev/sgx_provision")


def switched_off_at_boot(built: Built) -> None:
    built.put("proc/cmdline", "root=/dev/sda1 nosgx quiet\n")
    built.flags("fpu aes")
    built.take("dev/sgx_enclave", "dev/sgx_provision")


def dcap_driver(built: Built) -> None:
    built.kernel("5.4.0-42-generic")
    built.take("dev/sgx_enclave", "dev/sgx_provision")
    built.put("dev/sgx/enclave")
    built.put("dev/sgx/provision")


def old_kernel_with_backport(built: Built) -> None:
    built.kernel("4.18.0-372.el8.x86_64")


def no_permission(built: Built) -> None:
    built.user = User(1001, frozenset({1001}))


def aesmd_without_group(built: Built) -> None:
    built.put("etc/group", "sgx:x:901:alice\nsgx_prv:x:902:\n")


def container_without_devices(built: Built) -> None:
    built.put("run/.containerenv")
    built.take("dev/sgx_enclave", "dev/sgx_provision", "etc/sgx_default_qcnl.conf")
    built.take("var/run/aesmd/aesm.socket")


def container_with_noexec(built: Built) -> None:
    built.put(".dockerenv")
    built.put("proc/mounts", "tmpfs /dev tmpfs rw,nosuid,noexec,mode=755 0 0\n")


def azure(built: Built) -> None:
    built.kernel("5.15.0-1037-azure")
    built.put(f"{DMI}/sys_vendor", "Microsoft Corporation\n")
    built.put(f"{DMI}/product_name", "Virtual Machine\n")
    built.put(f"{DMI}/chassis_asset_tag", f"{AZURE_TAG}\n")
    built.qcnl(render_qcnl(load_cloud("azure"), region=None, pccs=None))


def alibaba_g7t(built: Built) -> None:
    built.kernel("4.19.91-24.1.al7.x86_64")
    built.put(f"{DMI}/product_name", "Alibaba Cloud ECS\n")
    built.take("sys/devices/system/node/node0/x86/sgx_total_bytes")
    built.command("is-sgx-available", AVAILABLE.format(sgx2="false", epc=32 << 30))
    built.qcnl(
        b'{"pccs_url": "https://sgx-dcap-server.cn-hangzhou.aliyuncs.com/sgx/certification/v4/"}'
    )


def tdx_guest(built: Built) -> None:
    built.flags("fpu aes tdx_guest")
    built.take("dev/sgx_enclave", "dev/sgx_provision")
    (built.root / "sys/kernel/config/tsm/report").mkdir(parents=True)


def no_aesm(built: Built) -> None:
    built.take("var/run/aesmd/aesm.socket")


def aesm_that_died(built: Built) -> None:
    built.listeners.close()


def pccs_on_localhost(built: Built) -> None:
    built.qcnl(
        b'{"pccs_url": "https://localhost:8081/sgx/certification/v4/", "use_secure_cert": false}'
    )


def no_gramine(built: Built) -> None:
    (built.commands / "gramine-sgx").unlink()


def old_gramine(built: Built) -> None:
    built.command("gramine-sgx", "Gramine 1.4 (f00)")


def clock_adrift(built: Built) -> None:
    built.take("run/systemd/timesync/synchronized")
    built.command("timedatectl", "no")


def small_memory(built: Built) -> None:
    built.put("sys/devices/system/node/node0/x86/sgx_total_bytes", f"{4 << 30}\n")
    built.wants = Answers(size="700M")


def edmm_without_sgx2(built: Built) -> None:
    built.command("is-sgx-available", AVAILABLE.format(sgx2="false", epc=64 << 30))


# What blocks (name -> a piece of the advice), and what else is not as it should be.
Machines = dict[str, tuple[Callable[[Built], None], dict[str, str], set[str]]]
DEVICES = {"enclave device": "once processor, firmware", "provisioning device": "appears"}
MACHINES: Machines = {
    "no SGX processor": (
        no_sgx,
        {
            "processor": "an Intel processor",
            "flexible launch control": "firmware",
            "enclave memory (EPC)": "PRMRR",
            **DEVICES,
        },
        set(),
    ),
    "firmware off": (
        firmware_off,
        {
            "processor": "Software Enabled",
            "flexible launch control": "firmware",
            "enclave memory (EPC)": "PRMRR",
            **DEVICES,
        },
        set(),
    ),
    "launch control locked": (
        launch_control_locked,
        {"flexible launch control": "unlocked", **DEVICES},
        set(),
    ),
    "driver missing": (driver_missing, {"kernel configuration": "built with it", **DEVICES}, set()),
    "switched off at boot": (
        switched_off_at_boot,
        {
            "processor": "an Intel processor",
            "flexible launch control": "firmware",
            "kernel command line": "remove it",
            **DEVICES,
        },
        set(),
    ),
    "DCAP's own driver": (
        dcap_driver,
        {
            "kernel": "5.11",
            "enclave device": "/dev/sgx_enclave alone",
            "provisioning device": "kernel's own driver",
        },
        {"EDMM"},
    ),
    "an old kernel with the driver": (old_kernel_with_backport, {}, {"kernel", "EDMM"}),
    "no permission": (no_permission, {"enclave device": "usermod -aG sgx USER"}, set()),
    "aesmd without its group": (aesmd_without_group, {}, {"provisioning device"}),
    "a container without devices": (
        container_without_devices,
        {"enclave device": "--device /dev/sgx_enclave", "AESM": "/var/run/aesmd of the host"},
        {"provisioning device", "quote provider's configuration"},
    ),
    "a container with a noexec /dev": (container_with_noexec, {"mount of /dev": "exec"}, set()),
    "Azure DCsv3": (azure, {}, {"EDMM"}),
    "Alibaba g7t": (alibaba_g7t, {}, {"kernel", "EDMM"}),
    "AESM missing": (no_aesm, {"AESM": "sgx-aesm-service"}, set()),
    "AESM that died": (aesm_that_died, {"AESM": "systemctl restart aesmd"}, set()),
    "PCCS without TLS": (pccs_on_localhost, {"quote provider's configuration": "true"}, set()),
    "no Gramine": (no_gramine, {"Gramine": "install Gramine"}, set()),
    "Gramine 1.4": (old_gramine, {"Gramine": "--format v1"}, set()),
    "a clock that nobody keeps": (clock_adrift, {}, {"clock"}),
    "too little memory": (small_memory, {}, {"memory of the service"}),
    "no SGX2": (edmm_without_sgx2, {}, set()),
}


def test_nothing_is_said_against_a_machine_that_has_everything(
    built: Built, pccs: Callable[[float], str]
) -> None:
    report = examined(built, pccs(0.0))
    assert faults(report) == {}
    assert report.evidence_is_ready
    assert all(each.expected for each in report.findings)
    assert of(report, "enclave memory (EPC)").found == "64.0 GiB"
    assert of(report, "enclave device").found == "/dev/sgx_enclave, group sgx, mode 0660"


@pytest.mark.parametrize(("change", "blocking", "more"), MACHINES.values(), ids=MACHINES)
def test_each_machine_is_told_what_it_lacks_and_how_to_mend_it(
    change: Callable[[Built], None], blocking: dict[str, str], more: set[str], built: Built
) -> None:
    change(built)
    report = examined(built)
    found = {
        name: each
        for name, each in faults(report).items()
        if each.area == "hardware"  # nobody answers for collateral here
    }
    assert {name for name, each in found.items() if each.blocks} == set(blocking)
    assert {name for name, each in found.items() if not each.blocks} == more
    for name, advice in blocking.items():
        assert advice in found[name].advice
    assert all(each.advice and each.expected and each.found for each in found.values())
    assert report.hardware_is_ready == (not blocking)


def test_a_tdx_guest_is_told_what_its_own_evidence_takes_and_nothing_of_sgx(
    built: Built, pccs: Callable[[float], str]
) -> None:
    tdx_guest(built)
    report = examined(built, pccs(0.0))
    assert [(each.name, each.good) for each in report.findings] == [
        ("machine", True),
        ("kernel of the TDX guest", True),
        ("configfs-tsm", True),
        ("clock", True),
        ("PCCS", True),
    ]
    assert report.evidence_is_ready
    built.kernel("6.6.1")
    report = examined(built, pccs(0.0))
    assert set(faults(report)) == {"kernel of the TDX guest"}
    assert not report.evidence_is_ready


@pytest.mark.parametrize(
    ("change", "name"), [(azure, "azure"), (alibaba_g7t, "alibaba")], ids=["Azure", "Alibaba"]
)
def test_a_cloud_is_recognised_and_its_own_needs_are_looked_at(
    change: Callable[[Built], None], name: str, built: Built
) -> None:
    change(built)
    report = examined(built)
    assert f"cloud {name}" in of(report, "machine").found
    assert of(report, "service of this cloud").good


@pytest.mark.parametrize(("off", "way"), [(-7200.0, "ahead of"), (7200.0, "behind")])
def test_a_wrong_clock_shows_in_the_service_s_date(
    off: float, way: str, built: Built, pccs: Callable[[float], str]
) -> None:
    clock = of(examined(built, pccs(off)), "clock")
    assert clock.blocks
    assert f" s {way} the collateral service" in clock.found


@pytest.mark.parametrize(("size", "fits"), [("100M", True), ("20G", False)])
def test_a_service_fits_or_is_told_how_much_it_takes(size: str, fits: bool, built: Built) -> None:
    built.wants = Answers(size=size)
    memory = of(examined(built), "memory of the service")
    assert memory.good == fits
    assert " x " in memory.expected
    assert ("pages" in memory.advice) == (not fits)


def test_the_kernel_s_packed_configuration_is_read(built: Built) -> None:
    built.take("boot/config-6.8.0-45-generic")
    (built.root / "proc/config.gz").write_bytes(gzip.compress(b"CONFIG_X86_SGX=y\n"))
    assert of(examined(built), "kernel configuration").found == "CONFIG_X86_SGX=y"
    (built.root / "proc/config.gz").write_bytes(b"no gzip")
    assert of(examined(built), "kernel configuration").found == "CONFIG_X86_SGX is not told"


def test_the_command_says_whether_evidence_can_be_had_here(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "sealserve.toml"
    file.write_text(describe(Answers()))
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--sgx", "--description", str(file), "--pccs", NOBODY, "--json"])
    report = json.loads(capsys.readouterr().out)
    assert ended.value.code == (0 if report["evidence_is_ready"] else 1)
    names = {each["name"] for each in report["findings"]}
    assert {"memory of the service", "clock", "kernel configuration"} <= names
    assert "lab" not in {each["area"] for each in report["findings"]}


def test_a_person_reads_what_was_found_expected_and_how_to_mend_it(
    built: Built, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["doctor", "--sgx", "--pccs", NOBODY])
    printed = capsys.readouterr().out
    assert "PCCS" in printed
    assert "expected: an answer to a request for the QE identity, with TLS verified" in printed
    assert printed.splitlines()[-1].startswith("Enclaves can")


def test_a_description_is_for_the_thorough_look(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--description", "x.toml"])
    assert ended.value.code == 1
    assert "--sgx" in capsys.readouterr().err
