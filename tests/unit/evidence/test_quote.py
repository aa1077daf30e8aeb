"""The layout of quotes of version 3, and everything that is not one; later ones beside it."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from sealserve.errors import FormatError
from sealserve.evidence.quote import (
    INTEL_QE_VENDOR_ID,
    MAX_QUOTE_BYTES,
    CertificationDataType,
    Quote,
    is_placeholder,
    parse_quote,
    parse_quote_body,
    serialize_quote,
)
from sealserve.evidence.report import SgxReport

BODY = 48
SIGNATURE_LENGTH = 432
SECTION = 436
QE_REPORT = SECTION + 128
AUTH_LENGTH = QE_REPORT + 384 + 64


def report(seed: int) -> SgxReport:
    """A report whose every field differs from every other."""
    return SgxReport(
        cpu_svn=bytes(range(seed, seed + 16)),
        misc_select=0x01020304,
        isv_ext_prod_id=bytes([seed + 1]) * 16,
        attributes=bytes([0x05, seed]) + bytes(14),
        mr_enclave=bytes([seed + 2]) * 32,
        mr_signer=bytes([seed + 3]) * 32,
        config_id=bytes([seed + 4]) * 64,
        isv_prod_id=0x0506,
        isv_svn=0x0708,
        config_svn=0x090A,
        isv_family_id=bytes([seed + 5]) * 16,
        report_data=bytes([seed + 6]) * 64,
    )


def quote() -> Quote:
    return Quote(
        version=3,
        attestation_key_type=2,
        tee_type=0,
        qe_svn=0x0B0C,
        pce_svn=0x0D0E,
        qe_vendor_id=INTEL_QE_VENDOR_ID,
        user_data=b"u" * 20,
        body=report(10),
        signature=b"s" * 64,
        attestation_key=b"k" * 64,
        qe_report=report(30),
        qe_report_signature=b"q" * 64,
        qe_auth_data=b"auth",
        certification_data_type=CertificationDataType.PCK_CHAIN,
        certification_data=b"-----BEGIN CERTIFICATE-----",
    )


def patched(offset: int, value: bytes) -> bytes:
    data = serialize_quote(quote())
    return data[:offset] + value + data[offset + len(value) :]


def test_every_field_stands_at_the_offset_of_the_specification() -> None:
    data = serialize_quote(quote())
    assert struct.unpack_from("<HHIHH", data) == (3, 2, 0, 0x0B0C, 0x0D0E)
    assert data[12:28] == INTEL_QE_VENDOR_ID
    assert data[28:48] == b"u" * 20
    assert data[BODY : BODY + 384] == quote().body.serialize()
    assert struct.unpack_from("<I", data, SIGNATURE_LENGTH) == (len(data) - SECTION,)
    assert data[SECTION : SECTION + 64] == b"s" * 64
    assert data[SECTION + 64 : SECTION + 128] == b"k" * 64
    assert data[QE_REPORT : QE_REPORT + 384] == quote().qe_report.serialize()
    assert data[QE_REPORT + 384 : AUTH_LENGTH] == b"q" * 64
    assert data[AUTH_LENGTH:] == (
        b"\x04\x00auth" + struct.pack("<HI", 5, 27) + b"-----BEGIN CERTIFICATE-----"
    )


def test_every_field_of_a_report_stands_at_the_offset_of_the_specification() -> None:
    data = report(10).serialize()
    assert len(data) == 384
    assert data[:16] == bytes(range(10, 26))
    assert data[16:20] == b"\x04\x03\x02\x01"
    assert data[32:48] == bytes([11]) * 16
    assert data[48:64] == report(10).attributes
    assert data[64:96] == bytes([12]) * 32
    assert data[128:160] == bytes([13]) * 32
    assert data[192:256] == bytes([14]) * 64
    assert data[256:262] == b"\x06\x05\x08\x07\x0a\x09"
    assert data[304:320] == bytes([15]) * 16
    assert data[320:384] == bytes([16]) * 64


def test_parsing_gives_back_what_was_serialised() -> None:
    assert parse_quote(serialize_quote(quote())) == quote()


def test_the_signature_covers_header_and_body() -> None:
    assert quote().signed_bytes == serialize_quote(quote())[:SIGNATURE_LENGTH]


@pytest.mark.parametrize("length", [0, 1, 32, 64, 1000])
def test_qe_authentication_data_may_have_any_length(length: int) -> None:
    wanted = replace(quote(), qe_auth_data=b"a" * length)
    assert parse_quote(serialize_quote(wanted)) == wanted


@pytest.mark.parametrize("kind", list(CertificationDataType))
def test_certification_data_is_kept_by_its_type(kind: CertificationDataType) -> None:
    wanted = replace(quote(), certification_data_type=kind, certification_data=b"anything")
    assert parse_quote(serialize_quote(wanted)) == wanted


def test_trailing_bytes_are_kept_apart() -> None:
    data = serialize_quote(quote()) + b"\x00\x01"
    assert parse_quote(data) == replace(quote(), trailing=b"\x00\x01")
    assert serialize_quote(parse_quote(data)) == data


def test_every_truncation_is_refused() -> None:
    data = serialize_quote(quote())
    for length in range(len(data)):
        with pytest.raises(FormatError) as caught:
            parse_quote(data[:length])
        assert caught.value.code == "quote.length"


@pytest.mark.parametrize(
    ("offset", "value", "code"),
    [
        pytest.param(0, b"\x02\x00", "quote.version", id="version 2"),
        pytest.param(0, b"\x06\x00", "quote.version", id="version 6"),
        pytest.param(0, b"\x00\x03", "quote.version", id="version in the wrong byte order"),
        pytest.param(2, b"\x03\x00", "quote.attestation-key-type", id="P-384 key"),
        pytest.param(2, b"\x00\x00", "quote.attestation-key-type", id="EPID"),
        pytest.param(4, b"\x81\x00\x00\x00", "quote.tee-type", id="TDX in version 3"),
        pytest.param(12, b"\x00", "quote.qe-vendor", id="another QE vendor"),
        pytest.param(BODY + 20, b"\x01", "report.reserved", id="first reserved field"),
        pytest.param(BODY + 127, b"\x01", "report.reserved", id="second reserved field"),
        pytest.param(BODY + 160, b"\x01", "report.reserved", id="third reserved field"),
        pytest.param(BODY + 303, b"\x01", "report.reserved", id="fourth reserved field"),
        pytest.param(QE_REPORT + 31, b"\x01", "report.reserved", id="reserved in the QE report"),
        pytest.param(SIGNATURE_LENGTH, b"\x00" * 4, "quote.length", id="no signature section"),
        pytest.param(SIGNATURE_LENGTH, b"\xff" * 4, "quote.length", id="signature of 4 GiB"),
        pytest.param(AUTH_LENGTH, b"\xff\xff", "quote.length", id="authentication data too long"),
        pytest.param(AUTH_LENGTH + 6, b"\x00\x00", "quote.certification-type", id="type 0"),
        pytest.param(AUTH_LENGTH + 6, b"\x06\x00", "quote.certification-type", id="type 6"),
        pytest.param(AUTH_LENGTH + 8, b"\x1a", "quote.length", id="certification data too short"),
        pytest.param(AUTH_LENGTH + 8, b"\x1c", "quote.length", id="certification data too long"),
        pytest.param(AUTH_LENGTH + 8, b"\xff" * 4, "quote.length", id="certification of 4 GiB"),
    ],
)
def test_a_wrong_field_is_refused_with_its_code(offset: int, value: bytes, code: str) -> None:
    with pytest.raises(FormatError) as caught:
        parse_quote(patched(offset, value))
    assert caught.value.code == code


def test_a_refused_version_says_what_is_supported() -> None:
    with pytest.raises(FormatError, match=r"version 6 .* reads versions 3, 4 and 5"):
        parse_quote(patched(0, b"\x06\x00"))


def test_the_size_has_a_limit() -> None:
    data = serialize_quote(quote())
    parse_quote(data.ljust(MAX_QUOTE_BYTES, b"\x00"))
    with pytest.raises(FormatError) as caught:
        parse_quote(data.ljust(MAX_QUOTE_BYTES + 1, b"\x00"))
    assert caught.value.code == "quote.size"


def test_debug_is_bit_one_of_the_attributes() -> None:
    assert not report(10).debug
    assert replace(report(10), attributes=b"\x07" + bytes(15)).debug
    assert not replace(report(10), attributes=b"\xfd" + bytes(15)).debug


@pytest.mark.parametrize(
    "change",
    [
        {"mr_enclave": b"short"},
        {"report_data": b"x" * 65},
        {"attributes": b""},
        {"isv_svn": 0x10000},
        {"misc_select": -1},
    ],
    ids=str,
)
def test_a_report_with_a_field_of_the_wrong_size_cannot_be_made(
    change: dict[str, bytes | int],
) -> None:
    with pytest.raises(FormatError) as caught:
        replace(report(10), **change)  # type: ignore[arg-type]
    assert caught.value.code == "report.field"


@pytest.mark.parametrize(
    "change",
    [
        {"signature": b"s" * 63},
        {"attestation_key": b""},
        {"qe_vendor_id": b"v" * 17},
        {"qe_auth_data": bytes(0x10000)},
        {"qe_svn": 0x10000},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_quote_with_a_field_of_the_wrong_size_cannot_be_made(
    change: dict[str, bytes | int],
) -> None:
    with pytest.raises(FormatError) as caught:
        replace(quote(), **change)  # type: ignore[arg-type]
    assert caught.value.code == "quote.field"


def test_a_placeholder_shows_its_body_and_is_no_quote() -> None:
    data = quote().signed_bytes + struct.pack("<I", 4298) + bytes(4298)
    assert is_placeholder(data)
    assert parse_quote_body(data) == quote().body
    with pytest.raises(FormatError):
        parse_quote(data)
    assert not is_placeholder(serialize_quote(quote()))
