"""Files as every room writes and reads them: whole or not at all, and never larger than allowed.

A file is written to a temporary name in the same folder, synced, and renamed; the folder is synced
after it. Whatever happens in between, the old file or none is there, never a part of the new one.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from sealserve.errors import ConfigError, UsageError

PRIVATE = 0o600
PUBLIC = 0o644


@contextmanager
def atomic_file(path: Path, *, mode: int = PRIVATE, replace: bool = True) -> Iterator[BinaryIO]:
    """A binary stream whose content appears at `path` only if the block ends without an error.

    With `replace=False` an existing file is never overwritten, even if it appears meanwhile:
    raises UsageError.
    """
    if not replace and path.exists():
        raise _exists(path)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w+b") as stream:
            yield stream
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        if replace:
            temporary.replace(path)
        else:
            _link(temporary, path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_file(path: Path, data: bytes, *, mode: int = PRIVATE, replace: bool = True) -> None:
    """`data` as the whole content of `path`, by `atomic_file`."""
    with atomic_file(path, mode=mode, replace=replace) as stream:
        stream.write(data)


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_file(path: Path, *, limit: int) -> bytes:
    """The whole content of a file of at most `limit` bytes; raises ConfigError otherwise."""
    return _read(path, limit, secret=False)


def read_secret(path: Path, *, limit: int) -> bytes:
    """Like `read_file`, for a secret: refuses a file that others may read or write."""
    return _read(path, limit, secret=True)


def _read(path: Path, limit: int, *, secret: bool) -> bytes:
    try:
        with path.open("rb") as stream:
            mode = stat.S_IMODE(os.fstat(stream.fileno()).st_mode)  # of what is read, not of a name
            if secret and mode & 0o077:
                raise ConfigError(
                    f"{path} has mode {mode:04o}: others may use it, and it holds a secret",
                    hint=f"chmod 600 {path}",
                )
            data = stream.read(limit + 1)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    if len(data) > limit:
        raise ConfigError(f"{path} is larger than the {limit} bytes allowed here")
    return data


def _link(temporary: Path, path: Path) -> None:
    try:
        path.hardlink_to(temporary)
    except FileExistsError as error:
        raise _exists(path) from error


def _exists(path: Path) -> UsageError:
    return UsageError(
        f"{path} exists and is not overwritten", hint="name another file, or move this one away"
    )
