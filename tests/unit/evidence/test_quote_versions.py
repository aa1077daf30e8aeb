"""Quotes of versions 4 and 5: certification data inside certification data, and stated bodies."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from sealserve.errors import FormatError
from sealserve.evidence.quote import (
    INTEL_QE_VENDOR_ID,
    Body,
    BodyType,
    CertificationDataType,
    Quote,
    parse_quote,
    parse_quote_body,
    serialize_quote,
)
from sealserve.evidence.report import SgxReport
from sealserve.evidence.td_report import TdInstance, TdReport

HEADER = 48
SGX, TDX = 0, 0x81
CHAIN = b"-----BEGIN CERTIFICATE-----"
ENCLAVE = SgxReport.parse(bytes(384))
TD_10 = TdReport.parse(bytes(584))
TD_15 = TdReport.parse(bytes(648))
TD_15_EX = TdReport.parse(bytes(885))

# What a quote of each version may hold: TEE type, body, and the type that version 5 states.
KINDS: dict[str, tuple[int, int, Body, BodyType | None]] = {
    "4-sgx": (4, SGX, ENCLAVE, None),
    "4-td-1.0": (4, TDX, TD_10, None),
    "5-sgx": (5, SGX, ENCLAVE, BodyType.SGX),
    "5-td-1.0": (5, TDX, TD_10, BodyType.TD_10),
    "5-td-1.5": (5, TDX, TD_15, BodyType.TD_15),
    "5-td-1.5-extended": (5, TDX, TD_15_EX, BodyType.TD_15_EX),
}
each_kind = pytest.mark.parametrize("kind", KINDS)


def quote(kind: str, **changes: object) -> Quote:
    version, tee_type, body, body_type = KINDS[kind]
    made = Quote(
        version=version,
        attestation_key_type=2,
        tee_type=tee_type,
        qe_svn=8,
        pce_svn=13,
        qe_vendor_id=INTEL_QE_VENDOR_ID,
        user_data=b"u" * 20,
        body=body,
        signature=b"s" * 64,
        attestation_key=b"k" * 64,
        qe_report=ENCLAVE,
        qe_report_signature=b"q" * 64,
        qe_auth_data=b"auth",
        certification_data_type=CertificationDataType.PCK_CHAIN,
        certification_data=CHAIN,
        body_type=body_type,
    )
    return replace(made, **changes)


def body_offset(kind: str) -> int:
    return HEADER if KINDS[kind][0] == 4 else HEADER + 6


def section_offset(kind: str) -> int:
    """Where the signature section's length stands."""
    return body_offset(kind) + len(KINDS[kind][2].serialize())


def patched(kind: str, offset: int, value: bytes) -> bytes:
    data = serialize_quote(quote(kind))
    return data[:offset] + value + data[offset + len(value) :]


@each_kind
def test_every_field_stands_at_the_offset_of_the_specification(kind: str) -> None:
    made, data = quote(kind), serialize_quote(quote(kind))
    body = made.body.serialize()
    if made.body_type is not None:
        assert struct.unpack_from("<HI", data, HEADER) == (made.body_type, len(body))
    assert data[body_offset(kind) : section_offset(kind)] == body
    section = data[section_offset(kind) :]
    wrapped = 384 + 64 + 2 + 4 + 6 + len(CHAIN)
    assert struct.unpack_from("<I", section) == (128 + 6 + wrapped,)
    assert section[4:132] == b"s" * 64 + b"k" * 64
    assert struct.unpack_from("<HI", section, 132) == (6, wrapped)
    assert section[138:] == (
        made.qe_report.serialize()
        + b"q" * 64
        + b"\x04\x00auth"
        + struct.pack("<HI", 5, len(CHAIN))
        + CHAIN
    )


@each_kind
def test_parsing_gives_back_what_was_serialised(kind: str) -> None:
    data = serialize_quote(quote(kind))
    assert parse_quote(data) == quote(kind)
    assert parse_quote(data + b"\0\1") == quote(kind, trailing=b"\0\1")
    assert parse_quote_body(data) == quote(kind).body


@each_kind
def test_the_signature_covers_header_type_length_and_body(kind: str) -> None:
    data = serialize_quote(quote(kind))
    assert quote(kind).signed_bytes == data[: section_offset(kind)]


@each_kind
def test_qe_authentication_data_may_have_any_length(kind: str) -> None:
    for length in (0, 1, 32, 64, 1000):
        wanted = quote(kind, qe_auth_data=b"a" * length)
        assert parse_quote(serialize_quote(wanted)) == wanted


@each_kind
def test_every_truncation_is_refused(kind: str) -> None:
    data = serialize_quote(quote(kind))
    for length in range(len(data)):
        with pytest.raises(FormatError) as caught:
            parse_quote(data[:length])
        assert caught.value.code == "quote.length"


@pytest.mark.parametrize("kind", ["4-td-1.0", "5-td-1.5"])
@pytest.mark.parametrize(
    ("offset", "value", "code"),
    [
        pytest.param(132, b"\x05\x00", "quote.certification-type", id="chain not wrapped"),
        pytest.param(132, b"\x07\x00", "quote.certification-type", id="platform manifest"),
        pytest.param(138 + 454, b"\x06\x00", "quote.certification-type", id="wrapped twice"),
        pytest.param(134, b"\xff\xff\xff\xff", "quote.length", id="wrapper of 4 GiB"),
        pytest.param(138 + 456, b"\x1a", "quote.length", id="chain shorter than what is there"),
        pytest.param(138 + 456, b"\x1c", "quote.length", id="chain longer than what is there"),
        pytest.param(138 + 448, b"\xff\xff", "quote.length", id="authentication data too long"),
        pytest.param(138 + 30, b"\x01", "report.reserved", id="reserved in the QE report"),
    ],
)
def test_a_wrong_signature_section_is_refused_with_its_code(
    kind: str, offset: int, value: bytes, code: str
) -> None:
    with pytest.raises(FormatError) as caught:
        parse_quote(patched(kind, section_offset(kind) + offset, value))
    assert caught.value.code == code


def test_a_wrapper_that_ends_before_its_section_is_refused() -> None:
    data = bytearray(serialize_quote(quote("4-td-1.0")) + b"\0")
    at = section_offset("4-td-1.0")
    struct.pack_into("<I", data, at, struct.unpack_from("<I", data, at)[0] + 1)
    with pytest.raises(FormatError, match="1 bytes too many"):
        parse_quote(bytes(data))


@pytest.mark.parametrize(
    ("kind", "offset", "value", "code"),
    [
        pytest.param("4-sgx", 4, b"\x01", "quote.tee-type", id="unknown TEE in version 4"),
        pytest.param("5-sgx", 4, b"\x01", "quote.tee-type", id="unknown TEE in version 5"),
        pytest.param("5-td-1.5", 4, b"\x00", "quote.body-type", id="TD body of an SGX quote"),
        pytest.param("5-sgx", 4, b"\x81", "quote.body-type", id="SGX body of a TDX quote"),
        pytest.param("5-td-1.5", HEADER, b"\x00", "quote.body-type", id="body type 0"),
        pytest.param("5-td-1.5", HEADER, b"\x05", "quote.body-type", id="body type 5"),
        pytest.param("5-td-1.5", HEADER, b"\x02", "quote.body-size", id="another type's length"),
        pytest.param("5-td-1.5", HEADER + 2, b"\x00\x00", "quote.body-size", id="no body"),
        pytest.param("5-sgx", HEADER + 2, b"\xff" * 4, "quote.body-size", id="body of 4 GiB"),
    ],
)
def test_a_body_that_contradicts_its_quote_is_refused_with_its_code(
    kind: str, offset: int, value: bytes, code: str
) -> None:
    with pytest.raises(FormatError) as caught:
        parse_quote(patched(kind, offset, value))
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        pytest.param("4-td-1.0", {"body": TD_15}, id="TDX 1.5 in version 4"),
        pytest.param("4-td-1.0", {"body": ENCLAVE}, id="an enclave's in a TDX quote"),
        pytest.param("4-sgx", {"tee_type": TDX}, id="an SGX quote renamed"),
        pytest.param("4-sgx", {"tee_type": 1}, id="unknown TEE"),
        pytest.param("4-sgx", {"body_type": BodyType.SGX}, id="version 4 that states a type"),
        pytest.param("5-sgx", {"body_type": None}, id="version 5 that states none"),
        pytest.param("5-td-1.5", {"body_type": BodyType.TD_10}, id="another type than the body's"),
        pytest.param("5-td-1.5", {"version": 4}, id="TDX 1.5 renamed to version 4"),
        pytest.param("4-td-1.0", {"version": 3}, id="TDX renamed to version 3"),
    ],
)
def test_a_quote_whose_body_does_not_fit_cannot_be_made(
    kind: str, change: dict[str, object]
) -> None:
    with pytest.raises(FormatError) as caught:
        quote(kind, **change)
    assert caught.value.code == "quote.field"


def test_an_unpublished_body_is_refused_by_the_names_of_those_that_are() -> None:
    with pytest.raises(FormatError, match=r"body type 5 is none .* 4 TDX 1\.5 extended"):
        parse_quote(patched("5-td-1.5", HEADER, b"\x05"))


def test_an_extended_report_says_which_td_it_is() -> None:
    report = replace(TD_15_EX, instance=TdInstance(*[7, *(_filled(TD_15_EX.instance))]))
    made = quote("5-td-1.5-extended", body=report)
    assert parse_quote(serialize_quote(made)).body == report


def _filled(instance: TdInstance | None) -> list[bytes]:
    assert instance is not None
    lengths = [len(getattr(instance, name)) for name in TdInstance.__slots__[1:]]
    return [bytes([number]) * length for number, length in enumerate(lengths)]
