"""The kernel's driver: version, configuration, devices, and who may use them.

Sources: Gramine 1.9, `Documentation/sgx-setup.rst` (driver and FSGSBASE from 5.11),
`Documentation/manifest-syntax.rst` ("EDMM", from 6.0); Linux,
`Documentation/admin-guide/kernel-parameters.txt` (`nosgx`), commit 28f0c335dd4a (devtmpfs mounted
noexec by itself, 5.17); opencontainers/runtime-tools issue 759 (containers with a noexec /dev run
no enclave). Gramine 1.9, `pal/src/host/linux-sgx/host_framework.c`: it opens `/dev/sgx_enclave`
under that name alone; `/dev/sgx_provision` is for aesmd, whose group Intel's packages make. Older
names: `/dev/sgx/enclave` and `/dev/sgx/provision` of the DCAP driver, `/dev/isgx` of the first one.
"""

from __future__ import annotations

import gzip
import stat
from collections.abc import Iterator

from sealserve.deploy.finding import Finding, hardware
from sealserve.deploy.sgx.machine import Machine, version_in

DRIVER_KERNEL = (5, 11)
EDMM_KERNEL = (6, 0)
ENCLAVE = "dev/sgx_enclave"
PROVISION = "dev/sgx_provision"

_OLDER = {ENCLAVE: ("dev/sgx/enclave", "dev/isgx"), PROVISION: ("dev/sgx/provision",)}
_CONFIGS = ("boot/config-{0}", "lib/modules/{0}/config", "usr/lib/modules/{0}/config")
_PACKED_CONFIG = "proc/config.gz"
_CONFIG_LIMIT = 1 << 20
_SWITCH = "CONFIG_X86_SGX"
_QUOTING_USER = "aesmd"


def kernel(machine: Machine) -> Finding:
    """Whether it has the driver at all."""
    release = machine.release or "unknown"
    return hardware(
        "kernel",
        version_in(release) >= DRIVER_KERNEL,
        f"Linux {release}",
        expected="5.11 or newer, which has the SGX driver and FSGSBASE",
        mend="5.11 or newer; where a distribution has put the driver into an older one, Gramine "
        "needs FSGSBASE there, too",
        needed=not machine.exists(ENCLAVE),
    )


def edmm(machine: Machine, *, wanted: bool) -> Finding:
    """Whether enclaves can grow; `wanted` is what the description asks."""
    found = version_in(machine.release) >= EDMM_KERNEL
    return hardware(
        "EDMM",
        found,
        f"{'possible' if found else 'not possible'} with Linux {machine.release or 'unknown'}",
        expected="6.0 or newer, for sgx.edmm_enable (enclaves that grow)",
        mend="a newer kernel; without it, leave edmm off: then all of the enclave's size is taken "
        "at the start",
        needed=wanted,
    )


def configuration(machine: Machine) -> Iterator[Finding]:
    """How the kernel was built and started, where that can be read."""
    built = _built(machine)
    known = built in ("y", None) or machine.exists(ENCLAVE)
    yield hardware(
        "kernel configuration",
        known,
        f"{_SWITCH} is not told" if built is None else f"{_SWITCH}={built}",
        expected=f"{_SWITCH}=y",
        mend="the distribution's own kernel, or one that is built with it",
    )
    if "nosgx" in machine.text("proc/cmdline").split():
        yield hardware(
            "kernel command line",
            False,
            "nosgx",
            expected="no nosgx, which switches SGX off",
            mend="remove it from the boot loader's configuration, and start again",
        )


def _built(machine: Machine) -> str | None:
    """`y`, or `n` where it is not set; None where nobody tells."""
    texts = [machine.text(name.format(machine.release)) for name in _CONFIGS]
    texts.append(_packed(machine))
    for text in filter(None, texts):
        for line in text.splitlines():
            if line.startswith(f"{_SWITCH}="):
                return line.partition("=")[2]
        return "n"
    return None


def _packed(machine: Machine) -> str:
    try:
        with gzip.open(machine.path(_PACKED_CONFIG), "rb") as stream:
            return stream.read(_CONFIG_LIMIT).decode(errors="replace")
    except (OSError, EOFError):
        return ""


def devices(machine: Machine) -> Iterator[Finding]:
    """Both devices: there, under the right name, and for the right people."""
    yield _device(machine, "enclave device", ENCLAVE) or _access(machine)
    yield _device(machine, "provisioning device", PROVISION) or _access_of_quoting(machine)


def _device(machine: Machine, name: str, path: str) -> Finding | None:
    """What is wrong with a device that is not there; None where it is."""
    if machine.exists(path):
        return None
    older = [old for old in _OLDER[path] if machine.exists(old)]
    if older:
        found = f"/{older[0]}, an older name"
        mend = (
            f"Gramine opens /{ENCLAVE} alone: use the kernel's own driver (5.11 or newer) in the "
            "place of Intel's separate one"
        )
    elif machine.container and "sgx" in machine.flags:
        found = f"none, in a container ({machine.container})"
        mend = (
            f"give it to the container: --device /{path}; in Kubernetes ask for the resources of "
            "an SGX device plugin"
        )
    else:
        found = "none"
        mend = "it appears once processor, firmware and kernel have SGX"
    inside = machine.container is not None and path == PROVISION  # aesmd may be outside
    return hardware(name, False, found, expected=f"/{path}", mend=mend, needed=not inside)


def _access(machine: Machine) -> Finding:
    owner, group = _owners(machine, ENCLAVE)
    good = machine.may_use(ENCLAVE)
    return hardware(
        "enclave device",
        good,
        f"/{ENCLAVE}, {owner}" + ("" if good else ", and this user may not use it"),
        expected=f"/{ENCLAVE}, readable and writable for whoever runs the server",
        mend=f"join its group, and log in again: usermod -aG {group} USER",
    )


def _access_of_quoting(machine: Machine) -> Finding:
    """Who may load Intel's provisioning enclave; aesmd has to, and nobody else who runs Gramine."""
    owner, group = _owners(machine, PROVISION)
    gid = machine.path(PROVISION).stat().st_gid
    members = machine.group(gid).members
    good = machine.may_use(PROVISION) or _QUOTING_USER in members
    return hardware(
        "provisioning device",
        good,
        f"/{PROVISION}, {owner}" + ("" if good else f", and {_QUOTING_USER} is not in its group"),
        expected=f"/{PROVISION}, for {_QUOTING_USER}, who makes the quotes",
        mend=f"usermod -aG {group} {_QUOTING_USER}, and restart it",
        needed=False,
    )


def _owners(machine: Machine, path: str) -> tuple[str, str]:
    """Group and mode as a person reads them, and the group to join."""
    found = machine.path(path).stat()
    name = machine.group(found.st_gid).name
    shown = f"group {name}, mode {stat.S_IMODE(found.st_mode):04o}"
    default = "sgx" if path == ENCLAVE else "sgx_prv"
    return shown, default if found.st_gid == 0 else name


def executable(machine: Machine) -> Iterator[Finding]:
    """Whether pages of the device may be executed: /dev must not be mounted noexec."""
    if not machine.exists(ENCLAVE):
        return
    points: dict[str, list[str]] = {}
    for line in machine.text("proc/mounts").splitlines():
        fields = line.split()
        if len(fields) > 3:
            points[fields[1]] = fields[3].split(",")  # the last mount counts
    options = points.get(f"/{ENCLAVE}", points.get("/dev", []))
    yield hardware(
        "mount of /dev",
        "noexec" not in options,
        "noexec" if "noexec" in options else "without noexec",
        expected="without noexec: the enclave's pages are mapped from the device, executable",
        mend="mount -o remount,exec /dev; of a container, in the runtime's configuration",
    )
