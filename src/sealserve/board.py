"""Numbers that several processes write and any of them can read: what the metrics are kept in.

One piece of memory without a file, made before the workers are forked and shared by them all. Each
process has a row of its own, and only it writes there, so that no process waits for another; who
reads adds the rows up. A worker that takes the place of one that died takes over its row: what was
counted stays counted.

prometheus_client has a mode for several processes, too, with files in a folder that an environment
variable must name before the first import; they outlive what wrote them, grow with every worker,
and know no metrics of processes. Here there is nothing to clean up.

A row has cells (float64, host byte order) with fixed meanings, and `NAMES` counters that get their
names as they come, texts of at most `NAME_BYTES` bytes; a few places are kept for what else is to
be counted once the others are taken. Cells are aligned: a reader sees the old number or the new,
never half of each.
"""

from __future__ import annotations

import mmap
import threading

CELL = 8  # bytes
NAMES = 256  # counters with names, in a row
NAME_BYTES = 120
KEPT = 8  # places for names that stand for the rest

_ENTRY = NAME_BYTES + CELL
_PID, _USED, _HEAD = 0, 1, 2  # cells before those of the board's maker


class Board:
    """`rows` rows of `cells` cells each. Forked processes share it with whoever made it."""

    def __init__(self, rows: int, cells: int) -> None:
        self._rows = rows
        self._cells = _HEAD + cells
        self._width = self._cells * CELL + NAMES * _ENTRY
        self._memory = mmap.mmap(-1, rows * self._width)

    def row(self, number: int) -> Row:
        """Row `number`, for its one writer or for a reader; raises IndexError."""
        if not 0 <= number < self._rows:
            raise IndexError(f"row {number} of {self._rows}")
        whole = memoryview(self._memory)[number * self._width : (number + 1) * self._width]
        return Row(whole[: self._cells * CELL].cast("d"), whole[self._cells * CELL :])

    def rows(self) -> list[Row]:
        """All of them."""
        return [self.row(number) for number in range(self._rows)]


class Row:
    """One process's numbers. Its threads may write at the same time."""

    def __init__(self, cells: memoryview[float], table: memoryview) -> None:
        self._cells = cells
        self._table = table
        self._lock = threading.Lock()
        self._places = {name: place for place, name in enumerate(self._names())}

    @property
    def pid(self) -> int:
        """The process that writes here; 0 if there was none."""
        return int(self._cells[_PID])

    @pid.setter
    def pid(self, pid: int) -> None:
        self._cells[_PID] = pid

    def add(self, amounts: dict[int, float]) -> None:
        """Add to cells, by their numbers: all of these, before this row's next addition."""
        with self._lock:
            for cell, amount in amounts.items():
                self._cells[_HEAD + cell] += amount

    def put(self, cell: int, value: float) -> None:
        """Set a cell."""
        self._cells[_HEAD + cell] = value

    def cell(self, number: int) -> float:
        """What a cell holds; 0 before anything was written."""
        return float(self._cells[_HEAD + number])

    def count(self, name: str, rest: str) -> None:
        """Add 1 to the counter `name`, or to `rest` where there is no room for one more."""
        with self._lock:
            place = self._place(name, NAMES - KEPT)
            if place is None:
                place = self._place(rest, NAMES)
            if place is not None:
                self._value(place)[0] += 1

    def counts(self) -> dict[str, float]:
        """Every counter with a name."""
        return {name: self._value(place)[0] for place, name in enumerate(self._names())}

    def _place(self, name: str, room: int) -> int | None:
        """Where `name` is counted; None if it is new and does not fit into `room` places."""
        used, data = len(self._places), name.encode()
        if name in self._places:
            return self._places[name]
        if used >= room or len(data) > NAME_BYTES:
            return None
        start = used * _ENTRY
        self._table[start : start + NAME_BYTES] = data.ljust(NAME_BYTES, b"\0")
        self._cells[_USED] = used + 1  # from here on readers see it
        self._places[name] = used
        return used

    def _names(self) -> list[str]:
        starts = (place * _ENTRY for place in range(int(self._cells[_USED])))
        names = (bytes(self._table[start : start + NAME_BYTES]) for start in starts)
        return [name.rstrip(b"\0").decode() for name in names]

    def _value(self, place: int) -> memoryview[float]:
        start = place * _ENTRY + NAME_BYTES
        return self._table[start : start + CELL].cast("d")
