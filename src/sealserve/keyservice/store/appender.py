"""Group commit: what many requests want on record goes into one transaction, in one thread.

While a batch is being made durable the next one gathers, so that under load one sync of the disk
serves many records. A transaction also costs the processor as much as ten records do: where many
sessions are open, and more records are therefore on their way, one begins no sooner than
`PACE_SECONDS` after the one before. Alone a record waits for nobody.

A record that rests on a revision of what decides is taken only while that revision is in force: the
head's lock is held from the comparison to the commit, so that no change comes between. Otherwise
its `append` says Stale, and the request is to be decided anew.

A batch is durable as a whole or not there, but for one case: the connection broke during the
commit, and nobody knows. Then its appends raise, nothing is released, and the records may be there
of decisions that nobody was told.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from sealserve.errors import AuditError, SealServeError
from sealserve.keyservice.asking import Receipt
from sealserve.keyservice.store.log import FORKED, ROLLED_BACK, Head, Leaf
from sealserve.keyservice.store.memory import Memory
from sealserve.keyservice.store.store import Store
from sealserve.logline import line

BATCH: Final = 256  # records in one transaction, and what the last request has beyond it
PACE_SECONDS: Final = 0.020
CROWD: Final = 8  # open sessions
WAITING: Final = 8192  # records that wait; more are refused

log = logging.getLogger(__name__)


class Observer(Protocol):
    """Who is told of every batch; `sealserve.keyservice.metrics.Metrics` is."""

    def open_sessions(self) -> int:
        """How many sessions this process has."""
        ...

    def record_batch(self, records: int, seconds: float) -> None:
        """So many records became durable in one transaction that took so long."""
        ...

    def log_head(self, size: int, revision: int) -> None:
        """Where the log ends now."""
        ...

    def database(self, ok: bool) -> None:
        """Whether it answered the last time."""
        ...

    def record_failed(self) -> None:
        """A batch did not become durable."""
        ...

    def rolled_back(self) -> None:
        """The log is an older one than was seen."""
        ...


class Stale(Exception):
    """The revision that a record rests on is no longer in force."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """The records of one request, and who waits for them."""

    leaves: Sequence[Leaf]
    revision: int | None
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[list[Receipt]]


_Outcome = tuple[_Entry, list[Receipt] | Exception]


class Appender:
    """One thread that writes the log for one process."""

    def __init__(
        self, store: Store, memory: Memory, observer: Observer, *, batch: int = BATCH
    ) -> None:
        self._store = store
        self._memory = memory
        self._observer = observer
        self._batch = batch
        self._waiting: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._records = 0  # that wait, under the lock
        self._next = 0.0  # when the next transaction may begin in a crowd
        self._thread = threading.Thread(target=self._run, name="appender")
        self._lock = threading.Lock()
        self._closed = self._ended = False
        self.failing: str | None = None
        """The code of what kept the last batch from becoming durable; None where nothing did."""

    def start(self) -> None:
        """Begin to take records."""
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether its thread runs: nothing goes on record without it."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Write what waits, and end; nothing is taken from here on."""
        with self._lock:
            self._closed = True
        self._waiting.put(None)  # the last there will be: whoever comes now is refused
        self._thread.join()

    async def append(self, leaves: Sequence[Leaf], revision: int | None) -> list[Receipt]:
        """Make `leaves` durable, in order; returns where they stand.

        `revision` is what they rest on, or None where they rest on nothing that can change. Without
        leaves it tries whether anything could be written. Raises Stale, AuditError, StoreError.
        """
        loop = asyncio.get_running_loop()
        entry = _Entry(leaves, revision, loop, loop.create_future())
        with self._lock:
            if self._closed:
                raise AuditError("the log is closed: we are stopping", code="audit-unavailable")
            if self._records + len(leaves) > WAITING:
                raise AuditError(
                    "too many records wait to become durable", code="audit-unavailable"
                )
            self._records += len(leaves)
            self._waiting.put(entry)
        return await entry.future

    def _run(self) -> None:
        while entries := self._gathered():
            try:
                outcomes = self._write(entries)
            except SealServeError as error:
                log.error(line("records_refused", code=error.code, reason=error.message))
                outcomes = [(each, error) for each in entries]
            except Exception as error:
                log.exception(line("appender_fault"))
                self.failing = "fault"
                fault = AuditError(f"a fault of ours: {type(error).__name__}", code="fault")
                outcomes = [(each, fault) for each in entries]
            _tell(outcomes)
        self._settle()

    def _settle(self) -> None:
        """Remember where the log ends as this copy stops."""
        try:
            self._memory.recall()
            with self._store.database.reading() as connection:
                self._memory.settle(connection, self._store.log.read(connection))
        except SealServeError as error:
            log.warning(line("checkpoint_not_kept", code=error.code, reason=error.message))

    def _gathered(self) -> list[_Entry]:
        """What waits, up to a batch, or the first that comes; nothing once all is written."""
        found: list[_Entry] = []
        records = 0
        while records < self._batch and not self._ended:
            try:
                entry = self._waiting.get(block=not found)
            except queue.Empty:
                break
            if not found:
                self._let_others_come()
            if entry is None:
                self._ended = True
            else:
                found.append(entry)
                records += len(entry.leaves)
        with self._lock:
            self._records -= records
        return found

    def _let_others_come(self) -> None:
        """Wait until the pace allows the next transaction, if there is a crowd."""
        wait = self._next - time.monotonic()
        if wait > 0 and self._batch > 1 and self._observer.open_sessions() >= CROWD:
            time.sleep(wait)

    def _write(self, entries: list[_Entry]) -> list[_Outcome]:
        began = time.monotonic()
        self._next = began + PACE_SECONDS
        try:
            outcomes, head, count = self._commit(entries)
        except SealServeError as error:
            self.failing = error.code
            self._observer.database(isinstance(error, AuditError))
            self._observer.record_failed()
            if error.code in (ROLLED_BACK, FORKED):
                self._observer.rolled_back()
            raise
        self.failing = None
        self._store.log.saw(head)
        self._observer.database(True)
        self._observer.log_head(head.size, head.revision)
        if count:
            self._observer.record_batch(count, time.monotonic() - began)
        return outcomes

    def _commit(self, entries: list[_Entry]) -> tuple[list[_Outcome], Head, int]:
        """One transaction; what it made is durable when this returns."""
        with self._store.database.writing() as connection:
            head = self._store.log.lock(connection)
            self._memory.check(connection, head)
            outcomes, leaves = _place(entries, head)
            if leaves:
                head = self._store.log.append(connection, head, leaves)
            elif self.failing is not None:
                self._store.log.touch(connection, head)
        return outcomes, head, len(leaves)


def _place(entries: list[_Entry], head: Head) -> tuple[list[_Outcome], list[Leaf]]:
    """Where each entry's records will stand; those that rest on another revision stand nowhere."""
    outcomes: list[_Outcome] = []
    leaves: list[Leaf] = []
    for entry in entries:
        if entry.revision not in (None, head.revision):
            outcomes.append((entry, Stale()))
            continue
        start = head.size + len(leaves)
        receipts = [
            Receipt(index, leaf.hash.hex()) for index, leaf in enumerate(entry.leaves, start)
        ]
        leaves.extend(entry.leaves)
        outcomes.append((entry, receipts))
    return outcomes, leaves


def _tell(outcomes: list[_Outcome]) -> None:
    """Wake all who wait, each event loop once."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Outcome]] = {}
    for outcome in outcomes:
        by_loop.setdefault(outcome[0].loop, []).append(outcome)
    for loop, theirs in by_loop.items():
        wake: Callable[[list[_Outcome]], object] = _resolve
        try:
            loop.call_soon_threadsafe(wake, theirs)
        except RuntimeError:  # the loop is closed, and those who waited are gone with it
            log.warning(line("nobody_waits", records=len(theirs)))


def _resolve(outcomes: list[_Outcome]) -> None:
    for entry, outcome in outcomes:
        if entry.future.done():  # who waited has gone
            continue
        if isinstance(outcome, Exception):
            entry.future.set_exception(outcome)
        else:
            entry.future.set_result(outcome)
