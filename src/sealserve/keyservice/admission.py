"""Who may have a session: places in total, places for each source, connections for each source.

1. A source that has no token left is refused (`throttle`): cheap, so before anything else.
2. A source that has all its places is refused.
3. Where all places of the service are taken, the oldest session that has not asked for anything yet
   makes room: whoever stalls in great number, from however many sources, in the handshake or after
   it (any key will do for that), loses its places first, and an honest client has asked before its
   turn comes. A session whose request is whole is never closed for another.
4. Where there is none such, the newcomer is refused.

A session behind a proxy has a place before its source is known; 1 and 2 follow once it is.

Nothing here opens, closes or waits; the listener does as it is told.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar

from sealserve.errors import OverloadedError
from sealserve.keyservice.limits import Limits
from sealserve.keyservice.throttle import Buckets


class Visitor(Hashable, Protocol):
    """A connection that has, or asks for, a place."""

    @property
    def is_asking(self) -> bool:
        """Whether its request is whole, so that it is our turn."""
        ...


V = TypeVar("V", bound=Visitor)


class Admission(Generic[V]):
    """The places of one listener. `now` is in seconds of a clock that never steps back."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._arrivals: Buckets[bytes] = Buckets(
            limits.connections_per_second_per_source, limits.connections_burst_per_source
        )
        self._source: dict[V, bytes | None] = {}
        self._open: dict[bytes, int] = {}
        self._young: OrderedDict[V, None] = (
            OrderedDict()
        )  # oldest first; some may have asked by now

    def __len__(self) -> int:
        return len(self._source)

    def enter(self, visitor: V, source: bytes | None, now: float) -> V | None:
        """Give `visitor` a place; `source` is None while nobody knows it.

        Returns the visitor that made room: it has left already, and is to be closed. Raises
        OverloadedError, and then `visitor` has no place.
        """
        if source is not None:
            self._check(source, now)
        evicted = self._make_room() if len(self._source) >= self._limits.max_sessions else None
        self._source[visitor] = None
        self._young[visitor] = None
        self._count(visitor, source)
        return evicted

    def identify(self, visitor: V, source: bytes, now: float) -> None:
        """Say where a visitor with a place comes from; raises OverloadedError (it has to leave)."""
        self._check(source, now)
        self._count(visitor, source)

    def leave(self, visitor: V) -> None:
        """Free the place of `visitor`, if it has one."""
        source = self._source.pop(visitor, None)
        self._young.pop(visitor, None)
        if source is not None:
            self._open[source] -= 1
            if not self._open[source]:
                del self._open[source]

    def _check(self, source: bytes, now: float) -> None:
        wait = self._arrivals.take(source, now)
        if wait is not None:
            raise OverloadedError(
                "too many connections from this source in a short time",
                code="overloaded.source-rate",
                retry_after=wait,
            )
        if self._open.get(source, 0) >= self._limits.max_sessions_per_source:
            raise OverloadedError(
                "this source has all the sessions it may have", code="overloaded.source-sessions"
            )

    def _count(self, visitor: V, source: bytes | None) -> None:
        self._source[visitor] = source
        if source is not None:
            self._open[source] = self._open.get(source, 0) + 1

    def _make_room(self) -> V:
        while self._young:
            oldest, _ = self._young.popitem(last=False)
            if not oldest.is_asking:
                self.leave(oldest)
                return oldest
        raise OverloadedError("all sessions are taken", code="overloaded.sessions")
