"""Plaintext as a file that exists in memory alone, for libraries that only take a path.

A memfd has no name on any file system, is not inherited by programs that this process starts, and
once filled is sealed against every change. Under its path, `/proc/self/fd/N`, it can be opened by
this process (and by root) for as long as the block lasts.

Gramine has no memfd_create (1.9, Documentation/devel/features.md): there this is refused rather
than replaced by a file of which nobody here could know whose disk it lies on. Who has another way
asks first.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sealserve.errors import FailedPrecondition

_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


@contextmanager
def memory_file(name: str, pieces: Iterable[bytes]) -> Iterator[Path]:
    """The path of a read-only file in memory with this content; gone when the block ends.

    `name` shows in `/proc/PID/fd`, so it must be no secret. Raises FailedPrecondition where the
    kernel has no such files.
    """
    with os.fdopen(_create(name), "wb", buffering=1 << 20) as stream:
        for piece in pieces:
            stream.write(piece)
        stream.flush()
        fcntl.fcntl(stream.fileno(), fcntl.F_ADD_SEALS, _SEALS)
        yield Path(f"/proc/self/fd/{stream.fileno()}")


def has_memory_files() -> bool:
    """Whether the kernel has such files."""
    try:
        os.close(_create("probe"))
    except FailedPrecondition:
        return False
    return True


def _create(name: str) -> int:
    try:
        return os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        raise FailedPrecondition(
            "this kernel has no files in memory (memfd_create), and plaintext is not put on a disk",
            code="serving.no-memory-files",
            hint="inside Gramine, serve with the stock tensorflow_model_server",
        ) from error
