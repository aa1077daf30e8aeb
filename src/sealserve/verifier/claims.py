"""Claims: what a verified quote says, and on what the verification rested.

Claims state facts. Whether an enclave with these claims may have a secret is for the policy to say
(`sealserve.appraisal`), which sees of the verifier nothing but this module. In the words of RFC
9334 these are the attester's claims and what the endorsers add; SGX fields have Intel's names.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Literal

from sealserve.endorsements.tcb_status import TcbStatus

__all__ = ["Claims", "TcbStatus"]


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of one SGX quote. Byte fields are as the hardware stores them."""

    tee: Literal["SGX"]
    quote_version: int

    # The enclave, from the report body.
    mr_enclave: bytes
    """32 bytes."""
    mr_signer: bytes
    """32 bytes."""
    isv_prod_id: int
    isv_svn: int
    debug: bool
    attributes: bytes
    """16 bytes: FLAGS and XFRM."""
    misc_select: int
    report_data: bytes
    """64 bytes that the enclave chose."""
    config_id: bytes
    """64 bytes, zero without key separation and sharing (KSS), like the three that follow."""
    config_svn: int
    isv_ext_prod_id: bytes
    isv_family_id: bytes

    # The platform, from the PCK certificate.
    fmspc: bytes
    """6 bytes: family, model, stepping, platform type, custom SKU."""
    pce_id: bytes
    ppid: bytes
    """16 bytes: the platform's provisioning id. It tells machines apart: handle it as personal."""
    platform_instance_id: bytes | None
    cpu_svn: bytes
    pce_svn: int

    # Its standing, from the collateral.
    tcb_status: TcbStatus
    """The platform's and the quoting enclave's status, merged."""
    platform_tcb_status: TcbStatus
    qe_tcb_status: TcbStatus
    advisory_ids: tuple[str, ...]
    """Intel's advisories of every level that contributed, sorted."""
    tcb_date: datetime
    """Of the platform's level: what Intel published later is not in it."""
    tcb_evaluation_data_number: int
    """The lower of the TCB info's and the QE identity's."""

    # What the verification rested on.
    collateral_valid_from: datetime
    collateral_valid_until: datetime
    """The earliest end of anything in the collateral."""
    trust_root_sha256: bytes
    """SHA-256 of the trust root's certificate (DER)."""
    simulated: bool
    """The trust root is not Intel's: nothing here was measured by SGX hardware."""
    verified_at: datetime

    def as_dict(self) -> dict[str, object]:
        """The claims as JSON holds them: bytes in hex, times as RFC 3339."""
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, TcbStatus):
        return value.value
    if isinstance(value, tuple):
        return list(value)
    return value
