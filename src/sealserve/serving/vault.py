"""The files that the server reads: under a key, sealed ones and nothing else.

The rule is one for every file that decides what is served and to whom: models, ssl.cfg, the model
and batching configurations. With a key, each must be a protected file under that key whose embedded
path is the path as configured (Gramine's rule, see `sealserve.sealing`); a plain file in its place
is refused, for whoever owns the disk could have put it there. Without a key, each must be plain.

Plaintext is returned in memory and goes nowhere else.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

from sealserve.errors import ConfigError, IntegrityError
from sealserve.sealing import MAGIC, open_sealed
from sealserve.serving.keys import WrapKey


class Vault:
    """Reads files whole. May be used from several threads."""

    def __init__(self, key: WrapKey | None, *, flush_caches: bool = False) -> None:
        self._key = key
        self._flush_caches = flush_caches

    def read(self, path: str, *, limit: int) -> bytearray:
        """The plaintext of the file at `path`, of at most `limit` bytes.

        Raises ConfigError for a file that is not there, too large, or sealed while there is no
        key; IntegrityError, naming the file, for one that does not authenticate or is not sealed.
        """
        try:
            with Path(path).open("rb", buffering=0) as stream:
                if self._key is None:
                    data = _read_plain(stream, path, limit)
                else:
                    data = _read_sealed(stream, path, limit, self._key)
                if self._flush_caches:
                    os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        except OSError as error:
            raise ConfigError(f"cannot read {path}: {error.strerror}", code="file") from error
        return data


def _read_plain(stream: io.FileIO, path: str, limit: int) -> bytearray:
    data = _whole(stream, os.fstat(stream.fileno()).st_size, path, limit)
    if data.startswith(MAGIC):
        raise ConfigError(
            f"{path} is sealed, and this server has no key",
            code="no-key",
            hint="start it with --attest, or for development with --dangerously_use_key_file FILE",
        )
    return data


def _read_sealed(stream: io.FileIO, path: str, limit: int, key: WrapKey) -> bytearray:
    try:
        with open_sealed(stream, key.reveal(), expected_path=path) as sealed:
            return _whole(sealed, sealed.header.size, path, limit)
    except IntegrityError as error:
        error.about(path)
        if error.code == "integrity.not-protected":
            error.hint = "this server has a key, so every file it reads must be sealed under it"
        raise


def _whole(stream: io.RawIOBase, size: int, path: str, limit: int) -> bytearray:
    if size > limit:
        raise ConfigError(f"{path} has {size} bytes; at most {limit} are read here", code="file")
    data = bytearray(size)
    view, done = memoryview(data), 0
    while done < size:
        count = stream.readinto(view[done:])
        if not count:
            raise ConfigError(f"{path} became shorter while it was read", code="file")
        done += count
    return data
