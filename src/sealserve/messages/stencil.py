"""What messages of one length have in common that differ in some places alone.

A client sends the same message again and again, and only its numbers differ. What is around them is
understood once; a message that has the same bytes there, and the same length, means the same.
"""

from __future__ import annotations

from collections.abc import Iterable


class Stencil:
    """The bytes around the places that may differ."""

    def __init__(self, data: bytes, holes: Iterable[slice]) -> None:
        """Of the message `data`; `holes`, in any order, do not overlap."""
        ordered = sorted(holes, key=lambda hole: hole.start)
        begins = (0, *(hole.stop for hole in ordered))
        ends = (*(hole.start for hole in ordered), len(data))
        self._fixed = tuple((data[a:b], a) for a, b in zip(begins, ends, strict=True))

    @property
    def size(self) -> int:
        """How many bytes these are."""
        return sum(len(part) for part, _ in self._fixed)

    def fits(self, data: bytes) -> bool:
        """Whether a message of the same length has the same bytes there."""
        return all(data.startswith(part, at) for part, at in self._fixed)
