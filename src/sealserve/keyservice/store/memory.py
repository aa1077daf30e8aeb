"""What this copy of the service remembers of the log, on a disk of its own.

Whoever can write to the database can put an older state of it back, signatures and all, and with it
every secret and measurement that was revoked since. This copy keeps the last checkpoint that it
proved, outside the database, and takes no log that does not begin with that one: at its start, some
seconds later each time, and at its end. Where copies on several machines do so, all of them have to
be put back together.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from sealserve.errors import AuditError, SealServeError
from sealserve.files import atomic_file, read_file
from sealserve.keyservice.store.log import Head, Log, check_grown
from sealserve.logline import line
from sealserve.transparency.checkpoint import Checkpoint

PROVE_SECONDS: Final = 5.0
LOCK_SECONDS: Final = 2.0
NOTE_LIMIT: Final = 4096  # bytes
FILE: Final = "checkpoint"

log = logging.getLogger(__name__)


class Memory:
    """The last proven checkpoint, in a file of the folder `state`. Safe to use from threads.

    Several processes of one machine share the file: it never goes back while they run.
    """

    def __init__(self, folder: Path, its_log: Log) -> None:
        self._path = folder / FILE
        self._log = its_log
        self._lock = threading.RLock()
        self._proven: Checkpoint | None = None
        self._revision = -1
        self._due = float("-inf")

    def recall(self) -> None:
        """Read the file, for whoever reads the head without its lock: before that.

        Another process that writes the log may remember a later head at any moment; read after an
        earlier one, it would look as if the log had been put back. Raises AuditError.
        """
        with self._lock:
            self._proven = _newer(self._proven, self._remembered())

    def check(self, connection: Connection, head: Head) -> None:
        """Prove, if it is time to, that the log at `head`, locked, begins with the one remembered.

        Raises AuditError when it does not. What cannot be written is logged: the memory is then
        older, and no worse.
        """
        with self._lock:
            now = time.monotonic()
            if now < self._due and head.revision == self._revision:
                return
            self.recall()
            self.settle(connection, head)

    def settle(self, connection: Connection, head: Head) -> None:
        """Prove now that it begins with what `recall` found; raises AuditError."""
        with self._lock:
            if self._proven is not None:
                check_grown(connection, self._proven, head)
            self._due = time.monotonic() + PROVE_SECONDS
            self.keep(head)

    def keep(self, head: Head) -> None:
        """Remember a durable head that this process proved, or made out of one that it proved."""
        with self._lock:
            self._revision = head.revision
            said = self._log.checkpoint(head.note)
            self._proven = _newer(self._proven, said)
            try:
                with _alone(self._path.parent):
                    if _newer(self._remembered(), said) is said:
                        self._write(head.note.encode("utf-8"))
            except (SealServeError, OSError) as error:
                log.warning(line("checkpoint_not_kept", path=self._path, reason=str(error)))

    def _write(self, note: bytes) -> None:
        """What root writes, by a command, stays the service's: it could not read it otherwise."""
        with atomic_file(self._path) as stream:
            if os.geteuid() == 0:
                owner = self._path.parent.stat()
                os.fchown(stream.fileno(), owner.st_uid, owner.st_gid)
            stream.write(note)

    def _remembered(self) -> Checkpoint | None:
        if not self._path.exists():
            return None
        note = read_file(self._path, limit=NOTE_LIMIT)
        try:
            return self._log.checkpoint(note.decode("utf-8"))
        except (AuditError, UnicodeDecodeError) as error:
            raise AuditError(
                f"{self._path} holds no checkpoint of the log in this database: the database is"
                " another one than before, or the file was damaged",
                code="audit.checkpoint",
                hint='docs/operations.md, "A database that was put back"',
            ) from error


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """No other process of this machine writes into `folder` meanwhile; TimeoutError, OSError."""
    end = time.monotonic() + LOCK_SECONDS
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise TimeoutError("another process has it locked") from None
                time.sleep(0.005)
        yield
    finally:
        os.close(handle)


def _newer(one: Checkpoint | None, other: Checkpoint | None) -> Checkpoint | None:
    """The one that speaks for more; `other` where neither does."""
    if one is None or other is None:
        return one or other
    return one if (one.size, one.revision) > (other.size, other.revision) else other


def forget(folder: Path) -> None:
    """Accept whatever log there is from now on: for a person who put an older one back."""
    (folder / FILE).unlink(missing_ok=True)
