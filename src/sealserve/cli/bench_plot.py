"""A run as a picture: latency by percentile, and the course of answers and latencies over time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sealserve.cli.bench_drawing import GRID, INK, Line, Page, Words, png, svg
from sealserve.client.load import Report, Row
from sealserve.files import PUBLIC, write_file

PLOTTED = (".svg", ".png")
WIDTH, HEIGHT = 860, 900
LEFT, RIGHT, PANEL, GAP, TOP = 80, 830, 200, 80, 100
BLUE, ORANGE, RED = "#1f5fa8", "#c4561a", "#b00020"
_NINES = (0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999)
_TICKS = 6
_CURVE_POINTS = 40  # for each further nine

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Scale:
    """From values to places on the page, evenly or by powers of ten."""

    low: float
    high: float
    begin: float
    end: float
    log: bool = False

    def place(self, value: float) -> float:
        """Where a value is; one outside is at the border."""
        low, high, value = (self._even(number) for number in (self.low, self.high, value))
        part = (value - low) / (high - low) if high > low else 0.0
        return self.begin + min(max(part, 0.0), 1.0) * (self.end - self.begin)

    def _even(self, value: float) -> float:
        return math.log10(max(value, self.low)) if self.log else value

    def ticks(self) -> list[float]:
        """Round values within the scale."""
        if self.log:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            factors = (1,) if len(decades) > _TICKS else (1, 2, 5)
            found = [factor * 10.0**decade for decade in decades for factor in factors]
        else:
            step = _round_up((self.high - self.low) / _TICKS)
            found = [index * step for index in range(math.ceil(self.high / step) + 1)]
        return [tick for tick in found if self.low <= tick <= self.high * (1 + 1e-9)]


def write_plot(path: Path, measured: dict[str, Any], report: Report) -> None:
    """Draw a run into a file whose name ends with .svg or .png."""
    page = draw(measured, report)
    data = svg(page).encode() if path.suffix.lower() == ".svg" else png(page)
    write_file(path, data, mode=PUBLIC)


def draw(measured: dict[str, Any], report: Report) -> Page:
    """Three panels below each other, under what was measured."""
    title = f"{measured['model']} at {', '.join(measured['targets'])}"
    how = (
        f"{measured['loop']} loop, {measured['load']}; {measured['protocol']},"
        f" TLS {measured['tls']}; {measured['request_bytes']} bytes per request;"
        f" {report.throughput:.1f} answers per second, {report.failed} errors"
    )
    page = Page(WIDTH, HEIGHT, title)
    page.shapes += [Words(LEFT, 36, title, size=18), Words(LEFT, 58, how)]
    tops = [TOP + index * (PANEL + GAP) for index in range(3)]
    page.shapes += _percentile_panel(report, tops[0])
    page.shapes += _rate_panel(report.rows, tops[1])
    page.shapes += _latency_panel(report.rows, tops[2])
    return page


def _percentile_panel(report: Report, top: int) -> Iterator[Line | Words]:
    count = max(report.answered, 10)
    across = Scale(1.0, float(count), LEFT, RIGHT, log=True)  # of 1 / (1 - percentile)
    percents = _curve(count)
    points = [
        (1 / (1 - percent / 100) if percent < 100 else float(count), 1000 * latency)
        for percent in percents
        if (latency := report.latency(percent)) is not None
    ]
    up = _latency_scale([value for _, value in points], top)
    marks = [
        (1 / (1 - nine / 100), f"{nine:g} %") for nine in _NINES if 1 / (1 - nine / 100) <= count
    ]
    yield from _frame("Latency by percentile, ms", "percentile", across, up, marks)
    yield from _curves(across, up, [("latency", BLUE, points)])


def _curve(count: int) -> list[float]:
    """Percentiles that are evenly apart in nines, as far as so many values go, and the last."""
    steps = int(_CURVE_POINTS * math.log10(count))
    found = [100 * (1 - 10 ** (-index / _CURVE_POINTS)) for index in range(1, steps)]
    return [*found, 100.0]


def _rate_panel(rows: Sequence[Row], top: int) -> Iterator[Line | Words]:
    answers = [(_middle(row), row.rate) for row in rows]
    errors = [(_middle(row), row.errors / row.seconds) for row in rows]
    highest = max((value for _, value in (*answers, *errors)), default=0.0) or 1.0
    across = _time_scale(rows)
    up = Scale(0, highest * 1.05, top + PANEL, top)
    yield from _frame("Answers and errors per second", "seconds", across, up)
    series = [("answers", BLUE, answers)]
    if any(value for _, value in errors):
        series.append(("errors", RED, errors))
    yield from _curves(across, up, series)


def _latency_panel(rows: Sequence[Row], top: int) -> Iterator[Line | Words]:
    p50 = [(_middle(row), 1000 * row.p50) for row in rows if row.p50 is not None]
    p99 = [(_middle(row), 1000 * row.p99) for row in rows if row.p99 is not None]
    across = _time_scale(rows)
    up = _latency_scale([value for _, value in (*p50, *p99)], top)
    yield from _frame("Latency over time, ms", "seconds", across, up)
    yield from _curves(across, up, [("p50", BLUE, p50), ("p99", ORANGE, p99)])


def _middle(row: Row) -> float:
    return row.begin + row.seconds / 2


def _time_scale(rows: Sequence[Row]) -> Scale:
    end = max((row.begin + row.seconds for row in rows), default=0.0) or 1.0
    return Scale(0, end, LEFT, RIGHT)


def _latency_scale(milliseconds: Sequence[float], top: int) -> Scale:
    least = max(min(milliseconds, default=1.0), 1e-3)
    greatest = max(milliseconds, default=10.0)
    return Scale(least * 0.8, max(greatest, least * 2) * 1.2, top + PANEL, top, log=True)


def _frame(
    title: str,
    below: str,
    across: Scale,
    up: Scale,
    marks: Sequence[tuple[float, str]] | None = None,
) -> Iterator[Line | Words]:
    """The title, a grid with its values, and the axes."""
    yield Words(LEFT, up.end - 12, title, size=14)
    for tick in up.ticks():
        y = up.place(tick)
        yield Line(((LEFT, y), (RIGHT, y)), GRID)
        yield Words(LEFT - 8, y + 4, f"{tick:g}", "end")
    for value, text in marks or [(tick, f"{tick:g}") for tick in across.ticks()]:
        x = across.place(value)
        yield Line(((x, up.begin), (x, up.end)), GRID)
        yield Words(x, up.begin + 18, text, "middle")
    yield Line(((LEFT, up.end), (LEFT, up.begin), (RIGHT, up.begin)), INK)
    yield Words(RIGHT, up.begin + 36, below, "end")


def _curves(
    across: Scale, up: Scale, series: Sequence[tuple[str, str, Points]]
) -> Iterator[Line | Words]:
    for index, (name, colour, points) in enumerate(series):
        placed = tuple((across.place(x), up.place(y)) for x, y in points)
        if len(placed) == 1:  # a course of one row is a short line
            placed = ((placed[0][0] - 4, placed[0][1]), (placed[0][0] + 4, placed[0][1]))
        if placed:
            yield Line(placed, colour, 2.0)
        yield Words(RIGHT - 80 * (len(series) - 1 - index), up.end - 12, name, "end", 12, colour)


def _round_up(value: float) -> float:
    """The next of 1, 2 and 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= value)
