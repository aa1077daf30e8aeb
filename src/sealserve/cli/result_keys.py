"""The keys that results are signed with and verified under: P-256, as files."""

from __future__ import annotations

from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from sealserve import jws
from sealserve.errors import ConfigError, FormatError
from sealserve.files import PUBLIC, atomic_file, read_file, read_secret, write_file

_KEY_LIMIT = 16 << 10  # bytes
_COORDINATE_BYTES = 32


def new_key(path: Path) -> ec.EllipticCurvePublicKey:
    """Write a new key to `path` and its public half beside it; neither may be there."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key()
    with atomic_file(path, replace=False) as stream:  # there when its public half is, or not at all
        stream.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        write_file(
            path.with_name(f"{path.name}.pub"),
            public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            mode=PUBLIC,
            replace=False,
        )
    return public


def read_private_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """The key in a file of mode 0600 (PEM); raises ConfigError."""
    data = read_secret(path, limit=_KEY_LIMIT)
    try:
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # whose text is not for a log
        raise _no_key(path, "no private key can be read from it") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise _no_key(path, "its key is not of P-256")
    return key


def read_public_key(path: Path) -> ec.EllipticCurvePublicKey:
    """The public key in a file, PEM or JWK; raises ConfigError."""
    data = read_file(path, limit=_KEY_LIMIT)
    try:
        key = _of_jwk(data) if data.lstrip().startswith(b"{") else load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm, FormatError):
        raise _no_key(path, "no public key can be read from it") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise _no_key(path, "its key is not of P-256")
    return key


def _of_jwk(data: bytes) -> ec.EllipticCurvePublicKey:
    """RFC 7518, section 6.2.1; a private JWK is no public key."""
    members = jws.read_object(data, "the key")
    if (members.get("kty"), members.get("crv")) != ("EC", "P-256") or "d" in members:
        raise FormatError("no public key of P-256")
    x, y = (_coordinate(members.get(name)) for name in ("x", "y"))
    return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()


def _coordinate(text: object) -> int:
    data = jws.decode(text) if isinstance(text, str) else b""
    if len(data) != _COORDINATE_BYTES:
        raise FormatError("a coordinate has 32 bytes")
    return int.from_bytes(data, "big")


def _no_key(path: Path, problem: str) -> ConfigError:
    return ConfigError(
        f"{path}: {problem}",
        hint="`sealserve result key --out FILE` makes a key and its public half",
    )
