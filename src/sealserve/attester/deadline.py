"""Waits that end: a total deadline, also around calls that know no timeout of their own.

Used where this room talks to a device, a socket or a resolver. A call that outlives its deadline is
left to a daemon thread: it cannot be interrupted, and nobody waits for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from sealserve.errors import NetworkError

T = TypeVar("T")


class Deadline:
    """A moment `seconds` from now, shared by every step of one task."""

    def __init__(self, seconds: float, *, task: str) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds
        self._task = task

    def remaining(self) -> float:
        """Seconds left, more than 0; raises NetworkError (`deadline`) when there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise self.passed()
        return left

    def passed(self) -> NetworkError:
        """The error that says that this deadline has passed."""
        return NetworkError(
            f"{self._task} did not end within {self._seconds:g} seconds", code="deadline"
        )

    def call(self, function: Callable[[], T]) -> T:
        """The result of a blocking `function`; raises NetworkError when the deadline passes."""
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(function())
            except BaseException as error:  # noqa: BLE001  (handed to the waiting thread)
                future.set_exception(error)

        threading.Thread(target=run, name=self._task, daemon=True).start()
        try:
            return future.result(timeout=self.remaining())
        except TimeoutError as error:
            raise self.passed() from error
