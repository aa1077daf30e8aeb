"""What happens too often to be logged each time: counted by reason, logged once a second."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter

from sealserve.logline import line

LOG_SECONDS = 1.0

log = logging.getLogger(__name__)


class Tally:
    """A line `event` with the counts since the last one: the first at once, then at most one a
    second, and none where nothing happened."""

    def __init__(self, event: str) -> None:
        self._event = event
        self._counts: Counter[str] = Counter()
        self._timer: asyncio.TimerHandle | None = None

    def count(self, reason: str) -> None:
        """One more; `reason` is a stable code of ours."""
        self._counts[reason.removeprefix("overloaded.").replace("-", "_")] += 1
        if self._timer is None:
            self._write()

    def close(self) -> None:
        """Write what is left."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._log()

    def _write(self) -> None:
        self._timer = None
        if self._log():
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(LOG_SECONDS, self._write)

    def _log(self) -> bool:
        counts = dict(sorted(self._counts.items()))
        self._counts.clear()
        if counts:
            log.warning(line(self._event, **counts))
        return bool(counts)
