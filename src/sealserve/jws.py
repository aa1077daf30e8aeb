"""Signed JSON tokens (JWS, compact form): read strictly, verified under one key and one algorithm.

The caller says which algorithm it accepts and hands over the key object; what the header says of
either is compared with that and never followed, so that no token chooses how it is verified. The
payload is parsed after its signature was checked. Members named twice, NaN and infinities, and text
that is not UTF-8 are refused, since readers differ on them.

Source: RFC 7515; RFC 7519; RFC 8725, "JSON Web Token Best Current Practices".
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from typing import Final, Literal, NoReturn, TypeAlias

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import (
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from sealserve.errors import FormatError, VerificationError

Algorithm: TypeAlias = Literal["RS256", "ES256"]
Members: TypeAlias = dict[str, object]

_TOKEN = re.compile(r"([A-Za-z0-9_-]++)\.[A-Za-z0-9_-]++\.[A-Za-z0-9_-]*+")
_BASE64URL = re.compile(r"[A-Za-z0-9_-]*+")
_FORMAT: Final = "jws.format"
# A value is preceded by one of these; a text may be long, many small values are dear to hold.
_VALUE_MARKS: Final = (b"{", b"[", b",")
_VALUES_LIMIT: Final = 16384


def read_header(token: str, *, limit: int) -> Members:
    """The header of a token of at most `limit` characters, vouched for by nobody.

    A token without a signature passes, so that a caller can say what it is. Raises FormatError.
    """
    if len(token) > limit:
        raise _malformed(f"{len(token)} characters; at most {limit} are read")
    parts = _TOKEN.fullmatch(token)
    if parts is None:
        raise _malformed("expected three parts of base64url with dots between them")
    return read_object(decode(parts[1]), "the token's header")


def verified_payload(
    token: str, key: RSAPublicKey | EllipticCurvePublicKey, algorithm: Algorithm
) -> bytes:
    """The payload of `token`, which `key` signed by `algorithm`.

    Raises FormatError for a token that is none (critical header parameters included),
    VerificationError (`jws.signature`) for another's signature.
    """
    reader = jwt.PyJWS(algorithms=[algorithm])
    try:
        payload = reader.decode(token, key, algorithms=[algorithm])
    except (jwt.InvalidSignatureError, jwt.InvalidAlgorithmError, jwt.InvalidKeyError) as error:
        raise VerificationError(
            f"the token is not signed by the key that it is verified under: {error}",
            code="jws.signature",
        ) from None
    except jwt.PyJWTError as error:
        raise _malformed(str(error)) from None
    if not isinstance(payload, bytes):
        raise TypeError("the payload of a JWS is bytes")
    return payload


def sign(claims: Mapping[str, object], key: EllipticCurvePrivateKey, *, typ: str, kid: str) -> str:
    """A token of `claims`, signed by ES256 (`key` is of P-256)."""
    payload = json.dumps(claims, separators=(",", ":"), allow_nan=False).encode()
    return jwt.PyJWS(algorithms=["ES256"]).encode(
        payload, key, algorithm="ES256", headers={"typ": typ, "kid": kid}
    )


def read_object(data: bytes, where: str) -> Members:
    """The one JSON object that `data` is, of at most some thousand values, however long these are.

    `where` names it in errors. Raises FormatError.
    """
    if sum(data.count(mark) for mark in _VALUE_MARKS) > _VALUES_LIMIT:
        raise _malformed(f"{where}: more than {_VALUES_LIMIT} values")
    try:
        value = json.loads(
            data.decode(), object_pairs_hook=_unique, parse_constant=_refuse_constant
        )
    except (ValueError, RecursionError) as error:
        raise _malformed(f"{where}: not JSON: {error}") from None
    if not isinstance(value, dict):
        raise _malformed(f"{where}: expected an object, found {type(value).__name__}")
    return value


def decode(text: str) -> bytes:
    """The bytes that `text` spells in base64url without padding; raises FormatError."""
    if not _BASE64URL.fullmatch(text) or len(text) % 4 == 1:
        raise _malformed("text that is no base64url")
    decoded = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if encode(decoded) != text:
        raise _malformed("base64url with bits after its end")
    return decoded


def encode(data: bytes) -> str:
    """`data` in base64url without padding."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _unique(pairs: list[tuple[str, object]]) -> Members:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member is there twice")
    return members


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


def _malformed(problem: str) -> FormatError:
    return FormatError(f"no token: {problem}"[:400], code=_FORMAT)
