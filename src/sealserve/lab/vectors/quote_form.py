"""Cases of the quote's form: every length, every type, every reserved byte, and what follows it."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from sealserve.evidence.quote import HEADER_BYTES, MAX_QUOTE_BYTES, CertificationDataType
from sealserve.evidence.report import SGX_REPORT_BYTES
from sealserve.lab.statements import raw_signature
from sealserve.lab.vectors.case import LEFT_OVER, RESERVED, Case
from sealserve.lab.vectors.original import Original
from sealserve.verifier import Code

_GROUP = "quote_form"
_FORMAT = Code.QUOTE_FORMAT
_RESERVED_OF_SGX_REPORT = (20, 96, 160, 262)  # the first byte of each reserved field


def cases(original: Original) -> Iterator[Case]:
    """Of one form of quote."""
    yield from _whole(original)
    yield from _header(original)
    yield from _lengths(original)
    if original.tee == "SGX":
        yield from _reserved_in_body(original)
    yield from _reserved_in_qe_report(original)
    yield from _certification_types(original)
    if original.quote.version >= 5:
        yield from _body_descriptor(original)
    yield _without_chain(original)


def _whole(original: Original) -> Iterator[Case]:
    data = original.data
    section = _section_offset(original)
    for name, change, changed in (
        ("empty", "The quote is empty.", b""),
        ("one-byte", "The quote ends after its first byte.", data[:1]),
        ("no-body", "The quote ends after its header.", data[:HEADER_BYTES]),
        ("no-signature", "The quote ends after its body.", data[: section - 4]),
        ("no-section", "The quote ends after the length of its signature.", data[:section]),
        ("cut-short", "The quote's last byte is missing.", data[:-1]),
        (
            "too-long",
            "The quote is followed by zeros to more than 32 KiB.",
            data.ljust(MAX_QUOTE_BYTES + 1, b"\0"),
        ),
    ):
        latitude = "Where a verifier's limit is, it may choose." if name == "too-long" else None
        yield original.reject(
            _GROUP, f"quote-{name}", change, _FORMAT, original.with_bytes(changed), latitude
        )


def _header(original: Original) -> Iterator[Case]:
    other_tee = 0x81 if original.tee == "SGX" else 0
    for name, change, offset, value in (
        ("version-2", "The quote says version 2.", 0, struct.pack("<H", 2)),
        ("version-6", "The quote says version 6.", 0, struct.pack("<H", 6)),
        ("key-type-p384", "The attestation key's type is ECDSA P-384.", 2, struct.pack("<H", 3)),
        ("tee-type-unknown", "The TEE type is 1.", 4, struct.pack("<I", 1)),
        ("tee-type-other", "The TEE type is the other one.", 4, struct.pack("<I", other_tee)),
        ("vendor", "The quoting enclave's vendor is not Intel.", 12, b"\x94"),
    ):
        changed = _written(original.data, offset, value)
        # A version 4 quote of the other TEE has a body of another length, and falls apart later.
        yield original.reject(
            _GROUP, f"header-{name}", change, _FORMAT, original.with_bytes(changed)
        )


def _lengths(original: Original) -> Iterator[Case]:
    """Each length field, too small by one, too large by one, zero and as large as it can be."""
    for name, (offset, size) in _length_fields(original).items():
        found = int.from_bytes(original.data[offset : offset + size], "little")
        limit = (1 << 8 * size) - 1
        words = name.replace("-", " ")
        for kind, value, how in (
            ("short", found - 1, "one less than it is"),
            ("long", found + 1, "one more than it is"),
            ("zero", 0, "zero"),
            ("most", limit, f"{limit}, the most that the field can hold"),
        ):
            changed = _written(original.data, offset, value.to_bytes(size, "little"))
            change = f"The length of the {words} says {how}."
            yield original.reject(
                _GROUP,
                f"length-{name}-{kind}",
                change,
                _FORMAT,
                original.with_bytes(changed),
                LEFT_OVER if (name, kind) == ("certification-data", "short") else None,
            )


def _length_fields(original: Original) -> dict[str, tuple[int, int]]:
    """Where each length field is, and how many bytes it has."""
    quote = original.quote
    qe_report = _qe_report_offset(original)
    auth_data = qe_report + SGX_REPORT_BYTES + 64
    certification = auth_data + 2 + len(quote.qe_auth_data) + 2
    fields = {
        "signature-section": (_section_offset(original) - 4, 4),
        "authentication-data": (auth_data, 2),
        "certification-data": (certification, 4),
    }
    if quote.version >= 4:
        fields["qe-report-certification-data"] = (qe_report - 4, 4)
    if quote.version >= 5:
        fields["body"] = (HEADER_BYTES + 2, 4)
    return fields


def _reserved_in_body(original: Original) -> Iterator[Case]:
    section = _section_offset(original)
    for offset in _RESERVED_OF_SGX_REPORT:
        changed = _written(original.data, _body_offset(original) + offset, b"\x01")
        signature = raw_signature(original.world.attestation_key, changed[: section - 4])
        yield original.reject(
            _GROUP,
            f"reserved-in-body-{offset}",
            f"A reserved byte of the enclave's report, at {offset}, is not zero.",
            _FORMAT,
            original.with_bytes(_written(changed, section, signature)),
            RESERVED,
        )


def _reserved_in_qe_report(original: Original) -> Iterator[Case]:
    start = _qe_report_offset(original)
    end = start + SGX_REPORT_BYTES
    for offset in _RESERVED_OF_SGX_REPORT:
        changed = _written(original.data, start + offset, b"\x01")
        signature = raw_signature(original.authorities.pck.key, changed[start:end])
        yield original.reject(
            _GROUP,
            f"reserved-in-qe-report-{offset}",
            f"A reserved byte of the quoting enclave's report, at {offset}, is not zero.",
            _FORMAT,
            original.with_bytes(_written(changed, end, signature)),
            RESERVED,
        )


def _body_descriptor(original: Original) -> Iterator[Case]:
    for number in (0, 5, 1 if original.tee == "TDX" else 2):
        changed = _written(original.data, HEADER_BYTES, struct.pack("<H", number))
        change = f"The body's type is {number}, which this TEE does not have."
        yield original.reject(
            _GROUP, f"body-type-{number}", change, _FORMAT, original.with_bytes(changed)
        )


def _without_chain(original: Original) -> Case:
    kind = CertificationDataType.PPID_CLEARTEXT
    return original.reject(
        _GROUP,
        "certification-by-ppid",
        "The quote names its platform by PPID, in place of carrying the PCK chain.",
        Code.PCK_CHAIN_MISSING,
        original.with_unsigned(certification_data_type=kind, certification_data=bytes(36)),
        "A verifier may fetch the chain for such a quote.",
    )


def _certification_types(original: Original) -> Iterator[Case]:
    """The type of the certification data, and that of what wraps it from version 4 on."""
    quote = original.quote
    inner = _length_fields(original)["certification-data"][0] - 2
    for number in (0, 6, 8):
        changed = _written(original.data, inner, struct.pack("<H", number))
        yield original.reject(
            _GROUP,
            f"certification-type-{number}",
            f"The certification data's type is {number}, where the PCK chain (5) stands.",
            _FORMAT,
            original.with_bytes(changed),
        )
    if quote.version >= 4:
        changed = _written(original.data, _qe_report_offset(original) - 6, struct.pack("<H", 5))
        yield original.reject(
            _GROUP,
            "certification-not-wrapped",
            "The outer certification data says that it is a PCK chain (5), not a QE report (6).",
            _FORMAT,
            original.with_bytes(changed),
        )


def _written(data: bytes, offset: int, value: bytes) -> bytes:
    return data[:offset] + value + data[offset + len(value) :]


def _body_offset(original: Original) -> int:
    return HEADER_BYTES + (6 if original.quote.version >= 5 else 0)


def _section_offset(original: Original) -> int:
    return len(original.quote.signed_bytes) + 4


def _qe_report_offset(original: Original) -> int:
    return _section_offset(original) + 128 + (6 if original.quote.version >= 4 else 0)
