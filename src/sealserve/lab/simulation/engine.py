"""The machinery of a discrete-event simulation: a list of events, and three ways to wait in turn.

    Line     servers that each do one job after the other, in the order of arrival
    Shared   cores among which all jobs are divided evenly (processor sharing)
    Pace     so many a second, with a burst (a token bucket that lets wait)

Events of the same time happen in the order in which they were planned.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from typing import Any

Call = Callable[..., None]
_EVENTS_BETWEEN = 20_000  # calls of `progress`


class Clock:
    """The time in seconds since the beginning, and what is to happen."""

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Call, tuple[Any, ...]]] = []
        self._planned = 0

    def at(self, time: float, call: Call, *arguments: Any) -> None:
        """Plan `call(*arguments)` for a time that is not past."""
        self._planned += 1
        heapq.heappush(self._events, (max(time, self.now), self._planned, call, arguments))

    def after(self, seconds: float, call: Call, *arguments: Any) -> None:
        """Plan it for so many seconds from now, 0 or more."""
        self._planned += 1
        heapq.heappush(self._events, (self.now + seconds, self._planned, call, arguments))

    def run(self, until: float, progress: Callable[[], None] | None = None) -> None:
        """Let happen what is planned up to a time, and everything that comes of it."""
        events, done = self._events, 0
        while events and events[0][0] <= until:
            self.now, _, call, arguments = heapq.heappop(events)
            call(*arguments)
            done += 1
            if progress is not None and done % _EVENTS_BETWEEN == 0:
                progress()


def always() -> bool:
    """The job of somebody who does not go away."""
    return True


class Line:
    """`servers` that take jobs in the order of arrival.

    A job whose owner has gone by the time of its turn is dropped, and costs nothing.
    """

    def __init__(self, clock: Clock, servers: int) -> None:
        self._clock = clock
        self._free = servers
        self._waiting: deque[tuple[float, Callable[[], bool], Call, tuple[Any, ...]]] = deque()
        self.busy_seconds = 0.0
        self.longest = 0
        """The most jobs that have waited at a time."""

    def serve(
        self, seconds: float, call: Call, *arguments: Any, wanted: Callable[[], bool] = always
    ) -> None:
        """Call `call(*arguments)` when a job of so many seconds is done."""
        self._waiting.append((seconds, wanted, call, arguments))
        self._next()
        self.longest = max(self.longest, len(self._waiting))

    def _next(self) -> None:
        while self._free and self._waiting:
            seconds, wanted, call, arguments = self._waiting.popleft()
            if wanted():
                self._free -= 1
                self.busy_seconds += seconds
                self._clock.after(seconds, self._done, call, arguments)

    def _done(self, call: Call, arguments: tuple[Any, ...]) -> None:
        self._free += 1
        call(*arguments)
        self._next()


class Shared:
    """`cores` divided evenly among all jobs, at most one core for each.

    Done by service that each has received: it grows for all alike, so that jobs end in the order
    of what it will be then.
    """

    def __init__(self, clock: Clock, cores: float) -> None:
        self._clock = clock
        self._cores = cores
        self._jobs: list[tuple[float, int, Call, tuple[Any, ...]]] = []
        self._received = self._since = 0.0
        self._number = 0
        self._plan = 0

    def serve(self, seconds: float, call: Call, *arguments: Any) -> None:
        """Call `call(*arguments)` when a job of so many seconds of one core is done."""
        self._advance()
        self._number += 1
        heapq.heappush(self._jobs, (self._received + seconds, self._number, call, arguments))
        self._replan()

    @property
    def _rate(self) -> float:
        return min(1.0, self._cores / len(self._jobs))

    def _advance(self) -> None:
        if self._jobs:
            self._received += (self._clock.now - self._since) * self._rate
        self._since = self._clock.now

    def _replan(self) -> None:
        self._plan += 1
        if self._jobs:
            left = max(self._jobs[0][0] - self._received, 0.0)
            self._clock.after(left / self._rate, self._first_done, self._plan)

    def _first_done(self, plan: int) -> None:
        if plan != self._plan:  # somebody came meanwhile
            return
        self._advance()
        self._received, _, call, arguments = heapq.heappop(self._jobs)
        self._replan()
        call(*arguments)


class Pace:
    """`burst` at once, then `rate` a second: who comes too early waits for a turn.

    Source: golang.org/x/time/rate, Wait, by which client-go bounds what a component asks the API
    server (k8s.io/client-go, util/flowcontrol/throttle.go).
    """

    def __init__(self, rate: float, burst: int) -> None:
        self._interval = 1 / rate
        self._ahead = (burst - 1) / rate
        self._full_at = 0.0

    def take(self, now: float) -> float:
        """The time of the next turn, which is taken by this."""
        self._full_at = max(self._full_at, now)
        turn = max(now, self._full_at - self._ahead)
        self._full_at += self._interval
        return turn
