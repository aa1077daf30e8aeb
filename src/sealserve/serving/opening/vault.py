"""The files that the server reads: under a key, sealed ones and nothing else.

The rule is one for every file that decides what is served and to whom: models, ssl.cfg, the model
and batching configurations. With keys, each must be a protected file under one of them whose
embedded path is the path as configured (Gramine's rule, see `sealserve.sealing`); a plain file in
its place is refused, for whoever owns the disk could have put it there. Several keys are for the
time in which a model is resealed. Without keys, each must be plain.

With a model's record, a file below the model's folder must have the size and SHA-256 of plaintext
that are recorded, and one that is not recorded is refused: a protected file alone does not show
that an older one was put back. Files elsewhere (ssl.cfg, the configurations) are in no record.

Plaintext is returned in memory and goes nowhere else.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections.abc import Sequence
from typing import Protocol

from sealserve.errors import ConfigError, IntegrityError
from sealserve.sealing import MAGIC, ModelRecord, normalize_path, open_sealed_under
from sealserve.serving.opening.keys import WrapKey
from sealserve.serving.watching.stages import STARTING


class Files(Protocol):
    """Where files come from: a `Vault`, or one that renews its keys."""

    def read(self, path: str, *, limit: int) -> bytearray:
        """The plaintext of the file at `path`, of at most `limit` bytes."""
        ...


class Vault:
    """Reads files whole. May be used from several threads."""

    def __init__(
        self,
        keys: Sequence[WrapKey] | None,
        *,
        flush_caches: bool = False,
        record: ModelRecord | None = None,
        record_root: str = "",
    ) -> None:
        """With `keys`, newest first, files are sealed under any of them; with None, plain.

        `record` is of the model whose base folder is `record_root`, as configured.
        """
        if keys is not None and not keys:
            # No keys must never come to mean no sealing.
            raise ConfigError("there is no key to open sealed files with", code="no-key")
        self._keys = keys if keys is None else tuple(keys)
        self._flush_caches = flush_caches
        self._record = None if record is None else _Recorded(record, record_root)

    def read(self, path: str, *, limit: int) -> bytearray:
        """The plaintext of the file at `path`, of at most `limit` bytes.

        Raises ConfigError for a file that is not there or not a regular one, is too large, or is
        sealed while there is no key; IntegrityError, naming the file, for one that does not
        authenticate, is not sealed, or is not as recorded.
        """
        try:
            reading = STARTING.stage("read" if self._keys is None else "unseal")
            with reading, _opened(path) as stream:
                if self._keys is None:
                    data = _read_plain(stream, path, limit)
                else:
                    data = _read_sealed(stream, path, limit, self._keys)
                if self._flush_caches:
                    os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        except OSError as error:
            raise ConfigError(f"cannot read {path}: {error.strerror}", code="file") from error
        if self._record is not None:
            self._record.check(path, data)
        return data


class _Recorded:
    """A model's record, and where its files are."""

    def __init__(self, record: ModelRecord, root: str) -> None:
        self._model = record.model
        self._files = {file.path: file for file in record.files}
        folder = normalize_path(root)
        self._prefix = folder if folder in ("", "/") else f"{folder}/"

    def check(self, path: str, data: bytearray) -> None:
        """Raise IntegrityError if `path` is below the root and `data` is not what it should be."""
        name = normalize_path(path)
        if not name.startswith(self._prefix) or (not self._prefix and name.startswith("/")):
            return
        wanted = self._files.get(name[len(self._prefix) :])
        if wanted is None:
            what = "the record does not name it"
        elif len(data) != wanted.size or hashlib.sha256(data).digest() != wanted.sha256:
            what = "its plaintext is not the recorded one: it is older or newer than the record"
        else:
            return
        raise IntegrityError(
            f"{path}: {what} (model {self._model!r})",
            code="integrity.record",
            hint="put back the files that were recorded, or record these and give the new record "
            "to the key service",
        )


def _opened(path: str) -> io.FileIO:
    """The file, which is a regular one: to open a pipe, or to read a device, may take for ever."""
    stream = io.FileIO(path, "r", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise ConfigError(f"{path} is no regular file", code="file")
    return stream


def _read_plain(stream: io.FileIO, path: str, limit: int) -> bytearray:
    data = _whole(stream, os.fstat(stream.fileno()).st_size, path, limit)
    if data.startswith(MAGIC):
        raise ConfigError(
            f"{path} is sealed, and this server has no key",
            code="no-key",
            hint="start it with --attest, or for development with --dangerously_use_key_file FILE",
        )
    return data


def _read_sealed(stream: io.FileIO, path: str, limit: int, keys: Sequence[WrapKey]) -> bytearray:
    try:
        revealed = [key.reveal() for key in keys]
        _, opened = open_sealed_under(stream, revealed, expected_path=path)
        with opened as sealed:
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
