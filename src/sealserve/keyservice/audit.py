"""The audit log: one line for every decision, durable before its secret leaves.

The log is a file of JSON lines (mode 0600) that only grows. Every line holds its `number`, from
1, and in `previous` the SHA-256 of the line before it (without its newline; zeros before the
first), so that an edit, a reorder or a removal within the log breaks the chain. A chain cannot show
that lines are missing *at its end*: keep a receipt (number and digest; the service's own log has
one of every decision) elsewhere, and compare.

`append` returns after fdatasync and not before; whoever releases a secret does so after it
returned. Where a write fails, the log is cut back to its last whole line; where that or the sync
fails, nobody knows what the disk holds, and the log takes no more records until it is opened again.

Opening takes an exclusive lock and checks the whole chain. Bytes after the last newline are a
record that a crash cut short (its secret cannot have left): they are moved to a file beside the
log, and a record says so. Any other damage is an error, and for a person to look at.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from sealserve.errors import AuditError, ConfigError
from sealserve.files import PRIVATE, sync_folder, write_file

LINE_LIMIT = 64 << 10  # bytes
GENESIS = "0" * 64

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Receipt:
    """Where a record stands: its number, and the SHA-256 of its line, in hex."""

    number: int
    digest: str


@dataclass(frozen=True)
class Chain:
    """A log that was checked from its first line to `head`; `torn` follows its last newline."""

    head: Receipt
    size: int
    torn: bytes


@dataclass(frozen=True)
class Link:
    """One record in its chain, and how many bytes its line has."""

    receipt: Receipt
    record: Mapping[str, object]
    size: int


class AuditLog:
    """The log, open for one writer. Safe to use from several threads."""

    def __init__(self, path: Path, handle: int, chain: Chain) -> None:
        self._path = path
        self._handle = handle
        self._head = chain.head
        self._size = chain.size
        self._lock = threading.Lock()
        self._failed = False

    @classmethod
    @contextmanager
    def open(cls, path: Path, *, now: datetime) -> Iterator[AuditLog]:
        """The log at `path`, made if it is not there, checked, repaired where a crash cut it.

        Raises ConfigError when it cannot be opened or another process has it, AuditError when its
        chain is broken.
        """
        handle = _open_locked(path)
        try:
            chain = check_chain(path)
            audit = cls(path, handle, chain)
            if chain.torn:
                audit._repair(chain.torn, now)
            yield audit
        finally:
            os.close(handle)

    @property
    def head(self) -> Receipt:
        """The receipt of the last record; number 0 in an empty log."""
        return self._head

    def append(self, record: Mapping[str, object]) -> Receipt:
        """Write one record and make it durable; raises AuditError when that did not happen."""
        with self._lock:
            if self._failed:
                raise self._error("an earlier failure left it in an unknown state")
            number = self._head.number + 1
            line = _encode({"number": number, "previous": self._head.digest, **record})
            self._write(line)
            self._size += len(line)
            self._head = Receipt(number, _digest(line))
            return self._head

    def _write(self, line: bytes) -> None:
        try:
            _write_all(self._handle, line)
        except OSError as error:
            self._cut_back()
            raise self._error(error.strerror or str(error)) from error
        try:
            os.fdatasync(self._handle)
        except OSError as error:
            self._failed = True
            raise self._error(error.strerror or str(error)) from error

    def _cut_back(self) -> None:
        try:
            os.ftruncate(self._handle, self._size)
        except OSError:
            self._failed = True

    def _repair(self, torn: bytes, now: datetime) -> None:
        aside = self._path.with_name(f"{self._path.name}.torn-{self._head.number + 1}")
        write_file(aside, torn)
        self._cut_back()
        log.warning("the last record of %s was cut short: moved to %s", self._path, aside)
        self.append(
            {
                "kind": "repair",
                "time": now.isoformat(),
                "torn_bytes": len(torn),
                "torn_sha256": hashlib.sha256(torn).hexdigest(),
            }
        )

    def _error(self, reason: str) -> AuditError:
        return AuditError(
            f"the audit log {self._path} takes no record: {reason}",
            code="audit-unavailable",
            hint="nothing is released without a record: free the disk, then restart the service",
        )


def check_chain(path: Path, visit: Callable[[Link], None] = lambda link: None) -> Chain:
    """Check a log from its first line to its last; raises AuditError at the first that is wrong.

    `visit` is handed each record in turn as it is found to follow from the one before it: a log of
    any size is read line by line. Whatever it makes of them holds once this has returned.
    """
    head, size = Receipt(0, GENESIS), 0
    try:
        with path.open("rb") as stream:
            while line := _read_line(stream, path, head):
                if not line.endswith(b"\n"):
                    return Chain(head, size, line)
                link = _follow(head, line, path)
                visit(link)
                head, size = link.receipt, size + len(line)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    return Chain(head, size, b"")


def _read_line(stream: BinaryIO, path: Path, head: Receipt) -> bytes:
    line = stream.readline(LINE_LIMIT + 1)
    if len(line) > LINE_LIMIT:
        raise _broken(path, head, f"it is longer than {LINE_LIMIT} bytes")
    return line


def _follow(head: Receipt, line: bytes, path: Path) -> Link:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _broken(path, head, "it is not JSON") from error
    if not isinstance(record, dict) or (record.get("number"), record.get("previous")) != (
        head.number + 1,
        head.digest,
    ):
        raise _broken(path, head, "it does not follow from the line before it")
    return Link(Receipt(head.number + 1, _digest(line)), record, len(line))


def _broken(path: Path, head: Receipt, reason: str) -> AuditError:
    return AuditError(
        f"{path}: line {head.number + 1} is not as it was written: {reason}",
        hint="somebody altered the log, or the disk did: keep it, and compare with a copy",
    )


def _open_locked(path: Path) -> int:
    try:
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
    except OSError as error:
        raise ConfigError(f"cannot open the audit log {path}: {error.strerror}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.fchmod(handle, PRIVATE)
        sync_folder(path.parent)
    except OSError as error:
        os.close(handle)
        raise ConfigError(
            f"cannot have the audit log {path} alone: {error.strerror}",
            hint="another key service writes to it: stop that one, or name another file",
        ) from error
    return handle


def _encode(record: Mapping[str, object]) -> bytes:
    line = json.dumps(record, separators=(",", ":")).encode("ascii") + b"\n"
    if len(line) > LINE_LIMIT:
        raise AuditError(f"an audit record of {len(line)} bytes is over the limit of {LINE_LIMIT}")
    return line


def _digest(line: bytes) -> str:
    return hashlib.sha256(line.removesuffix(b"\n")).hexdigest()


def _write_all(handle: int, data: bytes) -> None:
    while data:
        data = data[os.write(handle, data) :]
