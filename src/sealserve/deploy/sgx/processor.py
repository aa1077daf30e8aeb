"""What the processor has of SGX: the flags, launch control, SGX2, the kind of memory encryption.

Sources: Linux, `Documentation/arch/x86/sgx.rst` ("Overview", "Launch Control", "Encryption
engines"); `arch/x86/include/asm/cpufeatures.h` (the names of flags: `sgx`, `sgx_lc`, `tme`,
`tdx_guest`; SGX1 and SGX2 have none); `arch/x86/kernel/cpuid.c` (where a leaf is in
`/dev/cpu/0/cpuid`); Intel SDM volume 3D, 37.7.2 (SGX by leaf 7, EBX bit 2); Gramine 1.9,
`Documentation/manpages/is-sgx-available.rst`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from sealserve.deploy.finding import Finding, command_output, hardware
from sealserve.deploy.sgx.machine import Machine

_EXTENDED_FEATURES = 7  # the leaf
_EBX = slice(4, 8)
_SGX_IN_EBX = 1 << 2
_REGISTERS_BYTES = 16
_SGX2 = re.compile(r"^SGX2 \(.*\): (true|false)$", re.MULTILINE)
_EPC = re.compile(r"^EPC size: 0x([0-9a-f]{1,16})$", re.MULTILINE)


def processor(machine: Machine) -> Finding:
    """Whether the kernel sees SGX, and else whose word keeps it off."""
    good = "sgx" in machine.flags
    if good:
        found, mend = "offers SGX", ""
    elif "tdx_guest" in machine.flags:
        found = "a TDX guest, which has no SGX"
        mend = "nothing is wrong: serve with --evidence_source=tsm; `sealserve doctor` says more"
    elif _switched_off(machine):
        found = "offers SGX to its firmware, but the kernel does not see it"
        mend = (
            'switch SGX on in the firmware ("Enabled", not "Software Enabled"), with memory for '
            "it; look for nosgx on the kernel's command line"
        )
    else:
        vendor = machine.of_processor("vendor_id")
        found = f"offers no SGX ({machine.of_processor('model name') or vendor or 'unknown'})"
        mend = (
            "an Intel processor with SGX, switched on in the firmware; in a cloud, an SGX machine "
            "type: sealserve cloud list"
        )
    return hardware("processor", good, found, expected="flag sgx in /proc/cpuinfo", mend=mend)


def launch_control(machine: Machine) -> Finding:
    """Whether the kernel may decide which enclaves run."""
    good = "sgx_lc" in machine.flags
    return hardware(
        "flexible launch control",
        good,
        "yes" if good else "no",
        expected="flag sgx_lc in /proc/cpuinfo: DCAP and the kernel's driver need it",
        mend="set it to unlocked in the firmware (IA32_SGXLEPUBKEYHASH writable)",
    )


def details(machine: Machine, *, edmm: bool) -> Iterator[Finding]:
    """SGX2, which only `edmm` needs, and how enclave memory is encrypted."""
    told = _SGX2.search(_available() or "")
    found = {None: "not told: is-sgx-available is not installed", "true": "yes", "false": "no"}
    yield hardware(
        "SGX2",
        told is not None and told[1] == "true" if edmm else True,
        found[told[1] if told else None],
        expected="yes, for edmm = true" if edmm else "only sgx.edmm_enable needs it",
        mend="leave edmm off, or take a processor with SGX2 (Ice Lake or newer servers)",
    )
    if "sgx" in machine.flags:
        scalable = "tme" in machine.flags
        yield hardware(
            "memory encryption",
            True,
            "TME, as Ice Lake and newer: large enclave memory, without an integrity tree"
            if scalable
            else "the flag tme is missing: MEE with an integrity tree, or the kernel does not tell",
            expected="the PCK certificate says which SGX type it is: sealserve selftest shows it",
            mend="",
        )


def epc_by_gramine() -> int:
    """Bytes of enclave memory as Gramine's tool reads them from the processor; 0 without it."""
    told = _EPC.search(_available() or "")
    return int(told[1], 16) if told else 0


def _available() -> str | None:
    return command_output("is-sgx-available")


def _switched_off(machine: Machine) -> bool:
    """Whether the processor itself says SGX; readable for root, with the module cpuid."""
    try:
        with machine.path("dev/cpu/0/cpuid").open("rb", buffering=0) as stream:
            stream.seek(_EXTENDED_FEATURES)
            registers = stream.read(_REGISTERS_BYTES)
    except OSError:
        return False
    return bool(int.from_bytes(registers[_EBX], "little") & _SGX_IN_EBX)
