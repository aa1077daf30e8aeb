"""Numbers that several processes write and any of them can read: what the metrics are kept in.

One piece of memory without a file, made before the workers are forked and shared by them all. Each
process has a row of its own, and only it writes there, so that no process waits for another; who
reads adds the rows up. A worker that takes the place of one that died takes over its row: what was
counted stays counted.

prometheus_client has a mode for several processes, too, with files in a folder that an environment
variable must name before the first import; they outlive what wrote them, grow with every worker,
and know no metrics of processes. Here there is nothing to clean up.

A row has cells (float64, host byte order) with fixed meanings, and a table of places that get their
names as they come: each holds one counter, or as many cells as the board's maker asks for. A few
places are kept for what else is to be counted once the others are taken. Cells are aligned: a
reader sees the old number or the new, never half of each.
"""

from __future__ import annotations

import mmap
import threading
from dataclasses import dataclass

CELL = 8  # bytes
NAMES = 256  # counters with names, in a row
NAME_BYTES = 120
KEPT = 8  # places for names that stand for the rest

_PID, _USED, _HEAD = 0, 1, 2  # cells before those of the board's maker


@dataclass(frozen=True)
class Table:
    """The places of a row: how many, the bytes of a name (a multiple of `CELL`), the cells of each.

    The last `kept` are for names that stand for the rest.
    """

    names: int = NAMES
    name_bytes: int = NAME_BYTES
    width: int = 1
    kept: int = KEPT

    @property
    def entry(self) -> int:
        """Bytes of one place."""
        return self.name_bytes + self.width * CELL


COUNTERS = Table()


class Board:
    """`rows` rows of `cells` cells each. Forked processes share it with whoever made it."""

    def __init__(self, rows: int, cells: int, table: Table = COUNTERS) -> None:
        self._rows = rows
        self._cells = _HEAD + cells
        self._table = table
        self._width = self._cells * CELL + table.names * table.entry
        self._memory = mmap.mmap(-1, rows * self._width)

    def row(self, number: int) -> Row:
        """Row `number`, for its one writer or for a reader; raises IndexError."""
        if not 0 <= number < self._rows:
            raise IndexError(f"row {number} of {self._rows}")
        whole = memoryview(self._memory)[number * self._width : (number + 1) * self._width]
        cells = whole[: self._cells * CELL].cast("d")
        return Row(cells, whole[self._cells * CELL :], self._table)

    def rows(self) -> list[Row]:
        """All of them."""
        return [self.row(number) for number in range(self._rows)]


class Row:
    """One process's numbers. Its threads may write at the same time."""

    def __init__(self, cells: memoryview[float], memory: memoryview, table: Table) -> None:
        self._cells = cells
        self._memory = memory
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
            place = self._place(name, rest)
            if place is not None:
                self._values(place)[0] += 1

    def counts(self) -> dict[str, float]:
        """Every counter with a name."""
        return {name: values[0] for name, values in self.places().items()}

    def named(self, name: str, rest: str) -> memoryview[float] | None:
        """The cells under `name`, to read and write; those of `rest` where there is no room.

        None where there is none for that either.
        """
        with self._lock:
            place = self._place(name, rest)
            return None if place is None else self._values(place)

    def places(self) -> dict[str, memoryview[float]]:
        """Every name, and its cells."""
        return {name: self._values(place) for place, name in enumerate(self._names())}

    def _place(self, name: str, rest: str) -> int | None:
        place = self._find(name, self._table.names - self._table.kept)
        return self._find(rest, self._table.names) if place is None else place

    def _find(self, name: str, room: int) -> int | None:
        """Where `name` is counted; None if it is new and does not fit into `room` places."""
        used, data, size = len(self._places), name.encode(), self._table.name_bytes
        if name in self._places:
            return self._places[name]
        if used >= room or len(data) > size:
            return None
        start = used * self._table.entry
        self._memory[start : start + size] = data.ljust(size, b"\0")
        self._cells[_USED] = used + 1  # from here on readers see it
        self._places[name] = used
        return used

    def _names(self) -> list[str]:
        entry, size = self._table.entry, self._table.name_bytes
        starts = (place * entry for place in range(int(self._cells[_USED])))
        names = (bytes(self._memory[start : start + size]) for start in starts)
        return [name.rstrip(b"\0").decode() for name in names]

    def _values(self, place: int) -> memoryview[float]:
        start = place * self._table.entry + self._table.name_bytes
        return self._memory[start : start + self._table.width * CELL].cast("d")
