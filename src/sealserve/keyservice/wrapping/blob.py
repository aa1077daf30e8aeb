"""A wrapped data key as bytes: what it says of itself in the open, and the sealed key.

| offset | size | field                                                            |
| ------ | ---- | ---------------------------------------------------------------- |
| 0      | 4    | `SSWK`                                                           |
| 4      | 1    | version, 1                                                       |
| 5      | 1    | kind: 1 file, 2 passphrase, 3 pkcs11                             |
| 6      | 19   | only of a passphrase: salt (16), log2 of N, r, p (RFC 7914)      |
| then   | 12   | nonce                                                            |
| then   | 48   | AES-256-GCM (NIST SP 800-38D): 32 bytes of ciphertext, 16 of tag |

Associated data is everything before the ciphertext, whose length the kind fixes, and then the
context. The bytes come from a database that others may have written: every fault of theirs is one
error, IntegrityError `wrapping.key`.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sealserve.errors import IntegrityError

KEY_SIZE = 32
NONCE_SIZE = 12
TAG_SIZE = 16
MAGIC = b"SSWK"
VERSION = 1
CODE = "wrapping.key"

_OPEN_SIZE = len(MAGIC) + 2
_KINDS = {1: "file", 2: "passphrase", 3: "pkcs11"}
_NUMBERS = {kind: number for number, kind in _KINDS.items()}
_PARAMETERS = {"file": 0, "passphrase": 19, "pkcs11": 0}


@dataclass(frozen=True)
class Header:
    """What stands in the open before the ciphertext; it is authenticated with it."""

    kind: str
    parameters: bytes
    nonce: bytes

    @classmethod
    def fresh(cls, kind: str, parameters: bytes = b"") -> Header:
        """A header with a nonce of its own."""
        return cls(kind, parameters, secrets.token_bytes(NONCE_SIZE))

    def __bytes__(self) -> bytes:
        return MAGIC + bytes((VERSION, _NUMBERS[self.kind])) + self.parameters + self.nonce

    def associated(self, context: bytes) -> bytes:
        """The associated data of the ciphertext."""
        return bytes(self) + context


def split(wrapped: bytes, kind: str) -> tuple[Header, bytes]:
    """Header and ciphertext of a key that was wrapped by `kind`; raises IntegrityError."""
    if len(wrapped) < _OPEN_SIZE or not wrapped.startswith(MAGIC):
        raise fault("the data key in the database is not a wrapped key")
    version, number = wrapped[_OPEN_SIZE - 2 : _OPEN_SIZE]
    if version != VERSION:
        raise fault(f"the data key is wrapped by version {version}, and this program reads 1")
    found = _KINDS.get(number, f"unknown kind {number}")
    if found != kind:
        raise fault(
            f"the data key is wrapped by kind {found}, and the configuration names kind {kind}",
            hint="name the old key in [wrapping]; `sealserve keyservice rewrap` changes it",
        )
    nonce_at = _OPEN_SIZE + _PARAMETERS[kind]
    key_at = nonce_at + NONCE_SIZE
    if len(wrapped) != key_at + KEY_SIZE + TAG_SIZE:
        raise fault(
            f"the wrapped data key has {len(wrapped)} bytes,"
            f" expected {key_at + KEY_SIZE + TAG_SIZE}"
        )
    header = Header(kind, wrapped[_OPEN_SIZE:nonce_at], wrapped[nonce_at:key_at])
    return header, wrapped[key_at:]


def seal(header: Header, kek: bytes, key: bytes, context: bytes) -> bytes:
    """`key`, of 32 bytes, wrapped by `kek` under `header`."""
    check_size(key)
    return bytes(header) + AESGCM(kek).encrypt(header.nonce, key, header.associated(context))


def unseal(header: Header, sealed: bytes, kek: bytes, context: bytes) -> bytes:
    """The key that `seal` wrapped; raises IntegrityError."""
    try:
        return AESGCM(kek).decrypt(header.nonce, sealed, header.associated(context))
    except InvalidTag:
        raise not_authentic() from None


def check_size(key: bytes) -> None:
    """A data key has 32 bytes; raises ValueError."""
    if len(key) != KEY_SIZE:
        raise ValueError(f"a data key has {KEY_SIZE} bytes, not {len(key)}")


def not_authentic() -> IntegrityError:
    """The error of a tag that does not hold: AES-GCM cannot tell why."""
    return fault(
        "the data key does not open: it was wrapped by another key-encryption key or for another"
        " purpose, or it was altered",
        hint="use the key-encryption key of this database, or restore the database",
    )


def fault(message: str, *, hint: str | None = None) -> IntegrityError:
    """The one error of a wrapped key that cannot be had."""
    return IntegrityError(message, code=CODE, hint=hint)
