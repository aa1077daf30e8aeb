"""Run scenarios, print their table; exit 1 if a promise does not hold."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import platform
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

import soak
from soak._report import Figure, Missing, figure, markdown, promise

BEGIN, END = "<!-- written by python -m soak -->", "<!-- end of what it wrote -->"
SKIPPED = "skipped"
LINE = 120  # characters, where the output is no terminal
ORDER = (
    "loris", "flood", "scale_out", "all_at_once", "crashes", "postgres", "disk_full", "clock",
    "rolling", "attacks",
)  # fmt: skip


def names() -> list[str]:
    """All scenarios."""
    found = {module.name for module in pkgutil.iter_modules(soak.__path__)}
    scenarios = {name for name in found if not name.startswith("_")}
    return sorted(scenarios, key=lambda name: (ORDER.index(name) if name in ORDER else 99, name))


def run(name: str, *, quick: bool) -> list[Figure]:
    """The figures of one scenario; what it raises is a promise that does not hold."""
    scenario = importlib.import_module(f"soak.{name}")
    began = time.monotonic()
    found: list[Figure] = []
    try:
        found.extend(scenario.run(scenario.QUICK if quick else scenario.FULL))
    except Missing as missing:
        found.append(figure(SKIPPED, str(missing)))
    except Exception as error:  # noqa: BLE001  (the other scenarios are run all the same)
        traceback.print_exc()
        found.append(promise("the scenario came to its end", repr(error)[:200], holds=False))
    found.append(figure("the scenario took", f"{time.monotonic() - began:.0f} s"))
    return found


def table(title: str, figures: Sequence[Figure]) -> Table:
    """One scenario, to read."""
    rows = Table("", "value", "holds", title=title, title_justify="left")
    for each in figures:
        verdict = "[bold red]NO[/]" if each.holds is False else each.verdict
        rows.add_row(each.name, each.value, verdict)
    return rows


def write(path: Path, scenarios: Sequence[tuple[str, Sequence[Figure]]]) -> None:
    """Put the table between the markers of `path`; raises ValueError where they are missing."""
    before, begin, rest = path.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path} has no markers {BEGIN} and {END}")
    when = datetime.now(UTC).date().isoformat()
    where = f"{platform.machine()}, Python {platform.python_version()}"
    text = f"As run on {when} ({where}):\n\n{markdown(scenarios)}"
    path.write_text(f"{before}{BEGIN}\n{text}{END}{after}")


def main() -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m soak", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(names())}")
    parser.add_argument("--quick", action="store_true", help="small numbers: a look, no proof")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the table into this file")
    options = parser.parse_args()
    chosen = options.names or names()
    if unknown := sorted(set(chosen) - set(names())):
        parser.error(f"no such scenario: {', '.join(unknown)}; there are: {', '.join(names())}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # unwind
    console = Console(highlight=False, width=None if sys.stdout.isatty() else LINE)
    scenarios = []
    for name in chosen:
        with console.status(f"running {name}"):
            figures = run(name, quick=options.quick)
        console.print(table(name, figures))
        scenarios.append((name, figures))
    if options.write:
        write(options.write, scenarios)
    broken = [
        f"{name}: {each.name}"
        for name, figures in scenarios
        for each in figures
        if each.holds is False
    ]
    for each in broken:
        console.print(f"[bold red]does not hold[/] {each}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
