"""Run benchmarks, print their table, write their results; exit 1 if a goal does not hold."""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import signal
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

import bench
from bench._page import write_table
from bench.measure import Result

RESULTS = Path(__file__).parent / "results"
NOT_BENCHMARKS = {"measure"}
LINE = 120  # characters, where the output is no terminal


def names() -> list[str]:
    """All benchmarks, by name."""
    modules = (module.name for module in pkgutil.iter_modules(bench.__path__))
    return [name for name in modules if name[0] != "_" and name not in NOT_BENCHMARKS]


def run(name: str) -> list[Result]:
    """Run one benchmark and write its results."""
    results = list(importlib.import_module(f"bench.{name}").run())
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps([asdict(result) for result in results], indent=2)
    (RESULTS / f"{name}.json").write_text(text + "\n")
    return results


def table(title: str, results: Iterable[Result]) -> Table:
    """The results of one benchmark, to read."""
    rows = Table(
        "", "value", "against", "ratio", "goal", "holds", title=title, title_justify="left"
    )
    for result in results:
        rows.add_row(
            result.name,
            f"{result.value:.4g} {result.unit}",
            result.against or "",
            "" if result.ratio is None else f"{result.ratio:.2f}",
            result.goal or "",
            "" if result.goal is None else "yes" if result.holds else "[bold red]NO[/]",
        )
    return rows


def main() -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(names())}")
    parser.add_argument(
        "--write",
        type=Path,
        metavar="PAGE",
        help="put the tables between the marks of these benchmarks in a page, too",
    )
    arguments = parser.parse_args()
    chosen = arguments.names or names()
    if unknown := sorted(set(chosen) - set(names())):
        parser.error(f"no such benchmark: {', '.join(unknown)}; there are: {', '.join(names())}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # unwind
    console = Console(highlight=False, width=None if sys.stdout.isatty() else LINE)
    all_hold = True
    for name in chosen:
        with console.status(f"measuring {name}"):
            results = run(name)
        console.print(table(name, results))
        if arguments.write is not None:
            write_table(arguments.write, name, results)
        all_hold = all_hold and all(result.holds is not False for result in results)
    console.print(f"results are in {RESULTS}")
    return 0 if all_hold else 1


if __name__ == "__main__":
    sys.exit(main())
