"""Enclave memory (EPC): how much there is, and whether a described service fits.

Sources: Linux, `Documentation/ABI/stable/sysfs-devices-node` (`x86/sgx_total_bytes`, November
2021), `Documentation/arch/x86/sgx.rst` ("Page reclaimer": what does not fit is paged out to normal
memory); Gramine 1.9, `Documentation/performance.rst` ("Choosing the SGX machine", EPC paging is
very slow), `Documentation/manifest-syntax.rst` ("Enclave size").
"""

from __future__ import annotations

from sealserve.deploy.description.model import Description, size_in_mib
from sealserve.deploy.finding import Finding, hardware
from sealserve.deploy.gramine.sizing import sizing
from sealserve.deploy.sgx.machine import Machine, gibibytes
from sealserve.deploy.sgx.processor import epc_by_gramine

_SIZES = "sys/devices/system/node/node*/x86/sgx_total_bytes"


def total(machine: Machine) -> int:
    """Bytes of enclave memory, of all nodes; 0 where nobody tells."""
    sizes = [
        machine.text(str(path.relative_to(machine.root))).strip()
        for path in sorted(machine.root.glob(_SIZES))
    ]
    return sum(int(size) for size in sizes if size.isdecimal()) or epc_by_gramine()


def epc(machine: Machine) -> Finding:
    """Whether there is any. Kernels before 5.17 do not say: then Gramine's tool does."""
    size = total(machine)
    untold = not size and machine.exists("dev/sgx_enclave")
    found = gibibytes(size) if size else "not told" if untold else "none"
    return hardware(
        "enclave memory (EPC)",
        size > 0,
        found,
        expected="some: sgx_total_bytes in sysfs, or is-sgx-available",
        mend="install Gramine, whose is-sgx-available says it on kernels before 5.17"
        if untold
        else "set its size (PRMRR) in the firmware; in a cloud it comes with the machine type",
        needed=not untold,
    )


def fits(machine: Machine, description: Description) -> Finding:
    """Whether all replicas of the described service fit on this machine at once."""
    size, replicas = size_in_mib(sizing(description).size) << 20, description.replicas
    there, wanted = total(machine), size * replicas
    expected = (
        f"{gibibytes(wanted)}: {replicas} x {gibibytes(size)}, if all replicas run on this machine"
    )
    if not there:
        found = "how much there is is not told"
        return hardware("memory of the service", True, found, expected=expected, mend="")
    most = there // size
    if most:
        mend = f"run {most} here and the rest elsewhere, or take a larger machine"
    else:
        mend = "a larger machine, or edmm = true, with which only what is used is taken"
    return hardware(
        "memory of the service",
        there >= wanted,
        f"{gibibytes(there)} of enclave memory",
        expected=expected,
        mend=f"{mend}: the kernel pages what does not fit out to normal memory, very slowly",
        needed=False,
    )
