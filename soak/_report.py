"""What a scenario found: figures, and promises that hold or do not."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

BAR = "\\|"


class Missing(Exception):
    """Something that a scenario needs is not on this machine; it says what."""


@dataclass(frozen=True)
class Figure:
    """One line of the table; `holds` is None where nothing is promised."""

    name: str
    value: str
    holds: bool | None = None

    @property
    def verdict(self) -> str:
        """How the table says it."""
        return "" if self.holds is None else "yes" if self.holds else "NO"


def figure(name: str, value: object) -> Figure:
    """A number that is only reported."""
    return Figure(name, str(value))


def promise(name: str, value: object, *, holds: bool) -> Figure:
    """Something that must hold."""
    return Figure(name, str(value), holds)


def latencies(seconds: Iterable[float]) -> str:
    """p50, p99 and the longest, in milliseconds; the rank is the nearest above."""
    found = sorted(seconds)
    if not found:
        return "none"
    p50, p99 = (found[math.ceil(len(found) * share) - 1] for share in (0.5, 0.99))
    return f"{1000 * p50:.0f} / {1000 * p99:.0f} / {1000 * found[-1]:.0f} ms"


def counts(found: dict[str, int] | dict[str, float]) -> str:
    """Names with their numbers, the highest first."""
    ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name} {number:,.0f}" for name, number in ordered if number) or "none"


def mebibytes(size: float) -> str:
    """A size in bytes, as people read it."""
    return f"{size / (1 << 20):.1f} MiB"


def markdown(scenarios: Sequence[tuple[str, Sequence[Figure]]]) -> str:
    """All scenarios as one table."""
    lines = ["| scenario | figure | value | holds |", "| --- | --- | --- | --- |"]
    for scenario, figures in scenarios:
        for number, each in enumerate(figures):
            title = f"**{scenario}**" if number == 0 else ""
            cells = (title, each.name, each.value, each.verdict)
            lines.append(f"| {' | '.join(cell.replace('|', BAR) for cell in cells)} |")
    return "\n".join(lines) + "\n"
