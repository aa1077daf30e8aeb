"""DCAP quotes, versions 3, 4 and 5, ECDSA P-256, of SGX and TDX: bytes <-> `Quote`.

Parsing proves nothing: no signature is checked here and no value is judged. What is accepted
serialises back to the same bytes, so a verifier may work on the parsed form alone.

Choices where the format leaves one:
- the signature section must be filled exactly; bytes after it (real quotes are padded so) are kept
  in `trailing`, are covered by no signature, and mean nothing;
- reserved fields of reports must be zero; the two of the header that versions 4 and 5 reserve are
  read as version 3 has them, since quoting enclaves fill them;
- certification data is kept as it stands, for the verifier to judge by its type.

Source: Intel SGX ECDSA Quote Library Reference, appendix A, "Quote Format", for version 3; Intel
TDX DCAP Quoting Library API, appendix A.3 and A.4, for versions 4 and 5. All integers are
little-endian; ECDSA signatures (r, s) and points (x, y) are two 32-byte big-endian numbers.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, TypeAlias

from sealserve.errors import FormatError
from sealserve.evidence.body import (
    TEE_TYPE_SGX,
    TEE_TYPE_TDX,
    Body,
    BodyType,
    check_body,
    read_body,
    write_body,
)
from sealserve.evidence.reader import Reader
from sealserve.evidence.report import SGX_REPORT_BYTES, SgxReport, check_lengths, check_widths
from sealserve.evidence.signature import (
    ECDSA_BYTES,
    CertificationDataType,
    SignatureSection,
    read_signature,
    write_signature,
)

__all__ = [
    "ECDSA_BYTES",
    "ECDSA_P256",
    "HEADER_BYTES",
    "INTEL_QE_VENDOR_ID",
    "MAX_QUOTE_BYTES",
    "TEE_TYPE_SGX",
    "TEE_TYPE_TDX",
    "VERSIONS",
    "Body",
    "BodyType",
    "CertificationDataType",
    "Quote",
    "is_placeholder",
    "parse_quote",
    "parse_quote_body",
    "serialize_quote",
]

MAX_QUOTE_BYTES: Final = 32 * 1024
HEADER_BYTES: Final = 48
VERSIONS: Final = (3, 4, 5)
ECDSA_P256: Final = 2  # attestation key type
INTEL_QE_VENDOR_ID: Final = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")

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

# The fields of `Quote` before its body.
_Header: TypeAlias = tuple[int, int, int, int, int, bytes, bytes]


@dataclass(frozen=True, slots=True)
class Quote:
    """One quote, field by field in the order of the bytes (the length fields are derived)."""

    version: int
    attestation_key_type: int
    tee_type: int
    qe_svn: int
    pce_svn: int
    qe_vendor_id: bytes
    """16 bytes."""
    user_data: bytes
    """20 bytes; the first 16 tell the platform apart."""
    body: Body
    """The report of the application enclave or of the trust domain."""
    signature: bytes
    """64 bytes, by the attestation key over `signed_bytes`."""
    attestation_key: bytes
    """64 bytes, the P-256 point."""
    qe_report: SgxReport
    """The quoting enclave's report, an SGX report also where it quotes trust domains."""
    qe_report_signature: bytes
    """64 bytes, by the PCK key over the quoting enclave's report."""
    qe_auth_data: bytes
    """0 to 65535 bytes."""
    certification_data_type: CertificationDataType
    """In versions 4 and 5 of what is inside the type 6, which is taken off."""
    certification_data: bytes
    trailing: bytes = b""
    """What follows the quote; signed by nobody."""
    body_type: BodyType | None = None
    """What a quote of version 5 says that its body is; None before."""

    def __post_init__(self) -> None:
        check_lengths("quote", self, _LENGTHS)
        check_widths("quote", self, _INTEGER_BITS)
        check_body(self.version, self.tee_type, self.body, self.body_type)
        if len(self.qe_auth_data) > 0xFFFF:
            raise FormatError("quote: qe_auth_data exceeds 65535 bytes", code="quote.field")

    @property
    def signed_bytes(self) -> bytes:
        """Header and body, with the body's type and length: what the attestation key signed."""
        header = _HEADER.pack(
            self.version,
            self.attestation_key_type,
            self.tee_type,
            self.qe_svn,
            self.pce_svn,
            self.qe_vendor_id,
            self.user_data,
        )
        return header + write_body(self.body, self.body_type)


def parse_quote(data: bytes) -> Quote:
    """The quote in `data`, at most 32 KiB.

    Raises FormatError: `quote.size`, `quote.length`, `quote.version`, `quote.tee-type`,
    `quote.body-type`, `quote.body-size`, `quote.attestation-key-type`, `quote.qe-vendor`,
    `quote.certification-type`, `report.length`, `report.reserved`.
    """
    header, body, body_type, reader = _read_signed_part(data)
    section_bytes = reader.unsigned(4, "the signature length")
    section = Reader(reader.take(section_bytes, "the signature section"), "quote")
    signed = read_signature(header[0], section)
    return Quote(
        *header,
        body,
        signed.signature,
        signed.attestation_key,
        signed.qe_report,
        signed.qe_report_signature,
        signed.qe_auth_data,
        signed.certification_data_type,
        signed.certification_data,
        reader.take(reader.remaining, "the trailing bytes"),
        body_type,
    )


def parse_quote_body(data: bytes) -> Body:
    """The body of the quote in `data` alone, its signature section unread.

    For showing what a placeholder says; a verifier has no use for it. Raises as `parse_quote`.
    """
    return _read_signed_part(data)[1]


def is_placeholder(data: bytes) -> bool:
    """An SGX header and body are followed by nothing but zeros: nobody signed this.

    Gramine writes such into certificates where no attestation is configured.
    """
    end = HEADER_BYTES + SGX_REPORT_BYTES + 4
    return len(data) > end and not any(data[end:])


def serialize_quote(quote: Quote) -> bytes:
    """The bytes that `parse_quote` would read as `quote`."""
    section = write_signature(
        quote.version,
        SignatureSection(
            quote.signature,
            quote.attestation_key,
            quote.qe_report,
            quote.qe_report_signature,
            quote.qe_auth_data,
            quote.certification_data_type,
            quote.certification_data,
        ),
    )
    return quote.signed_bytes + struct.pack("<I", len(section)) + section + quote.trailing


def _read_signed_part(data: bytes) -> tuple[_Header, Body, BodyType | None, Reader]:
    if len(data) > MAX_QUOTE_BYTES:
        raise FormatError(
            f"the quote is {len(data)} bytes, more than the {MAX_QUOTE_BYTES} allowed",
            code="quote.size",
        )
    reader = Reader(data, "quote")
    header: _Header = _HEADER.unpack(reader.take(HEADER_BYTES, "the header"))
    version, key_type, tee_type, _, _, vendor, _ = header
    if version not in VERSIONS:
        raise FormatError(
            f"quote version {version} is not supported: this build reads versions 3, 4 and 5",
            code="quote.version",
        )
    _expect("the attestation key type", key_type, ECDSA_P256, "quote.attestation-key-type")
    _expect("the QE vendor id", vendor.hex(), INTEL_QE_VENDOR_ID.hex(), "quote.qe-vendor")
    body, body_type = read_body(version, tee_type, reader)
    return header, body, body_type, reader


def _expect(what: str, found: object, expected: object, code: str) -> None:
    if found != expected:
        raise FormatError(f"quote: {what} is {found}, expected {expected}", code=code)
