"""The DER reader takes what X.690 allows and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealserve.endorsements import der
from sealserve.errors import FormatError


@given(st.lists(st.tuples(st.integers(0, 0x1E), st.binary(max_size=300)), max_size=5))
def test_what_is_written_is_read_back(elements: list[tuple[int, bytes]]) -> None:
    data = b"".join(der.encode(tag, content) for tag, content in elements)
    assert der.decode_all(data) == elements


@pytest.mark.parametrize("length", [0, 1, 127, 128, 255, 256, 65535, 65536])
def test_lengths_take_their_shortest_form(length: int) -> None:
    data = der.encode(der.OCTET_STRING, bytes(length))
    assert der.decode(data, der.OCTET_STRING) == bytes(length)


@given(st.integers(0, 1 << 80))
def test_unsigned_integers_are_read_back(value: int) -> None:
    assert der.decode_unsigned(der.decode(der.encode_unsigned(value), der.INTEGER)) == value


@pytest.mark.parametrize(
    "data",
    [
        pytest.param("", id="nothing"),
        pytest.param("04", id="no-length"),
        pytest.param("0402aa", id="content-cut-short"),
        pytest.param("0400ff", id="byte-after-the-element"),
        pytest.param("04000400", id="two-elements"),
        pytest.param("0480aa0000", id="indefinite-length"),
        pytest.param("048101aa", id="length-not-shortest"),
        pytest.param("04820001aa", id="length-with-leading-zero"),
        pytest.param("0484000000ff", id="length-of-four-bytes"),
        pytest.param("0482ff", id="length-cut-short"),
        pytest.param("04ff", id="reserved-length"),
        pytest.param("1f8100", id="tag-of-two-bytes"),
        pytest.param("0200", id="another-tag"),
    ],
)
def test_what_is_no_single_octet_string_is_refused(data: str) -> None:
    with pytest.raises(FormatError):
        der.decode(bytes.fromhex(data), der.OCTET_STRING)


@pytest.mark.parametrize("content", ["", "80", "ff01", "0001", "0000"])
def test_integers_that_are_negative_or_not_shortest_are_refused(content: str) -> None:
    with pytest.raises(FormatError):
        der.decode_unsigned(bytes.fromhex(content))


@pytest.mark.parametrize("content", ["", "01", "0000", "fe"])
def test_booleans_are_00_or_ff(content: str) -> None:
    assert der.decode_boolean(b"\xff")
    assert not der.decode_boolean(b"\x00")
    with pytest.raises(FormatError):
        der.decode_boolean(bytes.fromhex(content))


@pytest.mark.parametrize(
    ("dotted", "content"),
    [
        ("1.2.840.113741.1.13.1", "2a864886f84d010d01"),
        ("2.5.29.15", "551d0f"),
        ("2.999.3", "883703"),
    ],
)
def test_object_identifiers_are_written_as_x690_says(dotted: str, content: str) -> None:
    assert der.oid_content(dotted).hex() == content
