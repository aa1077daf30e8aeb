"""What a machine has of SGX: processor, kernel, devices, AESM, Gramine. Looks; changes nothing.

Sources: Linux, `Documentation/arch/x86/sgx.rst` (driver from 5.11, dynamic memory from 6.0, sizes
in sysfs); Gramine 1.9 (`/dev/sgx_enclave` under that name alone, AESM's sockets). Older names:
`/dev/sgx/enclave` and `/dev/sgx/provision` of the DCAP driver, `/dev/isgx` of the first one.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

from sealserve.deploy.finding import Finding, command_output

DRIVER_KERNEL = (5, 11)
EDMM_KERNEL = (6, 0)
PROTECTED_FILES_V2 = (1, 9)
CONNECT_SECONDS = 1.0

_DEVICES = {
    "enclave device": ("dev/sgx_enclave", ("dev/sgx/enclave", "dev/isgx"), "sgx"),
    "provisioning device": ("dev/sgx_provision", ("dev/sgx/provision",), "sgx_prv"),
}
_AESM_SOCKET = "var/run/aesmd/aesm.socket"
_AESM_ABSTRACT = "\0sgx_aesm_socket_base"
_EPC_SIZES = "sys/devices/system/node/node*/x86/sgx_total_bytes"
_HERE = Path("/")


def sgx_findings(root: Path) -> Iterator[Finding]:
    """All of it, from the processor up, on the machine whose files are under `root`."""
    flags = cpu_flags(root)
    yield _processor(flags)
    yield _launch_control(flags)
    yield _epc(root)
    yield _kernel(root)
    for name, (path, older, group) in _DEVICES.items():
        yield _device(root, name, path, older, group)
    yield _aesm(root)
    yield _gramine()
    yield _inside(root)


def _finding(name: str, good: bool, found: str, advice: str) -> Finding:
    return Finding("hardware", name, good, found, "" if good else advice)


def cpu_flags(root: Path) -> frozenset[str]:
    """What the kernel says of the first processor; nothing where it does not say."""
    for line in text_of(root / "proc/cpuinfo").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "flags":
            return frozenset(value.split())
    return frozenset()


def _processor(flags: frozenset[str]) -> Finding:
    good = "sgx" in flags
    return _finding(
        "processor",
        good,
        "offers SGX" if good else "offers no SGX",
        "an Intel processor with SGX, switched on in the firmware; in a cloud, an SGX machine type",
    )


def _launch_control(flags: frozenset[str]) -> Finding:
    good = "sgx_lc" in flags
    return _finding(
        "flexible launch control",
        good,
        "yes" if good else "no",
        "DCAP and the kernel's driver need it: set it to unlocked in the firmware",
    )


def _epc(root: Path) -> Finding:
    sizes = [text_of(path).strip() for path in sorted(root.glob(_EPC_SIZES))]
    total = sum(int(size) for size in sizes if size.isdecimal())
    found = f"{total / (1 << 30):.1f} GiB" if total else "none, or the kernel does not say"
    return _finding(
        "enclave memory (EPC)", total > 0, found, "set its size (PRMRR) in the firmware"
    )


def _kernel(root: Path) -> Finding:
    release = text_of(root / "proc/sys/kernel/osrelease").strip() or "unknown"
    version = version_in(release)
    found = f"Linux {release}"
    if version < DRIVER_KERNEL:
        return _finding("kernel", False, found, "5.11 or newer brings the SGX driver")
    if version < EDMM_KERNEL:
        advice = "6.0 or newer, for sgx.edmm_enable (enclaves that grow); without it, leave it off"
        return _finding("kernel", False, found, advice)
    return _finding("kernel", True, f"{found}: SGX driver and EDMM", "")


def _device(root: Path, name: str, path: str, older: tuple[str, ...], group: str) -> Finding:
    device = root / path
    if device.exists():
        good = os.access(device, os.R_OK | os.W_OK)
        found = f"/{path}" + ("" if good else ", and this user may not use it")
        return _finding(name, good, found, f"join its group: usermod -aG {group} USER")
    there = [old for old in older if (root / old).exists()]
    if there:
        return _finding(
            name,
            False,
            f"/{there[0]}, an older name",
            f"Gramine opens /{path} alone: use the kernel's own driver (5.11 or newer)",
        )
    return _finding(name, False, "none", "it appears once processor, firmware and kernel have SGX")


def _aesm(root: Path) -> Finding:
    addresses = [str(root / _AESM_SOCKET), *([_AESM_ABSTRACT] if root == _HERE else [])]
    good = any(_answers(address) for address in addresses)
    return _finding(
        "AESM",
        good,
        "answers" if good else f"does not answer on /{_AESM_SOCKET}",
        "it makes the quotes: packages sgx-aesm-service, libsgx-aesm-ecdsa-plugin, "
        "libsgx-aesm-quote-ex-plugin, libsgx-dcap-default-qpl",
    )


def _answers(address: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(CONNECT_SECONDS)
        try:
            probe.connect(address)
        except OSError:
            return False
        return True


def _gramine() -> Finding:
    output = command_output("gramine-sgx", "--version")
    if output is None:
        return _finding("Gramine", False, "no gramine-sgx", "install Gramine, best from 1.9")
    found = output.strip().partition("\n")[0] or "a version that it does not tell"
    good = version_in(found) >= PROTECTED_FILES_V2
    advice = "before 1.9 it reads protected files of version 1 alone: seal with --format v1"
    return _finding("Gramine", good, found, advice)


def _inside(root: Path) -> Finding:
    kind = text_of(root / "dev/attestation/attestation_type").strip()
    found = f"yes, attestation {kind}" if kind else "no, this process runs outside"
    return _finding("in a Gramine enclave", True, found, "")


def version_in(text: str) -> tuple[int, int]:
    """The first version in a text, (0, 0) without one."""
    match = re.search(r"(\d{1,4})\.(\d{1,4})", text)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def text_of(path: Path) -> str:
    """A small file, empty where it cannot be read."""
    try:
        with path.open("rb") as stream:
            return stream.read(1 << 20).decode(errors="replace")
    except OSError:
        return ""
