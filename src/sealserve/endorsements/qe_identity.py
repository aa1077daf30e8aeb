"""QE identity: what Intel's quoting enclave looks like, and which of its versions stand how.

Version 2, read from the bytes that Intel signed. Two enclaves sign quotes, one for SGX enclaves and
one for trust domains, and each has its own identity. Whether a quoting enclave fits is the
verifier's to say. Source: Intel SGX and TDX Provisioning Certification Service API, version 4, "Get
SGX QE Identity" and "Get TDX QE Identity".
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sealserve.endorsements.levels import IsvLevel, evaluation_data_number, isv_levels
from sealserve.endorsements.signed_json import read_object
from sealserve.errors import FormatError

SGX_QE_ID = "QE"
TDX_QE_ID = "TD_QE"
_VERSION = 2


@dataclass(frozen=True, slots=True)
class QeIdentity:
    """The identity of a quoting enclave.

    Values and masks are byte strings in the order of the report's memory, as Intel writes them: bit
    n of the field is bit n % 8 of byte n // 8. `misc_select` has 4 bytes, `attributes` 16.
    """

    id: str
    """Which enclave this describes; Intel signs identities of others in the same form."""
    issue_date: datetime
    next_update: datetime
    evaluation_data_number: int
    misc_select: bytes
    misc_select_mask: bytes
    attributes: bytes
    attributes_mask: bytes
    mr_signer: bytes
    isv_prod_id: int
    levels: tuple[IsvLevel, ...]
    """In the order in which they must be tried."""


def parse_qe_identity(signed: bytes) -> QeIdentity:
    """The identity in the bytes that were signed; raises FormatError."""
    identity = read_object(signed, "enclaveIdentity")
    version = identity.number("version", 0xFF)
    if version != _VERSION:
        raise FormatError(f"enclaveIdentity.version: found {version}, expected {_VERSION}")
    return QeIdentity(
        id=identity.text("id"),
        issue_date=identity.date("issueDate"),
        next_update=identity.date("nextUpdate"),
        evaluation_data_number=evaluation_data_number(identity),
        misc_select=identity.hexadecimal("miscselect", 4),
        misc_select_mask=identity.hexadecimal("miscselectMask", 4),
        attributes=identity.hexadecimal("attributes", 16),
        attributes_mask=identity.hexadecimal("attributesMask", 16),
        mr_signer=identity.hexadecimal("mrsigner", 32),
        isv_prod_id=identity.number("isvprodid", 0xFFFF),
        levels=isv_levels(identity, maximum_svn=0xFFFF),
    )
