"""Gramine, as far as it is installed, and whether this very process runs in it.

Source: Gramine 1.9, `tools/gramine.in` (`--version`), `Documentation/attestation.rst`.
"""

from __future__ import annotations

from sealserve.deploy.finding import Finding, command_output, hardware
from sealserve.deploy.sgx.machine import Machine, version_in

PROTECTED_FILES_V2 = (1, 9)
_OLDEST = (1, 5)


def gramine(wanted: str | None = None) -> Finding:
    """Its version; `wanted` is the one of a description."""
    output = command_output("gramine-sgx", "--version")
    expected = f"version {wanted}, as described" if wanted else "version 1.9, best"
    if output is None:
        return hardware(
            "Gramine", False, "no gramine-sgx", expected=expected, mend="install Gramine from 1.9"
        )
    found = output.strip().partition("\n")[0] or "a version that it does not tell"
    version = version_in(found)
    if wanted is not None and version != version_in(wanted):
        mend = f"install {wanted}, or write gramine.version of the description as it is here"
        return hardware("Gramine", False, found, expected=expected, mend=mend)
    return hardware(
        "Gramine",
        version >= PROTECTED_FILES_V2,
        found,
        expected=expected,
        mend="before 1.9 it reads protected files of version 1 alone: seal with --format v1",
        needed=version < _OLDEST,
    )


def inside(machine: Machine) -> Finding:
    """Whether this process is an enclave."""
    kind = machine.text("dev/attestation/attestation_type").strip()
    found = f"yes, attestation {kind}" if kind else "no, this process runs outside"
    return hardware("in a Gramine enclave", True, found, expected="either", mend="")
