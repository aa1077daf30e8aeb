"""What a report says of the platform: its kind and its standing, never which machine it is.

PPID and platform instance id, which tell one machine from another, are left out, and so is the PCK
certificate that has them. Source of the types: Intel, *SGX PCK Certificate and CRL Profile
Specification*, "SGX Type".
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from sealserve.deploy.finding import command_output
from sealserve.deploy.sgx.machine import Machine
from sealserve.selftest.evidence import Found
from sealserve.verifier.claims import DcapStanding

_HERE: Final = Path("/")
_SGX_TYPES: Final = ("standard", "scalable", "scalable with integrity")


def platform_facts(found: Found) -> dict[str, Any]:
    """Kernel, processor and Gramine; and, of verified evidence, FMSPC and what Intel says of it."""
    machine = Machine(_HERE)
    gramine = command_output("gramine-sgx", "--version")
    facts: dict[str, Any] = {
        "kernel": machine.release,
        "processor": machine.of_processor("model name"),
        "microcode": machine.of_processor("microcode"),
        "gramine": gramine.strip().partition("\n")[0] if gramine else None,
        "container": machine.container,
    }
    if found.claims is None or not isinstance(found.claims.standing, DcapStanding):
        return facts
    standing = found.claims.standing
    return facts | {
        "sgx_type": None if found.sgx_type is None else _SGX_TYPES[found.sgx_type],
        "fmspc": standing.fmspc.hex(),
        "quote_version": standing.quote_version,
        "tcb_status": standing.tcb_status.value,
        "platform_tcb_status": standing.platform_tcb_status.value,
        "qe_tcb_status": standing.qe_tcb_status.value,
        "advisory_ids": list(standing.advisory_ids),
        "tcb_evaluation_data_number": standing.tcb_evaluation_data_number,
        "tcb_date": standing.tcb_date.date().isoformat(),
    }
