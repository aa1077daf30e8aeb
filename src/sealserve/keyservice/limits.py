"""What one client, one source, one identity, or all of them together may take: `[limits]`.

The defaults let 1,000 enclaves behind one address start within ten seconds, and leave the places of
three such crowds to others. Every number is for the whole service; with several worker processes
each applies its share (`Limits.shared_by`), because the kernel, and not we, spreads connections
over them.
"""

from __future__ import annotations

import math
from typing import Annotated, Self

from pydantic import Field

from sealserve.keyservice.fields import Seconds, Table

SPREAD = 4  # standard deviations by which one worker may have more connections than another

Count = Annotated[int, Field(ge=1, le=65536)]
PerSecond = Annotated[float, Field(gt=0, le=1_000_000)]


class Limits(Table):
    """The table `[limits]`; each value is described in docs/operations.md."""

    handshake_seconds: Seconds = 10.0
    idle_seconds: Seconds = 10.0
    session_seconds: Seconds = 60.0
    drain_seconds: Annotated[float, Field(ge=0, le=3600)] = 0.0
    """How long a stopping service is "not ready" before it takes no more connections."""

    max_sessions: Count = 2048
    max_sessions_per_source: Count = 512
    connections_per_second_per_source: PerSecond = 200.0
    connections_burst_per_source: Count = 1000

    releases_per_second_per_identity: PerSecond = 100.0
    releases_burst_per_identity: Count = 1000
    rejections_per_second: PerSecond = 100.0
    rejections_burst: Count = 1000
    max_waiting_decisions: Count = 1024

    def shared_by(self, workers: int) -> Self:
        """The limits of one of `workers` processes.

        Waits stay as they are and rates are divided. A count is divided too, with room for how
        unevenly the kernel spreads connections, so that all processes together may take somewhat
        more than the whole; one process is never given more than the whole.
        """
        counts = (
            "max_sessions",
            "max_sessions_per_source",
            "connections_burst_per_source",
            "releases_burst_per_identity",
            "rejections_burst",
            "max_waiting_decisions",
        )
        rates = (
            "connections_per_second_per_source",
            "releases_per_second_per_identity",
            "rejections_per_second",
        )
        return self.model_copy(
            update={name: _share(getattr(self, name), workers) for name in counts}
            | {name: getattr(self, name) / workers for name in rates}
        )


def _share(whole: int, workers: int) -> int:
    if workers == 1:
        return whole
    mean = whole / workers
    return min(whole, math.ceil(mean + SPREAD * math.sqrt(mean)))
