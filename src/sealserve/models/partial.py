"""The part of a download that is there: kept between runs, published when it is whole.

`.NAME.part` holds the bytes, `.NAME.part.json` which file of the server they are the beginning of
(the strong ETag, and a digest of the URL, which itself may be confidential). One process at a time
writes it. The final name appears only by `publish`, after the bytes are on the disk, and never over
another file.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from sealserve.errors import ConfigError, UsageError
from sealserve.files import PRIVATE, read_file, sync_folder, write_file

NOTE_LIMIT = 4096
MAX_ETAG = 1024


@dataclass(frozen=True)
class Partial:
    """An open `.NAME.part`, locked for this process."""

    path: Path
    out: Path
    stream: BinaryIO

    @property
    def _note(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")

    def etag(self, url: str) -> str | None:
        """The ETag of the file of `url` that these bytes begin; None if they do not go on."""
        try:
            note = json.loads(read_file(self._note, limit=NOTE_LIMIT))
        except (ConfigError, ValueError):
            return None
        if not isinstance(note, dict) or note.get("url_sha256") != _digest(url):
            return None
        etag = note.get("etag")
        return etag if isinstance(etag, str) else None

    def restart(self, url: str, etag: str | None) -> None:
        """Drop the bytes; note what the next ones will be the beginning of."""
        self._note.unlink(missing_ok=True)
        self.stream.seek(0)
        self.stream.truncate()
        if etag is not None and len(etag) <= MAX_ETAG:
            note = {"url_sha256": _digest(url), "etag": etag}
            write_file(self._note, json.dumps(note).encode())

    def discard(self) -> None:
        """Delete the bytes and the note."""
        self._note.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    def publish(self) -> None:
        """Give the bytes their final name; UsageError if it is taken."""
        self.stream.flush()
        os.fsync(self.stream.fileno())
        try:
            self.out.hardlink_to(self.path)
        except FileExistsError as error:
            raise UsageError(
                f"{self.out} has appeared meanwhile, and is not overwritten"
            ) from error
        self.discard()
        sync_folder(self.out.parent)


@contextmanager
def open_partial(out: Path) -> Iterator[Partial]:
    """The part of `out`, empty if there is none; UsageError if another process writes it.

    A part without bytes is not left behind.
    """
    path = out.with_name(f".{out.name}.part")
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, PRIVATE), "r+b") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(f"another process is fetching {out}") from error
        partial = Partial(path, out, stream)
        try:
            yield partial
        finally:
            stream.flush()
            if os.fstat(stream.fileno()).st_size == 0:
                partial.discard()


def _digest(url: str) -> str:
    return sha256(url.encode("utf-8", "surrogateescape")).hexdigest()
