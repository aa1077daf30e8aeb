"""Tokens: what is read before anybody vouches for it, and what a signature is good for."""

from __future__ import annotations

import base64

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from sealserve import jws
from sealserve.errors import FormatError, VerificationError

unhurried = settings(deadline=None)  # a loaded machine is no failure
KEY = ec.generate_private_key(ec.SECP256R1())
TOKEN = jws.sign({"a": 1}, KEY, typ="JWT", kid="k")


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def test_what_is_signed_is_read_back() -> None:
    assert jws.read_header(TOKEN, limit=1000) == {"alg": "ES256", "kid": "k", "typ": "JWT"}
    assert jws.verified_payload(TOKEN, KEY.public_key(), "ES256") == b'{"a":1}'


def test_a_token_without_a_signature_can_be_looked_at_and_not_verified() -> None:
    unsigned = f"{encoded(b'{}')}.e30."
    assert jws.read_header(unsigned, limit=1000) == {}
    with pytest.raises(VerificationError):
        jws.verified_payload(unsigned, KEY.public_key(), "ES256")


HEADERS = {
    "no algorithm": {"alg": "none"},
    "another algorithm": {"alg": "RS256"},
    "a shared secret": {"alg": "HS256"},
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_a_token_does_not_choose_its_algorithm(header: dict) -> None:
    _, payload, signature = TOKEN.split(".")
    text = encoded(str(header).replace("'", '"').encode())
    with pytest.raises(VerificationError) as error:
        jws.verified_payload(f"{text}.{payload}.{signature}", KEY.public_key(), "ES256")
    assert error.value.code == "jws.signature"


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1()], ids=["P-256", "P-384"])
def test_another_key_verifies_nothing(curve: ec.EllipticCurve) -> None:
    with pytest.raises(VerificationError):
        jws.verified_payload(TOKEN, ec.generate_private_key(curve).public_key(), "ES256")


def test_a_critical_parameter_that_nobody_knows_is_refused() -> None:
    header = {"crit": ["urn:x"], "urn:x": 1}
    token = jwt.PyJWS().encode(b"{}", KEY, algorithm="ES256", headers=header)
    with pytest.raises(FormatError):
        jws.verified_payload(token, KEY.public_key(), "ES256")


def test_a_payload_that_is_not_in_the_token_is_refused() -> None:
    token = jwt.PyJWS().encode(
        b"{}", KEY, algorithm="ES256", headers={"b64": False}, is_payload_detached=True
    )
    with pytest.raises(FormatError):
        jws.read_header(token, limit=1000)


OBJECTS = {
    "not UTF-8": b"\xff",
    "no JSON": b"{",
    "a list": b"[]",
    "a number": b"1",
    "a member twice": b'{"a": 1, "a": 2}',
    "a member twice, deep": b'{"b": [{"a": 1, "a": 2}]}',
    "not a number": b'{"a": NaN}',
    "without end": b'{"a": -Infinity}',
    "too many digits": b'{"a": ' + b"9" * 5000 + b"}",
    "deep": b"[" * 10000,
    "many numbers": b'{"a": [' + b"0," * 16384 + b"0]}",
    "many objects": b'{"a": [' + b"{}," * 8192 + b"{}]}",
}


@pytest.mark.parametrize("data", OBJECTS.values(), ids=OBJECTS)
def test_json_on_which_readers_differ_or_choke_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError) as error:
        jws.read_object(data, "it")
    assert len(error.value.message) <= 400


def test_a_long_text_is_not_many_values() -> None:
    data = b'{"a": "' + b"a" * (1 << 20) + b'"}'
    assert len(str(jws.read_object(data, "it")["a"])) == 1 << 20


@unhurried
@given(st.binary(max_size=100))
def test_base64url_is_read_in_the_one_way_in_which_it_is_written(data: bytes) -> None:
    assert jws.encode(data) == encoded(data)
    assert jws.decode(jws.encode(data)) == data


@pytest.mark.parametrize("text", ["A", "AA=", "AB", "A+", "A/", "AA\n", "AA AA", "é"])
def test_what_is_not_written_so_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        jws.decode(text)


@unhurried
@given(st.text(max_size=200) | st.text(alphabet="eyJhIjox.-_", max_size=200))
def test_from_any_text_only_our_own_errors_escape(text: str) -> None:
    with pytest.raises((FormatError, VerificationError)):
        jws.read_header(text, limit=100)
        jws.verified_payload(text, KEY.public_key(), "ES256")
