"""Whom the listener tells what happens to its sessions: `keyservice.metrics`, which counts it."""

from __future__ import annotations

from typing import Protocol


class Observer(Protocol):
    """Told about sessions, from the event loop: it must be quick, and must not raise."""

    def session_opened(self) -> None:
        """A connection has got a place."""
        ...

    def session_ended(self, how: str) -> None:
        """Its end: `served` (an answer, or a denial), or the code of what went wrong."""
        ...

    def refused(self, reason: str) -> None:
        """A limit was reached; `reason` is one of the `overloaded.` codes."""
        ...

    def handshake(self, seconds: float, ok: bool) -> None:
        """A handshake is over: how long after the connection was accepted, and whether well."""
        ...


class Unobserved:
    """Nobody is told."""

    def session_opened(self) -> None:
        """Nothing."""

    def session_ended(self, how: str) -> None:
        """Nothing."""

    def refused(self, reason: str) -> None:
        """Nothing."""

    def handshake(self, seconds: float, ok: bool) -> None:
        """Nothing."""
