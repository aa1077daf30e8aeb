"""Gramine's secret provisioning messages, byte for byte, from both ends."""

from __future__ import annotations

import pytest

from sealserve.attester.protocol import REQUEST, RESPONSE, SECRET_LIMIT, ResponseParser
from sealserve.errors import FormatError
from sealserve.keyservice.protocol import RequestParser, encode_answer

WIRE_REQUEST = b"SECRET_PROVISION_RA_TLS_REQUEST_V1\x00"
WIRE_ANSWER = b"SECRET_PROVISION_RA_TLS_RESPONSE_V1:\x00\x00\x00\x00\x10" + bytes(range(16))


def test_the_request_is_gramines():
    assert REQUEST == WIRE_REQUEST
    assert RequestParser().feed(WIRE_REQUEST)


def test_a_raw_answer_is_gramines():
    assert encode_answer(bytes(range(16)), "raw") == WIRE_ANSWER


def test_a_hex_answer_is_what_gramine_1_2_reads():
    expected = b"SECRET_PROVISION_RA_TLS_RESPONSE_V1:\x00\x00\x00\x00\x21"
    assert encode_answer(bytes(range(16)), "hex") == expected + (
        b"000102030405060708090a0b0c0d0e0f\x00"
    )


def test_a_request_may_come_in_single_bytes():
    parser = RequestParser()
    assert [parser.feed(bytes([byte])) for byte in WIRE_REQUEST] == [False] * 34 + [True]


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"X", id="another first byte"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="http"),
        pytest.param(b"\x16\x03\x01", id="tls in tls"),
        pytest.param(WIRE_REQUEST[:-1] + b"\n", id="a newline for the NUL"),
        pytest.param(WIRE_REQUEST.replace(b"V1", b"V2"), id="another version"),
        pytest.param(WIRE_REQUEST.lower(), id="lower case"),
        pytest.param(WIRE_REQUEST + b"\0", id="a byte more"),
        pytest.param(WIRE_REQUEST * 2, id="twice"),
        pytest.param(WIRE_REQUEST + bytes(100_000), id="oversize"),
    ],
)
def test_another_request_is_refused(sent):
    with pytest.raises(FormatError) as caught:
        RequestParser().feed(sent)
    assert caught.value.code == "request"


@pytest.mark.parametrize("size", [1, 16, 17, SECRET_LIMIT])
def test_an_answer_is_read_however_it_is_cut(size):
    secret = bytes(index % 251 for index in range(size))
    answer = encode_answer(secret, "raw")
    for piece in (1, 7, 41, 42, len(answer)) if size < 100 else (4096, len(answer)):
        parser = ResponseParser()
        results = [parser.feed(answer[at : at + piece]) for at in range(0, len(answer), piece)]
        assert results[-1] == secret
        assert set(results[:-1]) <= {None}


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n", id="http"),
        pytest.param(WIRE_REQUEST, id="the request echoed"),
        pytest.param(RESPONSE[:-1] + b" ", id="no NUL"),
        pytest.param(RESPONSE + bytes(4), id="no secret"),
        pytest.param(RESPONSE + (SECRET_LIMIT + 1).to_bytes(4, "big"), id="a byte over the limit"),
        pytest.param(RESPONSE + b"\x10\0\0\0", id="little-endian length"),
        pytest.param(RESPONSE + b"\xff\xff\xff\xff", id="4 GiB"),
        pytest.param(WIRE_ANSWER + b"\0", id="a byte after the secret"),
    ],
)
def test_another_answer_is_refused(answer):
    with pytest.raises(FormatError):
        ResponseParser().feed(answer)


def test_a_refused_answer_does_not_show_in_the_error():
    with pytest.raises(FormatError) as caught:
        ResponseParser().feed(b"0123456789abcdef")
    assert "0123" not in str(caught.value)


@pytest.mark.parametrize(
    ("secret", "encoding"),
    [(b"", "raw"), (bytes(SECRET_LIMIT + 1), "raw"), (bytes(SECRET_LIMIT // 2), "hex")],
    ids=["nothing", "too large", "too large in hex"],
)
def test_a_secret_that_cannot_be_sent_is_an_error(secret, encoding):
    with pytest.raises(ValueError, match="cannot be sent"):
        encode_answer(secret, encoding)
