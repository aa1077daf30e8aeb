"""The data key: the one key under which the database keeps secrets and by which it proves itself.

It is made once, lives in memory only, and is stored wrapped (`keyservice.wrapping`). It is never
used itself: HKDF-SHA256 (RFC 5869) derives one key for sealing and one for MACs from it.

A sealed value is a version byte, 1, a nonce of 12 bytes, and AES-256-GCM (NIST SP 800-38D). The
nonce is random, which is sound for 2^32 values under one data key (section 8.3). A MAC is
HMAC-SHA256 over the context's length (8 bytes, big-endian), the context, and the document.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from sealserve.errors import IntegrityError
from sealserve.keyservice.wrapping import KeyEncryption

KEY_SIZE = 32
NONCE_SIZE = 12
TAG_SIZE = 16
VERSION = b"\x01"
WRAPPING_CONTEXT = b"sealserve keyservice data key 1"


class DataKey:
    """Seals values and proves documents. It shows itself to nobody, and is not copied to disk."""

    __slots__ = ("_key", "_mac", "_seal")

    def __init__(self, key: bytes) -> None:
        """`key` has 32 bytes; raises ValueError."""
        if len(key) != KEY_SIZE:
            raise ValueError(f"a data key has {KEY_SIZE} bytes, not {len(key)}")
        self._key = key
        self._seal = AESGCM(_derive(key, b"sealserve keyservice 1 seal"))
        self._mac = _derive(key, b"sealserve keyservice 1 mac")

    @classmethod
    def generate(cls) -> DataKey:
        """A new key."""
        return cls(secrets.token_bytes(KEY_SIZE))

    @classmethod
    def unwrap(cls, wrapped: bytes, kek: KeyEncryption) -> DataKey:
        """The key that `wrapped_by` wrapped; raises IntegrityError `wrapping.key`."""
        return cls(kek.unwrap(wrapped, WRAPPING_CONTEXT))

    def wrapped_by(self, kek: KeyEncryption) -> bytes:
        """This key as the database stores it."""
        return kek.wrap(self._key, WRAPPING_CONTEXT)

    def seal(self, value: bytes, context: bytes) -> bytes:
        """`value` for the database, 29 bytes longer; it opens only with the same `context`."""
        nonce = secrets.token_bytes(NONCE_SIZE)
        return VERSION + nonce + self._seal.encrypt(nonce, value, VERSION + context)

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """The value that `seal` sealed; raises IntegrityError `datakey.seal`."""
        nonce, ciphertext = sealed[1 : 1 + NONCE_SIZE], sealed[1 + NONCE_SIZE :]
        if sealed[:1] != VERSION or len(ciphertext) < TAG_SIZE:
            raise _not_sealed()
        try:
            return self._seal.decrypt(nonce, ciphertext, VERSION + context)
        except InvalidTag:
            raise _not_sealed() from None

    def mac(self, document: bytes, context: bytes) -> bytes:
        """32 bytes that prove that whoever has the data key wrote `document` for `context`."""
        framed = len(context).to_bytes(8, "big") + context + document
        return hmac.digest(self._mac, framed, hashlib.sha256)

    def check_mac(self, document: bytes, context: bytes, mac: bytes) -> None:
        """Raises IntegrityError `datakey.mac` unless `mac` is that of `document` for `context`."""
        if not hmac.compare_digest(self.mac(document, context), mac):
            raise IntegrityError(
                "a row of the database does not carry the proof of the data key: it was altered,"
                " moved from elsewhere, or written by another program",
                code="datakey.mac",
                hint="restore the database from a backup, and find out who can write to it",
            )

    def __repr__(self) -> str:
        return "DataKey(hidden)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a data key is not pickled or copied")


def _derive(key: bytes, label: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEY_SIZE, salt=None, info=label).derive(key)


def _not_sealed() -> IntegrityError:
    return IntegrityError(
        "a sealed value of the database does not open: it was altered, moved from elsewhere, or"
        " sealed by another data key",
        code="datakey.seal",
        hint="restore the database from a backup, and find out who can write to it",
    )
