"""Fuzz targets, print their table; exit 1 if anything escapes or is too dear."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from rich.console import Console
from rich.table import Table

import fuzz
from fuzz.cost import BYTES_LIMIT, SECONDS_LIMIT
from fuzz.seeds import LAB_VARIABLE, NOW, PROJECT, World
from fuzz.targets import TARGETS

BUILD = PROJECT / "build" / "fuzz"
JUDGING_SECONDS = 600
LINE = 140  # characters, where the output is no terminal
_EXECUTED = re.compile(r"stat::number_of_executed_units:\s+(\d+)")
_COVERED = re.compile(r"cov: (\d+) ft: (\d+)")


@dataclass(frozen=True)
class Outcome:
    """One target: how far its exploration came, what its inputs cost, what is wrong."""

    name: str
    executions: int
    features: int
    inputs: int
    seconds: float
    slowest: str
    bytes: int
    largest: str
    faults: tuple[str, ...]


def fuzz_one(name: str, *, seconds: int, environment: dict[str, str]) -> Outcome:
    """Explore, then judge, each in a process of its own."""
    folder = BUILD / name
    run = partial(subprocess.run, cwd=PROJECT, env=environment, text=True, check=False)
    with (folder / "log").open("w") as log:
        command = [sys.executable, "-m", "fuzz.explore", name, str(folder), str(seconds)]
        explored = run(command, stdout=log, stderr=log, timeout=seconds + JUDGING_SECONDS)
    log_text = (folder / "log").read_text(errors="replace")
    command = [sys.executable, "-m", "fuzz.judge", name, str(folder)]
    judged = run(command, capture_output=True, timeout=JUDGING_SECONDS)
    verdict = json.loads(judged.stdout) if judged.returncode == 0 else {"faults": []}
    faults = list(verdict["faults"])
    if explored.returncode:
        faults.append(f"exploring ended with {explored.returncode}: see {folder}/log, artifacts")
    if judged.returncode:
        faults.append(f"judging ended with {judged.returncode}: {judged.stderr[-300:]}")
    return Outcome(
        name,
        int(_last(_EXECUTED, log_text, 1)),
        int(_last(_COVERED, log_text, 2)),
        verdict.get("inputs", 0),
        verdict.get("seconds", 0.0),
        verdict.get("slowest", ""),
        verdict.get("bytes", 0),
        verdict.get("largest", ""),
        tuple(faults),
    )


def _last(pattern: re.Pattern[str], text: str, group: int) -> str:
    found = "0"
    for match in pattern.finditer(text):
        found = match[group]
    return found


def table(outcomes: list[Outcome]) -> Table:
    """The outcomes, to read."""
    rows = Table(
        "target", "executions", "features", "judged", "slowest", "", "peak memory", "", "faults"
    )
    for each in outcomes:
        rows.add_row(
            each.name,
            f"{each.executions}",
            f"{each.features}",
            f"{each.inputs}",
            f"{each.seconds * 1e3:.1f} ms",
            each.slowest,
            f"{each.bytes / 2**20:.2f} MiB",
            each.largest,
            f"[bold red]{len(each.faults)}[/]" if each.faults else "none",
        )
    return rows


def main() -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m fuzz",
        description=fuzz.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="TARGET", help=f"of: {', '.join(TARGETS)}")
    parser.add_argument("--seconds", type=int, default=20, help="for each target (20)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="targets at a time")
    arguments = parser.parse_args()
    names = arguments.names or list(TARGETS)
    if unknown := sorted(set(names) - set(TARGETS)):
        parser.error(f"no such target: {', '.join(unknown)}; there are: {', '.join(TARGETS)}")
    environment = _prepare(names)
    one = partial(fuzz_one, seconds=arguments.seconds, environment=environment)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else LINE)
    with ThreadPoolExecutor(arguments.jobs) as pool:
        outcomes = list(pool.map(one, names))
    console.print(table(outcomes))
    faults = [f"{each.name}: {fault}" for each in outcomes for fault in each.faults]
    for fault in faults:
        console.print(fault, markup=False)
    longest = max(TARGETS[name].seconds for name in names)
    limits = f"{SECONDS_LIMIT * 1e3:.0f} ms"
    if longest > SECONDS_LIMIT:
        limits += f" (a person's own files: up to {longest:.0f} s)"
    limits += f" and {BYTES_LIMIT >> 20} MiB"
    console.print(f"{len(faults)} faults; the limits are {limits} an input; more is in {BUILD}")
    return 1 if faults else 0


def _prepare(names: list[str]) -> dict[str, str]:
    """Empty folders, and one lab for all processes; their environment."""
    for name in (*names, "lab"):
        shutil.rmtree(BUILD / name, ignore_errors=True)
    for name in names:
        (BUILD / name).mkdir(parents=True)
    World.create(now=NOW).save(BUILD / "lab")
    return {**os.environ, LAB_VARIABLE: str(BUILD / "lab")}


if __name__ == "__main__":
    sys.exit(main())
