"""What a target is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fuzz import hostile
from fuzz.cost import SECONDS_LIMIT


@dataclass(frozen=True)
class Target:
    """One parser: it answers, or raises one of `refusals`; an AssertionError is an escape too."""

    run: Callable[[bytes], object]
    refusals: tuple[type[Exception], ...]
    seeds: Callable[[], list[bytes]]
    hostile: Callable[[], Mapping[str, bytes]] = hostile.none
    words: tuple[bytes, ...] = ()
    """What a mutation may put in: the format's own words."""
    longest: int = 1 << 14
    """Bytes to grow an input to; the hostile ones are larger."""
    seconds: float = SECONDS_LIMIT
    """Of processor time, that one input may cost."""
