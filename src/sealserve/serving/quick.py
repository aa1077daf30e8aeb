"""Which runs are known to be quick: what one costs is measured, and forgotten slowly.

Only small inputs tell: how long a large one takes says nothing about the next small one.
"""

from __future__ import annotations

from collections.abc import Mapping

from sealserve.serving.signature import Array

QUICK_SECONDS = 0.5e-3  # what the event loop may be held for
SMALL_BYTES = 64 << 10
_MEMORY = 0.8  # of what was measured before, in what is expected next


def is_small(inputs: Mapping[str, Array]) -> bool:
    """Whether these inputs are small."""
    return sum([array.nbytes for array in inputs.values()]) <= SMALL_BYTES


class Expectation:
    """How long the next run of small inputs will take, by those before."""

    def __init__(self, seconds: float = QUICK_SECONDS) -> None:
        """Unless told otherwise, the first runs are not taken to be quick."""
        self._seconds = seconds

    @property
    def quick(self) -> bool:
        """Whether it will be quick."""
        return self._seconds < QUICK_SECONDS

    def learn(self, seconds: float) -> None:
        """A run of small inputs took this long."""
        self._seconds = _MEMORY * self._seconds + (1 - _MEMORY) * seconds
