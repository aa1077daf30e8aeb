"""What those who watch the server are told beside the calls: of versions, warm-up and batches.

An observer is told in the event loop, of warm-up in the thread that loads; it must be quick, and
must not fail.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class Observer(Protocol):
    """Who is told."""

    def loaded(self, path: str, seconds: float) -> None:
        """The version in the folder `path` was loaded."""

    def load_failed(self, model: str, path: str, code: str, seconds: float) -> None:
        """The version in the folder `path` could not be loaded; `code` is one of our errors'."""

    def states(self, model: str, versions: Mapping[int, int]) -> None:
        """The versions of a model and their states (ModelVersionStatus.State), as of now."""

    def warmed(self, path: str, records: int, seconds: float, status: str) -> None:
        """Warm-up of a version with `records` ended; `status` is OK or a code of our errors'."""

    def batch(self, rows: Sequence[int], padded: int) -> None:
        """A batch was run: the rows of each request in it, and in all, with padding."""


class Unobserved:
    """Nobody watches."""

    def loaded(self, path: str, seconds: float) -> None:
        """See `Observer`."""

    def load_failed(self, model: str, path: str, code: str, seconds: float) -> None:
        """See `Observer`."""

    def states(self, model: str, versions: Mapping[int, int]) -> None:
        """See `Observer`."""

    def warmed(self, path: str, records: int, seconds: float, status: str) -> None:
        """See `Observer`."""

    def batch(self, rows: Sequence[int], padded: int) -> None:
        """See `Observer`."""
