"""The PROXY protocol's headers: read to the byte, or refused."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealserve.errors import FormatError, SealServeError
from sealserve.keyservice.proxy import LIMIT, Header, HeaderParser, Source

START = b"\r\n\r\n\0\r\nQUIT\n"
TCP4 = bytes([192, 0, 2, 7, 10, 0, 0, 1]) + struct.pack(">HH", 4711, 4433)
TCP6 = bytes.fromhex("20010db8" + "00" * 11 + "07") + bytes(16) + struct.pack(">HH", 4711, 4433)


def binary(command, family, addresses):
    return START + bytes([command, family]) + len(addresses).to_bytes(2) + addresses


def read(data, piece=1 << 16):
    """The header at the start of `data`, and what was not read of it; None if it never is whole."""
    parser, at = HeaderParser(), 0
    while at < len(data):
        size = min(parser.wanted, piece, len(data) - at)
        assert size > 0
        header = parser.feed(data[at : at + size])
        at += size
        if header is not None:
            return header, data[at:]
    return None


SOUND = [
    pytest.param(b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 4433\r\n", ("192.0.2.7", 4711), id="1: TCP4"),
    pytest.param(b"PROXY TCP4 1.1.1.1 1.1.1.1 0 0\r\n", ("1.1.1.1", 0), id="1: the shortest TCP4"),
    pytest.param(b"PROXY TCP6 :: :: 0 0\r\n", ("::", 0), id="1: the shortest TCP6"),
    pytest.param(b"PROXY TCP6 2001:DB8:0::7 ::1 65535 1\r\n", ("2001:db8::7", 65535), id="1: TCP6"),
    pytest.param(
        b"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
        b"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535),
        id="1: the longest TCP6",
    ),
    pytest.param(b"PROXY UNKNOWN\r\n", None, id="1: unknown"),
    pytest.param(b"PROXY UNKNOWN " + b"x" * 91 + b"\r\n", None, id="1: 107 bytes"),
    pytest.param(binary(0x21, 0x11, TCP4), ("192.0.2.7", 4711), id="2: TCP4"),
    pytest.param(binary(0x21, 0x21, TCP6), ("2001:db8::7", 4711), id="2: TCP6"),
    pytest.param(binary(0x21, 0x11, TCP4 + bytes(300)), ("192.0.2.7", 4711), id="2: with TLVs"),
    pytest.param(binary(0x21, 0x11, TCP4 + bytes(LIMIT - 28)), ("192.0.2.7", 4711), id="2: most"),
    pytest.param(binary(0x20, 0x00, b""), None, id="2: local"),
    pytest.param(binary(0x20, 0x11, TCP4), None, id="2: local, with addresses to be ignored"),
    pytest.param(binary(0x21, 0x00, b"anything"), None, id="2: unspecified"),
]


@pytest.mark.parametrize("piece", [1, 7, 1 << 16])
@pytest.mark.parametrize(("data", "source"), SOUND)
def test_a_header_is_read_and_not_a_byte_of_what_follows(data, source, piece):
    header = Header(Source(*source) if source else None)
    assert read(data + b"\x16\x03\x01 and TLS", piece) == (header, b"\x16\x03\x01 and TLS")


@pytest.mark.parametrize(("data", "source"), SOUND)
def test_a_header_that_is_cut_off_is_never_whole(data, source):
    assert all(read(data[:size]) is None for size in range(len(data)))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40), id="TLS"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="HTTP"),
        pytest.param(b"proxy TCP4 192.0.2.7 10.0.0.1 4711 4433\r\n", id="1: lower case"),
        pytest.param(b"PROXY UDP4 192.0.2.7 10.0.0.1 4711 4433\r\n", id="1: no such family"),
        pytest.param(b"PROXY TCP4 192.0.2.7 10.0.0.1 4711\r\n", id="1: a port short"),
        pytest.param(b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 4433 x\r\n", id="1: a word too many"),
        pytest.param(b"PROXY TCP4  192.0.2.7 10.0.0.1 4711 4433\r\n", id="1: two spaces"),
        pytest.param(b"PROXY TCP4 2001:db8::7 ::1 4711 4433\r\n", id="1: IPv6 as TCP4"),
        pytest.param(b"PROXY TCP6 192.0.2.7 10.0.0.1 4711 4433\r\n", id="1: IPv4 as TCP6"),
        pytest.param(b"PROXY TCP6 fe80::1%eth0 ::1 4711 4433\r\n", id="1: an interface"),
        pytest.param(b"PROXY TCP4 192.0.2.07 10.0.0.1 4711 4433\r\n", id="1: a leading zero"),
        pytest.param(b"PROXY TCP4 192.0.2.7 10.0.0.1 65536 4433\r\n", id="1: a port beyond"),
        pytest.param(b"PROXY TCP4 192.0.2.7 10.0.0.1 04711 4433\r\n", id="1: a padded port"),
        pytest.param(b"PROXY TCP4 192.0.2.7 10.0.0.1 -1 4433\r\n", id="1: a negative port"),
        pytest.param(b"PROXY TCP4 192.0.2.\xd9\xa7 10.0.0.1 1 4433\r\n", id="1: other digits"),
        pytest.param(b"PROXY UNKNOWN " + b"x" * 200 + b"\r\n", id="1: over 107 bytes"),
        pytest.param(b"PROXY TCP4 1.1.1.1\r\nPROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\n", id="1: two"),
        pytest.param(binary(0x11, 0x11, TCP4), id="2: version 1"),
        pytest.param(binary(0x22, 0x11, TCP4), id="2: no such command"),
        pytest.param(binary(0x21, 0x12, TCP4), id="2: UDP"),
        pytest.param(binary(0x21, 0x31, bytes(216)), id="2: UNIX"),
        pytest.param(binary(0x21, 0x11, TCP4[:-1]), id="2: addresses too short"),
        pytest.param(binary(0x21, 0x21, TCP4), id="2: IPv4 as TCP6"),
        pytest.param(binary(0x21, 0x11, TCP4 + bytes(LIMIT)), id="2: too long"),
        pytest.param(START[:-1] + b"\r" + bytes(20), id="2: wrong at the end of its start"),
    ],
)
def test_what_is_no_header_is_refused(data):
    with pytest.raises(FormatError):
        read(data)


@given(st.binary(max_size=300), st.integers(1, 300))
@pytest.mark.parametrize("start", [b"", b"PROXY ", b"PROXY TCP4 ", b"PROXY TCP6 ", START])
def test_whatever_comes_is_a_header_or_refused_within_the_limit(start, data, piece):
    parser, at, data = HeaderParser(), 0, start + data
    try:
        while at < len(data):
            assert 0 < parser.wanted <= LIMIT
            size = min(parser.wanted, piece, len(data) - at)
            header = parser.feed(data[at : at + size])
            at += size
            if header is not None:
                assert at <= LIMIT
                return
    except SealServeError:
        return


@given(st.ip_addresses(v=6), st.ip_addresses(v=6), st.integers(0, 65535), st.integers(1, 50))
def test_both_versions_say_the_same(host, other, port, piece):
    text = f"PROXY TCP6 {host} {other} {port} 4433\r\n".encode()
    packed = binary(0x21, 0x21, host.packed + other.packed + struct.pack(">HH", port, 4433))
    assert read(text, piece) == read(packed, piece) == (Header(Source(str(host), port)), b"")


def test_more_than_was_wanted_is_a_fault_of_the_caller():
    parser = HeaderParser()
    with pytest.raises(ValueError, match="wanted"):
        parser.feed(bytes(100))
