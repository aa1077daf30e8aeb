"""The signature section of a quote: who signed it, and what vouches for the signer.

Signature and attestation key come first. What vouches for the key follows: the quoting enclave's
report, the report's signature, the QE authentication data that the report binds with the key, and
the certification data, which names the key that signed the report. In version 3 these four stand
one after another; from version 4 on they are wrapped as certification data of type 6. Both are read
into the same fields. Nothing is checked but lengths and types.

Source: Intel SGX ECDSA Quote Library Reference, appendix A.4; Intel TDX DCAP Quoting Library API,
appendix A.3.7 to A.3.11.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from sealserve.errors import FormatError
from sealserve.evidence.reader import Reader
from sealserve.evidence.report import SGX_REPORT_BYTES, SgxReport

ECDSA_BYTES: Final = 64
WRAPPED_FROM_VERSION: Final = 4
QE_REPORT_CERTIFICATION_DATA: Final = 6  # the wrapping type, which holds another one

_TYPE_AND_LENGTH = struct.Struct("<H I")


class CertificationDataType(IntEnum):
    """How a quote names the key that certifies its quoting enclave."""

    PPID_CLEARTEXT = 1
    PPID_RSA_2048_ENCRYPTED = 2
    PPID_RSA_3072_ENCRYPTED = 3
    PCK_LEAF = 4
    PCK_CHAIN = 5  # PEM: leaf, intermediate, root


@dataclass(frozen=True, slots=True)
class SignatureSection:
    """The section's fields, as `sealserve.evidence.quote.Quote` describes them."""

    signature: bytes
    attestation_key: bytes
    qe_report: SgxReport
    qe_report_signature: bytes
    qe_auth_data: bytes
    certification_data_type: CertificationDataType
    certification_data: bytes


def read_signature(version: int, section: Reader) -> SignatureSection:
    """The section, which must be filled exactly, and so must what is wrapped inside.

    Raises FormatError: `quote.length`, `quote.certification-type`, `report.*`.
    """
    signature = section.take(ECDSA_BYTES, "the signature")
    key = section.take(ECDSA_BYTES, "the attestation key")
    inner = section
    if version >= WRAPPED_FROM_VERSION:
        kind, data = _read_certification(section)
        if kind != QE_REPORT_CERTIFICATION_DATA:
            raise _wrong_type(kind, f"6 in version {version}")
        inner = Reader(data, "quote")
    qe_report = SgxReport.parse(inner.take(SGX_REPORT_BYTES, "the QE report"))
    qe_signature = inner.take(ECDSA_BYTES, "the QE report signature")
    auth_bytes = inner.unsigned(2, "the QE authentication data length")
    auth_data = inner.take(auth_bytes, "the QE authentication data")
    number, data = _read_certification(inner)
    left = inner.remaining or section.remaining
    if left:
        raise FormatError(
            f"the quote's signature section has {left} bytes too many", code="quote.length"
        )
    kind = _certification_data_type(number)
    return SignatureSection(signature, key, qe_report, qe_signature, auth_data, kind, data)


def write_signature(version: int, section: SignatureSection) -> bytes:
    """The bytes that `read_signature` would read."""
    certified = b"".join(
        (
            section.qe_report.serialize(),
            section.qe_report_signature,
            struct.pack("<H", len(section.qe_auth_data)),
            section.qe_auth_data,
            _write_certification(section.certification_data_type, section.certification_data),
        )
    )
    if version >= WRAPPED_FROM_VERSION:
        certified = _write_certification(QE_REPORT_CERTIFICATION_DATA, certified)
    return section.signature + section.attestation_key + certified


def _read_certification(reader: Reader) -> tuple[int, bytes]:
    kind = reader.unsigned(2, "the certification data type")
    size = reader.unsigned(4, "the certification data length")
    return kind, reader.take(size, "the certification data")


def _write_certification(kind: int, data: bytes) -> bytes:
    return _TYPE_AND_LENGTH.pack(kind, len(data)) + data


def _certification_data_type(value: int) -> CertificationDataType:
    try:
        return CertificationDataType(value)
    except ValueError:
        raise _wrong_type(value, "one of 1 to 5") from None


def _wrong_type(found: int, expected: str) -> FormatError:
    return FormatError(
        f"quote: the certification data type is {found}, expected {expected}",
        code="quote.certification-type",
    )
