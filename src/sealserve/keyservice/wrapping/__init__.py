"""How the data key of the key service is kept: wrapped by a key that is never in the database.

The key-encryption key is a private file, a passphrase, or a key inside a PKCS#11 token. The
wrapped key says by which kind it was wrapped (`wrapping.blob`); what it is bound to besides is the
context. Nothing here knows the database or what the data key is for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, assert_never

from sealserve.keyservice.wrapping.config import (
    FileWrapping,
    PassphraseWrapping,
    Pkcs11Wrapping,
    Wrapping,
)
from sealserve.keyservice.wrapping.file import FileKey, make_file
from sealserve.keyservice.wrapping.passphrase import PassphraseKey, check_passphrase
from sealserve.keyservice.wrapping.pkcs11 import TokenKey, make_token_key

__all__ = [
    "FileWrapping",
    "KeyEncryption",
    "PassphraseWrapping",
    "Pkcs11Wrapping",
    "Wrapping",
    "make_key",
    "open_wrapping",
]


class KeyEncryption(Protocol):
    """A key-encryption key at work. Usable from several threads, not across a fork."""

    kind: str

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """`key`, of 32 bytes, wrapped for `context`."""
        ...

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """The key of `wrapped`.

        Raises IntegrityError `wrapping.key`: another key-encryption key, altered bytes, or another
        context. A token that does not answer: NetworkError `wrapping.token`; one whose session is
        lost and cannot be opened again: ConfigError.
        """
        ...

    def close(self) -> None:
        """Let go of the token, if there is one. Once is enough, twice does no harm."""
        ...


def open_wrapping(wrapping: Wrapping, *, ask: Callable[[str], str] | None = None) -> KeyEncryption:
    """The key-encryption key that the configuration names; the caller closes it.

    `ask` shows its argument and gives back what a person typed, where a passphrase has no file.
    Raises ConfigError, which says what is missing and what to do.
    """
    match wrapping:
        case FileWrapping():
            return FileKey.open(wrapping)
        case PassphraseWrapping():
            return PassphraseKey.open(wrapping, ask)
        case Pkcs11Wrapping():
            return TokenKey.open(wrapping)
        case _:
            assert_never(wrapping)


def make_key(wrapping: Wrapping) -> None:
    """Make the key-encryption key that the configuration names, if it is not there yet.

    A file of mode 0600, or a key in the token that cannot leave it; a passphrase is only checked.
    What is there is never replaced, only checked. Raises ConfigError or UsageError.
    """
    match wrapping:
        case FileWrapping():
            make_file(wrapping)
        case PassphraseWrapping():
            check_passphrase(wrapping)
        case Pkcs11Wrapping():
            make_token_key(wrapping)
        case _:
            assert_never(wrapping)
