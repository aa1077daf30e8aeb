"""Folders and locks that several processes of one user share, and nobody else.

A lock is flock(2) on a file: the kernel lets go of it when its holder ends, however it ends, so a
kill -9 leaves none behind. Every wait has a deadline.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sealserve.errors import CollateralError, ConfigError
from sealserve.files import PRIVATE

FOLDER_MODE: Final = 0o700
_PAUSE: Final = 0.02  # seconds between two tries to lock


def make_private(folder: Path) -> None:
    """Make `folder` with mode 0700, or see that it is the caller's alone; raises ConfigError."""
    try:
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        found = folder.stat()
    except OSError as error:
        raise ConfigError(f"cannot make the folder {folder}: {error.strerror}") from error
    if found.st_uid != os.geteuid():
        raise ConfigError(
            f"{folder} belongs to user {found.st_uid}, and this process to {os.geteuid()}",
            hint="name a folder of your own",
        )
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o077:
        raise ConfigError(
            f"{folder} has mode {mode:04o}: others may use it", hint=f"chmod 700 {folder}"
        )


@contextmanager
def locked(path: Path, *, timeout: float) -> Iterator[int]:
    """The descriptor of the file at `path`, made if need be, while nobody else has it locked.

    Raises CollateralError when another holds the lock for longer than `timeout` seconds, or when
    the file cannot be opened.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
    except OSError as error:
        raise CollateralError(f"cannot open {path}: {error.strerror}") from error
    try:
        _lock(handle, path, time.monotonic() + timeout)
        yield handle
    finally:
        os.close(handle)


def _lock(handle: int, path: Path, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise CollateralError(
                    f"another process holds {path} and does not let go",
                    hint="it may be fetching the same collateral from a slow service: try again",
                ) from None
            time.sleep(_PAUSE)
        except OSError as error:
            raise CollateralError(f"cannot lock {path}: {error.strerror}") from error
        else:
            return
