"""Times in counters of log-linear width: any number of them in fixed memory, with a known error.

Every power of two is divided into 256 equal parts (below 512 each value has its own), as in Gil
Tene's HdrHistogram. A percentile is given as the upper end of its part, so it is never too low and
less than 1/256 (0.4 %) too high. Least and greatest value and the mean are exact. Values are
nanoseconds; longer ones than MAX_VALUE count as that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from sealserve.errors import UsageError

PART_BITS = 8
RELATIVE_ERROR = 2.0**-PART_BITS
MAX_VALUE = (1 << 43) - 1  # nanoseconds: two hours and a half


@dataclass
class Histogram:
    """Counts by part; only those parts take memory that hold something."""

    parts: dict[int, int] = field(default_factory=dict)
    count: int = 0
    total: int = 0
    least: int = MAX_VALUE
    greatest: int = 0

    def record(self, value: int) -> None:
        """Count one value; one below 0 counts as 0."""
        value = min(max(value, 0), MAX_VALUE)
        shift = max(value.bit_length() - PART_BITS - 1, 0)
        part = (shift << PART_BITS) + (value >> shift)
        self.parts[part] = self.parts.get(part, 0) + 1
        self.count += 1
        self.total += value
        if value < self.least:
            self.least = value
        if value > self.greatest:
            self.greatest = value

    def add(self, other: Histogram) -> None:
        """Count what `other` has counted too."""
        for part, count in other.parts.items():
            self.parts[part] = self.parts.get(part, 0) + count
        self.count += other.count
        self.total += other.total
        self.least = min(self.least, other.least)
        self.greatest = max(self.greatest, other.greatest)

    def percentile(self, percent: float) -> int | None:
        """The value that `percent` of all do not exceed (nearest rank); None where there is none.

        Raises UsageError for a percentage that is not above 0 and up to 100.
        """
        if not 0 < percent <= 100:
            raise UsageError("a percentage is above 0 and up to 100")
        if not self.count:
            return None
        rank = min(max(math.ceil(self.count * percent / 100), 1), self.count)
        for part in sorted(self.parts):
            rank -= self.parts[part]
            if rank <= 0:
                return min(_upper_end(part), self.greatest)
        raise AssertionError("fewer values than were counted")

    @property
    def mean(self) -> float | None:
        """The mean of all values; None where there is none."""
        return self.total / self.count if self.count else None


def _upper_end(part: int) -> int:
    """The greatest value that is counted in a part."""
    shift = max((part >> PART_BITS) - 1, 0)
    return ((part - (shift << PART_BITS) + 1) << shift) - 1
