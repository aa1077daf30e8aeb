"""Reseal protected files in place: each is replaced whole, and a run that was ended goes on.

1. Every file's header is opened, under the new key or the old one. If one opens under neither,
   nothing has changed.
2. File after file: one that is under the new key is left alone. Another is written anew beside its
   place without a name, read back from the disk and authenticated node by node, and then renamed
   over the old one. Who has the old file open goes on reading it.

So a run that was killed is simply run again. What is read back is the only copy once the old file
is gone: that is worth its cost, a quarter of the time. Embedded path, mode and owner stay; a link
is followed, and what it points to is replaced.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sealserve.errors import IntegrityError, UsageError
from sealserve.files import atomic_file
from sealserve.folders import Advance, Tree, naming, os_errors
from sealserve.sealing import Header, open_sealed_under, reseal, unseal

# What `sealserve.files` leaves of a file NAME after a kill -9, where it has to use a name at all.
_LEFTOVER = re.compile(r"\.(.{1,40})\.[0-9a-f]{16}\.part", re.DOTALL)


@dataclass(frozen=True)
class Resealed:
    """One file: its header now, and whether this run wrote it or found it done."""

    file: Path
    header: Header
    resealed: bool


def reseal_in_place(
    tree: Tree,
    old_key: bytes,
    new_key: bytes,
    *,
    version: int | None = None,
    advance: Advance = lambda _count: None,
) -> list[Resealed]:
    """Put all files of a tree under `new_key`; the format version stays unless given.

    A file counts as done if it is under `new_key` and of that version. Raises IntegrityError,
    naming the file: nothing has changed if a header is what is wrong, and otherwise the files
    before that one, by name, are done. Raises UsageError for what the system refuses, and if
    another run is at work on the same folder.
    """
    keys = (new_key, old_key)
    with os_errors(), _alone(tree.root if tree.is_folder else tree.root.parent):
        leftovers = {file for file in tree.files if _is_leftover(file, tree)}
        paths = [tree.root / file for file in tree.files if file not in leftovers]
        for path in paths:
            with naming(path), path.open("rb") as stream:
                open_sealed_under(stream, keys)
        for file in leftovers:
            (tree.root / file).unlink(missing_ok=True)
        return [_reseal_file(path, keys, version, advance) for path in paths]


def _reseal_file(
    path: Path, keys: tuple[bytes, bytes], version: int | None, advance: Advance
) -> Resealed:
    with naming(path), os_errors(), path.open("rb") as source:
        found, plain = open_sealed_under(source, keys)
        header = plain.header
        if found == 0 and version in (None, header.version):
            advance(header.size)
            return Resealed(path, header, resealed=False)
        status = os.fstat(source.fileno())
        with atomic_file(path.resolve(), mode=stat.S_IMODE(status.st_mode)) as sink:
            header = reseal(source, sink, keys[found], keys[0], version=version, advance=advance)
            _verify(sink, keys[0], header)
            os.fchown(sink.fileno(), status.st_uid, status.st_gid)
    return Resealed(path, header, resealed=True)


def _verify(written: BinaryIO, key: bytes, header: Header) -> None:
    """Read what was written back, from the disk where the system lets us; raises IntegrityError."""
    written.flush()
    os.fsync(written.fileno())
    os.posix_fadvise(written.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    with os.fdopen(os.dup(written.fileno()), "rb") as stream:
        found = unseal(stream, _Nowhere(), key)
    if found != header:
        raise IntegrityError(
            "what was written reads back with another header; the file was not replaced",
            code="integrity.read-back",
            hint="is the disk or the memory of this machine failing?",
        )


class _Nowhere:
    """A sink for plaintext that only had to be authentic."""

    def write(self, data: memoryview, /) -> int:
        return len(data)

    def seek(self, offset: int, _whence: int = 0, /) -> int:
        return offset


def _is_leftover(file: Path, tree: Tree) -> bool:
    """Whether a run that was killed left this beside a file of the tree."""
    found = _LEFTOVER.fullmatch(file.name)
    return found is not None and any(
        other.parent == file.parent and other.name[:40] == found[1] for other in tree.files
    )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Refuse to work in a folder where another run is at work; its end frees the folder."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                f"another run is resealing what is in {folder}", hint="let it end first"
            ) from error
        except OSError:
            pass  # NFS locks no folder; two runs at once would cost one of them an error
        yield
    finally:
        os.close(handle)
