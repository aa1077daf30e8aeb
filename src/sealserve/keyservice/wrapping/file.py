"""A key-encryption key that is a private file of 32 random bytes.

The file must not stand where the database or its backups do: whoever has both has every secret.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from sealserve.errors import ConfigError
from sealserve.files import read_secret, write_file
from sealserve.keyservice.wrapping import blob
from sealserve.keyservice.wrapping.config import FileWrapping


class FileKey:
    """The key of a file, read once."""

    kind: str = "file"

    def __init__(self, kek: bytes) -> None:
        self._kek = kek

    @classmethod
    def open(cls, wrapping: FileWrapping) -> FileKey:
        """Raises ConfigError: no such file, too open a mode, another size."""
        return cls(_read(wrapping.key))

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """`key` of 32 bytes, wrapped for `context`."""
        return blob.seal(blob.Header.fresh(self.kind), self._kek, key, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """The key; raises IntegrityError `wrapping.key`."""
        header, sealed = blob.split(wrapped, self.kind)
        return blob.unseal(header, sealed, self._kek, context)

    def close(self) -> None:
        """Nothing is open."""


def make_file(wrapping: FileWrapping) -> None:
    """Write a new key, of mode 0600, if there is none; raises ConfigError or UsageError.

    A file that is there is never overwritten, only checked.
    """
    if wrapping.key.exists():
        _read(wrapping.key)
        return
    write_file(wrapping.key, secrets.token_bytes(blob.KEY_SIZE), replace=False)


def _read(path: Path) -> bytes:
    if not path.exists():
        raise ConfigError(
            f"there is no key-encryption key at {path}",
            hint="`sealserve keyservice init` makes one; for a database that exists, bring its own",
        )
    kek = read_secret(path, limit=blob.KEY_SIZE)
    if len(kek) != blob.KEY_SIZE:
        raise ConfigError(
            f"{path} has {len(kek)} bytes, expected a key-encryption key of {blob.KEY_SIZE}",
        )
    return kek
