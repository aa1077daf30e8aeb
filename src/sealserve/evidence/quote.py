"""The SGX quote, version 3, ECDSA P-256: bytes <-> `Quote`.

Parsing proves nothing: no signature is checked here and no value is judged. What is accepted
serialises back to the same bytes, so a verifier may work on the parsed form alone.

Choices where the format leaves one:
- the signature section must be filled exactly; bytes after it (real quotes are padded so) are kept
  in `trailing`, are covered by no signature, and mean nothing;
- reserved fields must be zero;
- certification data is kept as it stands, for the verifier to judge by its type.

Source: Intel SGX ECDSA Quote Library Reference, appendix A, "Quote Format" of version 3. All
integers are little-endian; ECDSA signatures (r, s) and points (x, y) are two 32-byte big-endian
numbers.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple, TypeAlias

from sealserve.errors import FormatError
from sealserve.evidence.reader import Reader
from sealserve.evidence.report import SGX_REPORT_BYTES, SgxReport, check_lengths, check_widths

MAX_QUOTE_BYTES: Final = 32 * 1024
HEADER_BYTES: Final = 48
ECDSA_P256: Final = 2  # attestation key type
TEE_TYPE_SGX: Final = 0
INTEL_QE_VENDOR_ID: Final = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
ECDSA_BYTES: Final = 64

_HEADER = struct.Struct("<H H I H H 16s 20s")
_LENGTHS = {
    "qe_vendor_id": 16,
    "user_data": 20,
    "signature": ECDSA_BYTES,
    "attestation_key": ECDSA_BYTES,
    "qe_report_signature": ECDSA_BYTES,
}
_INTEGER_BITS = {
    "version": 16,
    "attestation_key_type": 16,
    "tee_type": 32,
    "qe_svn": 16,
    "pce_svn": 16,
}


class CertificationDataType(IntEnum):
    """How a quote names the key that certifies its quoting enclave."""

    PPID_CLEARTEXT = 1
    PPID_RSA_2048_ENCRYPTED = 2
    PPID_RSA_3072_ENCRYPTED = 3
    PCK_LEAF = 4
    PCK_CHAIN = 5  # PEM: leaf, intermediate, root


# The fields of `Quote` before its body, and those after it up to the trailing bytes.
_Header: TypeAlias = tuple[int, int, int, int, int, bytes, bytes]
_Signature: TypeAlias = tuple[bytes, bytes, SgxReport, bytes, bytes, CertificationDataType, bytes]


@dataclass(frozen=True, slots=True)
class Quote:
    """One quote, field by field in the order of the bytes (the two length fields are derived)."""

    version: int
    attestation_key_type: int
    tee_type: int
    qe_svn: int
    pce_svn: int
    qe_vendor_id: bytes
    """16 bytes."""
    user_data: bytes
    """20 bytes; the first 16 tell the platform apart."""
    body: SgxReport
    """The application enclave's report."""
    signature: bytes
    """64 bytes, by the attestation key over `signed_bytes`."""
    attestation_key: bytes
    """64 bytes, the P-256 point."""
    qe_report: SgxReport
    """The quoting enclave's report."""
    qe_report_signature: bytes
    """64 bytes, by the PCK key over the quoting enclave's report."""
    qe_auth_data: bytes
    """0 to 65535 bytes."""
    certification_data_type: CertificationDataType
    certification_data: bytes
    trailing: bytes = b""
    """What follows the quote; signed by nobody."""

    def __post_init__(self) -> None:
        check_lengths("quote", self, _LENGTHS)
        check_widths("quote", self, _INTEGER_BITS)
        if len(self.qe_auth_data) > 0xFFFF:
            raise FormatError("quote: qe_auth_data exceeds 65535 bytes", code="quote.field")

    @property
    def signed_bytes(self) -> bytes:
        """Header and body, 432 bytes: what the attestation key signed."""
        header = _HEADER.pack(
            self.version,
            self.attestation_key_type,
            self.tee_type,
            self.qe_svn,
            self.pce_svn,
            self.qe_vendor_id,
            self.user_data,
        )
        return header + self.body.serialize()


def parse_quote(data: bytes) -> Quote:
    """The quote in `data`, at most 32 KiB.

    Raises FormatError: `quote.size`, `quote.length`, `quote.version`, `quote.tee-type`,
    `quote.attestation-key-type`, `quote.qe-vendor`, `quote.certification-type`, `report.length`,
    `report.reserved`.
    """
    header, body, reader = _read_signed_part(data)
    section_bytes = reader.unsigned(4, "the signature length")
    section = Reader(reader.take(section_bytes, "the signature section"), "quote")
    signature = _LAYOUTS[header[0]].signature(section)
    if section.remaining:
        raise FormatError(
            f"the quote's signature section has {section.remaining} bytes too many",
            code="quote.length",
        )
    return Quote(*header, body, *signature, reader.take(reader.remaining, "the trailing bytes"))


def parse_quote_body(data: bytes) -> SgxReport:
    """The body of the quote in `data` alone, its signature section unread.

    For showing what a placeholder says; a verifier has no use for it. Raises as `parse_quote`.
    """
    return _read_signed_part(data)[1]


def is_placeholder(data: bytes) -> bool:
    """Header and body are followed by nothing but zeros: nobody signed this, or claims to have."""
    end = HEADER_BYTES + SGX_REPORT_BYTES + 4
    return len(data) > end and not any(data[end:])


def serialize_quote(quote: Quote) -> bytes:
    """The bytes that `parse_quote` would read as `quote`."""
    section = b"".join(
        (
            quote.signature,
            quote.attestation_key,
            quote.qe_report.serialize(),
            quote.qe_report_signature,
            struct.pack("<H", len(quote.qe_auth_data)),
            quote.qe_auth_data,
            struct.pack("<H I", quote.certification_data_type, len(quote.certification_data)),
            quote.certification_data,
        )
    )
    return quote.signed_bytes + struct.pack("<I", len(section)) + section + quote.trailing


def _read_signed_part(data: bytes) -> tuple[_Header, SgxReport, Reader]:
    if len(data) > MAX_QUOTE_BYTES:
        raise FormatError(
            f"the quote is {len(data)} bytes, more than the {MAX_QUOTE_BYTES} allowed",
            code="quote.size",
        )
    reader = Reader(data, "quote")
    header: _Header = _HEADER.unpack(reader.take(HEADER_BYTES, "the header"))
    layout = _LAYOUTS.get(header[0])
    if layout is None:
        raise FormatError(
            f"quote version {header[0]} is not supported: this build reads version 3 (SGX)",
            code="quote.version",
        )
    return header, layout.body(header, reader), reader


def _v3_body(header: _Header, reader: Reader) -> SgxReport:
    _, key_type, tee_type, _, _, vendor, _ = header
    _expect("the attestation key type", key_type, ECDSA_P256, "quote.attestation-key-type")
    _expect("the TEE type (reserved in version 3)", tee_type, TEE_TYPE_SGX, "quote.tee-type")
    _expect("the QE vendor id", vendor.hex(), INTEL_QE_VENDOR_ID.hex(), "quote.qe-vendor")
    return SgxReport.parse(reader.take(SGX_REPORT_BYTES, "the report body"))


def _v3_signature(section: Reader) -> _Signature:
    signature = section.take(ECDSA_BYTES, "the signature")
    key = section.take(ECDSA_BYTES, "the attestation key")
    qe_report = SgxReport.parse(section.take(SGX_REPORT_BYTES, "the QE report"))
    qe_signature = section.take(ECDSA_BYTES, "the QE report signature")
    auth_bytes = section.unsigned(2, "the QE authentication data length")
    auth_data = section.take(auth_bytes, "the QE authentication data")
    kind = _certification_data_type(section.unsigned(2, "the certification data type"))
    data_bytes = section.unsigned(4, "the certification data length")
    data = section.take(data_bytes, "the certification data")
    return signature, key, qe_report, qe_signature, auth_data, kind, data


def _certification_data_type(value: int) -> CertificationDataType:
    try:
        return CertificationDataType(value)
    except ValueError:
        raise FormatError(
            f"certification data type {value} is not one of 1 to 5",
            code="quote.certification-type",
        ) from None


def _expect(what: str, found: object, expected: object, code: str) -> None:
    if found != expected:
        raise FormatError(f"quote: {what} is {found}, expected {expected}", code=code)


class _Layout(NamedTuple):
    """How one version lays out what differs between versions."""

    body: Callable[[_Header, Reader], SgxReport]
    signature: Callable[[Reader], _Signature]


_LAYOUTS: Final = {3: _Layout(_v3_body, _v3_signature)}
