"""The signing keys of an instance of Azure Attestation, and the one that a token names.

A key is looked up by its id alone; where there is none, no other is tried. Keys that nobody asks
for are not judged: one that we cannot read does no harm to the others. The set is trusted because
it came from the instance over TLS; that a key's certificate is self-signed, or what else is in it
(the service puts a quote of its own there), adds nothing to that and is not looked at.

Source: RFC 7517; "Examples of an attestation token" and "Basic concepts" of Microsoft's
documentation; the REST interface's `GET /certs`.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers

from sealserve import jws
from sealserve.endorsements.chain import X509_ERRORS
from sealserve.errors import FormatError
from sealserve.verifier.codes import rejecting, rejection
from sealserve.verifier.maa_codes import MaaCode

KEYS_LIMIT: Final = 1 << 20  # bytes; each certificate carries a quote, some 10 KiB
_KEY_COUNT_LIMIT: Final = 256
_CERTIFICATE_LIMIT: Final = 64 << 10  # characters of base64
_RSA_BITS: Final = range(2048, 8193)


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys by their ids, as the instance describes them."""

    keys: dict[str, jws.Members]

    def find(self, kid: str, now: datetime) -> RSAPublicKey:
        """The RSA key that is called `kid`; raises VerificationError."""
        described = self.keys.get(kid)
        if described is None:
            raise rejection(
                MaaCode.KEY_UNKNOWN,
                f"the instance lists no key {kid[:80]!r}",
                hint="no other key is tried; does the token come from this instance?",
            )
        for member, expected in (("kty", "RSA"), ("use", "sig"), ("alg", "RS256")):
            found = described.get(member, None if member == "kty" else expected)
            if found != expected:
                raise rejection(MaaCode.KEY, f"the key's {member} is {found!r}, not {expected}")
        keys = [*_certified(described, now), *_stated(described)]
        if not keys:
            raise rejection(MaaCode.KEY, "the instance states neither the key nor its certificate")
        if any(key.public_numbers() != keys[0].public_numbers() for key in keys):
            raise rejection(
                MaaCode.KEY_CERTIFICATE, "the key's certificate is for another key than is stated"
            )
        if keys[0].key_size not in _RSA_BITS:
            raise rejection(MaaCode.KEY, f"the key has {keys[0].key_size} bits, not 2048 or more")
        return keys[0]


def parse_keys(data: bytes) -> KeySet:
    """The keys in a JWK set of at most `KEYS_LIMIT` bytes; raises VerificationError."""
    with rejecting(MaaCode.KEYS_FORMAT):
        if len(data) > KEYS_LIMIT:
            raise FormatError(f"the key set has {len(data)} bytes; at most {KEYS_LIMIT} are read")
        listed = jws.read_object(data, "the key set").get("keys")
        if not isinstance(listed, list) or len(listed) > _KEY_COUNT_LIMIT:
            raise FormatError(f"the key set has no list of at most {_KEY_COUNT_LIMIT} keys")
        keys: dict[str, jws.Members] = {}
        for key in listed:
            kid = key.get("kid") if isinstance(key, dict) else None
            if not isinstance(kid, str):
                raise FormatError("a key of the key set has no id")
            if kid in keys:
                raise FormatError(f"the key set has two keys {kid[:80]!r}")
            keys[kid] = key
    return KeySet(keys)


def _certified(described: jws.Members, now: datetime) -> list[RSAPublicKey]:
    """The key in the first certificate of `x5c` (RFC 7517 section 4.7), if there is one."""
    if "x5c" not in described:
        return []
    chain = described["x5c"]
    first = chain[0] if isinstance(chain, list) and chain else None
    if not isinstance(first, str) or len(first) > _CERTIFICATE_LIMIT:
        raise rejection(MaaCode.KEY_CERTIFICATE, "the key's x5c holds no certificate")
    try:
        certificate = x509.load_der_x509_certificate(base64.b64decode(first, validate=True))
        key = certificate.public_key()
    except X509_ERRORS:  # among them what base64 raises, a ValueError
        raise rejection(MaaCode.KEY_CERTIFICATE, "the key's certificate cannot be read") from None
    if not isinstance(key, RSAPublicKey):
        raise rejection(MaaCode.KEY_CERTIFICATE, "the key's certificate is not for an RSA key")
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not start <= now <= end:
        raise rejection(
            MaaCode.KEY_CERTIFICATE_VALIDITY,
            f"the key's certificate is valid from {start} to {end}, and it is {now}",
            hint="look at this machine's clock",
        )
    return [key]


def _stated(described: jws.Members) -> list[RSAPublicKey]:
    """The key by its numbers `n` and `e` (RFC 7518 section 6.3.1), if they are there."""
    if "n" not in described and "e" not in described:
        return []
    try:
        modulus, exponent = (_number(described.get(name)) for name in ("n", "e"))
        return [RSAPublicNumbers(exponent, modulus).public_key()]
    except (FormatError, ValueError):
        raise rejection(MaaCode.KEY, "the key's n and e are no RSA key") from None


def _number(text: object) -> int:
    if not isinstance(text, str) or len(text) > max(_RSA_BITS):
        raise FormatError("no number")
    return int.from_bytes(jws.decode(text), "big")
