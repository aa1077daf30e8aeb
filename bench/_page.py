"""The table of a run in a page of the documentation, so that no number there is typed by hand.

The page has a block for each benchmark whose table it shows:

    <!-- python -m bench NAME -->
    <!-- end -->

What stands between is replaced as a whole: the machine, the time and the table.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import cryptography
from OpenSSL import SSL

from bench.measure import PROJECT, Result
from sealserve.files import write_file

_HEAD = "| | value | against | ratio | goal | holds |\n|---|---|---|---|---|---|"


def write_table(page: Path, name: str, results: Iterable[Result]) -> None:
    """Replace the block of benchmark `name`; raises ValueError where the page has none."""
    begin, end = f"<!-- python -m bench {name} -->", "<!-- end -->"
    text = page.read_text(encoding="utf-8")
    before, found, rest = text.partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise ValueError(f"{page} has no block that begins with {begin} and ends with {end}")
    block = "\n\n".join((_machine(), "\n".join((_HEAD, *map(_row, results)))))
    write_file(page, f"{before}{begin}\n\n{block}\n\n{end}{after}".encode())


def file_system(path: Path) -> str:
    """The kind of the file system that a path is on, and of the device below it: ext4 on vda."""
    best = ("", "unknown", "unknown")
    for line in Path("/proc/mounts").read_text().splitlines():
        device, where, kind = line.split()[:3]
        if path.resolve().is_relative_to(where) and len(where) > len(best[0]):
            best = (where, kind, device)
    _, kind, device = best
    return f"{kind} on {device.rpartition('/')[2]}" if device.startswith("/dev/") else kind


def _row(result: Result) -> str:
    ratio = "" if result.ratio is None else f"{result.ratio:.2f}"
    holds = "" if result.goal is None else "yes" if result.holds else "**no**"
    cells = (
        result.name,
        f"{result.value:.4g} {result.unit}",
        result.against or "",
        ratio,
        result.goal or "",
        holds,
    )
    return f"| {' | '.join(cells)} |"


def _machine() -> str:
    facts = (
        f"{len(os.sched_getaffinity(0))} cores of {_processor()}",
        f"{_memory_gib():.0f} GiB of memory",
        f"the disk is {file_system(PROJECT)}",
        f"Linux {platform.release().partition('-')[0]}",
        f"Python {platform.python_version()}",
        SSL.SSLeay_version(SSL.SSLEAY_VERSION).decode().rpartition(" ")[0].rsplit(" ", 2)[0]
        + f" (cryptography {cryptography.__version__})",
    )
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    busy = f"processes that wanted a core in the minutes of the run, on average: {_load():.1f}"
    return f"{now}; {', '.join(facts)}; {busy}."


def _processor() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)


def _load() -> float:
    return os.getloadavg()[1]
