"""A worker's appender in the simulation, and the database that all of them share.

What waits goes into one transaction, which begins as soon as the last has ended and, where there is
a crowd of sessions, no sooner than a pace after the beginning of the one before. The head of the
log is locked: one transaction at a time in all. Without the database each fails.
Source: sealserve.keyservice.store.appender.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from sealserve.lab.simulation.engine import Clock, Line
from sealserve.lab.simulation.parameters import Parameters

E = TypeVar("E")


class Database:
    """One, for all copies."""

    def __init__(self, clock: Clock) -> None:
        self.line = Line(clock, 1)
        self.is_up = True
        self.transactions = 0
        self.last_commit = 0.0


class Appender(Generic[E]):
    """Makes entries durable; `told` has each batch, and whether it is."""

    def __init__(
        self,
        clock: Clock,
        parameters: Parameters,
        database: Database,
        open_sessions: Callable[[], int],
        told: Callable[[list[E], bool], None],
    ) -> None:
        self._clock = clock
        self._parameters = parameters
        self._database = database
        self._open_sessions = open_sessions
        self._told = told
        self._waiting: list[E] = []
        self._is_writing = False
        self._next = 0.0

    def append(self, entry: E) -> None:
        """Put it on record."""
        self._waiting.append(entry)
        self._begin()

    def drop(self) -> None:
        """Its process is gone: what has not begun will not."""
        self._waiting = []

    def _begin(self) -> None:
        if self._is_writing or not self._waiting:
            return
        self._is_writing = True
        crowd = self._open_sessions() >= self._parameters.crowd_sessions
        self._clock.at(self._next if crowd else self._clock.now, self._write)

    def _write(self) -> None:
        most = self._parameters.batch_records
        batch, self._waiting = self._waiting[:most], self._waiting[most:]
        if not batch:  # its process has gone
            return
        self._next = self._clock.now + self._parameters.pace_seconds
        seconds = self._parameters.transaction_seconds
        if self._database.is_up:
            seconds += len(batch) * self._parameters.record_seconds
        self._database.line.serve(seconds, self._written, batch)

    def _written(self, batch: list[E]) -> None:
        durable = self._database.is_up
        if durable:
            self._database.transactions += 1
            self._database.last_commit = self._clock.now
        self._told(batch, durable)
        self._is_writing = False
        self._begin()
