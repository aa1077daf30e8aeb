"""The strict subset of CBOR."""

from __future__ import annotations

import pytest

from sealserve.errors import FormatError
from sealserve.evidence.cbor import MAX_DEPTH, MAX_ITEMS, CborValue, Tagged, decode, encode


@pytest.mark.parametrize(
    ("value", "encoded"),
    [  # RFC 8949, appendix A
        (0, "00"),
        (23, "17"),
        (24, "1818"),
        (100, "1864"),
        (1000, "1903e8"),
        (1000000, "1a000f4240"),
        (1000000000000, "1b000000e8d4a51000"),
        (2**64 - 1, "1bffffffffffffffff"),
        (-1, "20"),
        (-100, "3863"),
        (-(2**64), "3bffffffffffffffff"),
        (False, "f4"),
        (True, "f5"),
        (None, "f6"),
        (b"", "40"),
        (b"\x01\x02\x03\x04", "4401020304"),
        ("", "60"),
        ("IETF", "6449455446"),
        ("ü", "62c3bc"),
        ([], "80"),
        ([1, [2, 3], [4, 5]], "8301820203820405"),
        ({}, "a0"),
        ({1: 2, 3: 4}, "a201020304"),
        ({"a": 1, "b": [2, 3]}, "a26161016162820203"),
        (Tagged(1, 1363896240), "c11a514b67b0"),
        (Tagged(60000, [b"q", b"c"]), "d9ea608241714163"),
    ],
    ids=repr,
)
def test_the_examples_of_the_standard_hold_in_both_directions(
    value: CborValue, encoded: str
) -> None:
    assert encode(value).hex() == encoded
    decoded = decode(bytes.fromhex(encoded))
    assert decoded == value
    assert type(decoded) is type(value)


@pytest.mark.parametrize(
    ("encoded", "code"),
    [
        pytest.param("", "cbor.length", id="nothing"),
        pytest.param("0000", "cbor.length", id="two items"),
        pytest.param("1903", "cbor.length", id="cut head"),
        pytest.param("4401", "cbor.length", id="cut string"),
        pytest.param("5bffffffffffffffff00", "cbor.length", id="string beyond all memory"),
        pytest.param("9bffffffffffffffff00", "cbor.length", id="array beyond all memory"),
        pytest.param("bbffffffffffffffff00", "cbor.length", id="map beyond all memory"),
        pytest.param("1817", "cbor.encoding", id="23 in two bytes"),
        pytest.param("190064", "cbor.encoding", id="100 in three bytes"),
        pytest.param("1a0000ffff", "cbor.encoding", id="65535 in five bytes"),
        pytest.param("1b00000000ffffffff", "cbor.encoding", id="2**32-1 in nine bytes"),
        pytest.param("580100", "cbor.encoding", id="long form of a short length"),
        pytest.param("62c328", "cbor.encoding", id="text that is not UTF-8"),
        pytest.param("a201020103", "cbor.encoding", id="a key twice"),
        pytest.param("5f4101ff", "cbor.type", id="indefinite string"),
        pytest.param("9f01ff", "cbor.type", id="indefinite array"),
        pytest.param("bf0102ff", "cbor.type", id="indefinite map"),
        pytest.param("ff", "cbor.type", id="break"),
        pytest.param("1c", "cbor.type", id="reserved head"),
        pytest.param("f97e00", "cbor.type", id="half float"),
        pytest.param("fb3ff199999999999a", "cbor.type", id="double"),
        pytest.param("f7", "cbor.type", id="undefined"),
        pytest.param("f0", "cbor.type", id="unassigned simple value"),
        pytest.param("f818", "cbor.type", id="simple value in two bytes"),
        pytest.param("a1410102", "cbor.type", id="byte string as a key"),
        pytest.param("a1f502", "cbor.type", id="true as a key"),
        pytest.param("a18002", "cbor.type", id="array as a key"),
    ],
)
def test_anything_else_is_refused_with_its_code(encoded: str, code: str) -> None:
    with pytest.raises(FormatError) as caught:
        decode(bytes.fromhex(encoded))
    assert caught.value.code == code


def test_nesting_has_a_limit() -> None:
    decode(b"\x81" * (MAX_DEPTH - 1) + b"\x00")
    for nested in (b"\x81", b"\xa1\x00", b"\xc1"):
        with pytest.raises(FormatError) as caught:
            decode(nested * MAX_DEPTH + b"\x00")
        assert caught.value.code == "cbor.depth"


def test_the_number_of_items_has_a_limit() -> None:
    decode(b"\x99" + (MAX_ITEMS - 1).to_bytes(2, "big") + bytes(MAX_ITEMS - 1))
    for many in (b"\x99%s" + bytes(MAX_ITEMS), b"\x99%s" + b"\x80" * MAX_ITEMS):
        with pytest.raises(FormatError) as caught:
            decode(many % MAX_ITEMS.to_bytes(2, "big"))
        assert caught.value.code == "cbor.items"


@pytest.mark.parametrize("value", [2**64, -(2**64) - 1])
def test_an_integer_beyond_64_bits_cannot_be_written(value: int) -> None:
    with pytest.raises(FormatError):
        encode(value)
