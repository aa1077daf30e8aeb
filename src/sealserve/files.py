"""Files as every room writes and reads them: whole or not at all, and never larger than allowed.

A file is written without a name (O_TMPFILE, open(2)), synced, and then given its name; the folder
is synced after it. Whatever happens in between, the old file or none is there, never a part of the
new one, and a process that is killed leaves nothing. Where the file system knows no unnamed files,
a hidden `.NAME.….part` is written and renamed; that one stays after a kill -9.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
    part = path.parent / f".{path.name[:40]}.{secrets.token_hex(8)}.part"  # a name has 255 bytes
    try:
        handle = _open_new(part)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
    try:
        with os.fdopen(handle, "w+b") as stream:
            yield stream
            stream.flush()
            os.fchmod(handle, mode)
            os.fsync(handle)
            _publish(handle, part, path, replace=replace)
        sync_folder(path.parent)
    finally:
        part.unlink(missing_ok=True)


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
    """Like `read_file`, for a secret: refuses a file that others may read or write.

    What systemd gave to this service alone is none of others', whatever its mode seems to say.
    """
    return _read(path, limit, secret=True)


def _read(path: Path, limit: int, *, secret: bool) -> bytes:
    try:
        with path.open("rb") as stream:
            found = os.fstat(stream.fileno())  # of what is read, not of a name
            mode = stat.S_IMODE(found.st_mode)
            if secret and mode & 0o077 and not _is_credential(path, found):
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


def _is_credential(path: Path, found: os.stat_result) -> bool:
    """Whether systemd gave the file to this service (systemd.exec(5), LoadCredential=).

    Since version 254 it belongs to root, an access list names the service's user, and the list
    shows in the mode as a group that may read: 0440.
    """
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    return (
        folder is not None
        and path.absolute().parent == Path(folder)
        and found.st_uid == 0
        and not found.st_mode & 0o037
    )


def _open_new(part: Path) -> int:
    """A new file beside `part`: without a name where that can be, as `part` otherwise."""
    flags = os.O_RDWR | os.O_CLOEXEC
    with suppress(OSError):  # "not supported" has many names; what else is wrong is found below
        handle = os.open(part.parent, flags | os.O_TMPFILE, PRIVATE)
        if _by_handle(handle).exists():
            return handle
        os.close(handle)  # without /proc it could never be given a name
    return os.open(part, flags | os.O_CREAT | os.O_EXCL, PRIVATE)


def _publish(handle: int, part: Path, path: Path, *, replace: bool) -> None:
    """Give the file behind `handle`, whose name is `part` if it has one, the name `path`."""
    named = os.fstat(handle).st_nlink > 0
    if replace and named:
        part.replace(path)
        return
    source = part if named else _by_handle(handle)
    try:
        _link(source, path)
    except FileExistsError as error:
        if not replace:
            raise _exists(path) from error
        _link(source, part)  # a link replaces nothing, a rename does
        part.replace(path)


def _by_handle(handle: int) -> Path:
    return Path(f"/proc/self/fd/{handle}")


def _link(source: Path, path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # With a folder this is linkat(2), which follows the link in /proc; link(2) does not.
        os.link(source, path.name, dst_dir_fd=folder, follow_symlinks=True)
    finally:
        os.close(folder)


def _exists(path: Path) -> UsageError:
    return UsageError(
        f"{path} exists and is not overwritten", hint="name another file, or move this one away"
    )
