"""Waiting with a deadline, and saying now and then for what."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

TOLD_SECONDS: Final = 10.0


class Waiting:
    """From now on, for so many seconds."""

    def __init__(self, seconds: float, tell: Callable[[str], None]) -> None:
        self._began = self._told = time.monotonic()
        self._seconds = seconds
        self._tell = tell

    @property
    def late(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() - self._began > self._seconds

    def pause(self, seconds: float, names: list[str]) -> None:
        """Sleep a little; tell who is waited for, not too often."""
        if time.monotonic() - self._told >= TOLD_SECONDS:
            self._told = time.monotonic()
            passed = self._told - self._began
            self._tell(f"waiting for {', '.join(names)}: {passed:.0f} of {self._seconds:.0f} s")
        time.sleep(seconds)
