"""The streams that protected files are read from and written to.

`open(path, "rb")`, `io.BytesIO`, a memfd and their like all fit: binary, seekable, and, for
reading, able to fill a given buffer. Offsets are absolute: a protected file is the whole stream.
"""

from __future__ import annotations

import os
from typing import Protocol


class Source(Protocol):
    """A seekable binary stream to read from."""

    def readinto(self, buffer: memoryview, /) -> int | None: ...
    def seek(self, offset: int, whence: int = 0, /) -> int: ...


class Sink(Protocol):
    """A binary stream to write to; a protected file needs it seekable."""

    def write(self, data: memoryview, /) -> int | None: ...
    def seek(self, offset: int, whence: int = 0, /) -> int: ...


def length(source: Source) -> int:
    """The bytes in a stream; leaves it at its end."""
    return source.seek(0, os.SEEK_END)


def fill(source: Source, view: memoryview) -> int:
    """Read until `view` is full or the stream ends; how many bytes there were."""
    done = 0
    while done < len(view) and (count := source.readinto(view[done:])):
        done += count
    return done


def write_all(sink: Sink, data: memoryview) -> None:
    """Write all of `data`, also to a stream that takes it in pieces."""
    done = 0
    while done < len(data):
        done += sink.write(data[done:]) or 0
