"""Write the tables of `docs/clouds.md` from the data in `src/sealserve/deploy/clouds/`.

cloud_tables.py            write them, behind the page's marker
cloud_tables.py --check    write nothing; exit 1 if the page has others
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from sealserve.deploy.clouds import CLOUDS, load_cloud
from sealserve.deploy.clouds.rows import Row, cloud_rows, common_rows

PAGE = Path(__file__).resolve().parents[1] / "docs" / "clouds.md"
MARKER = "<!-- Below: scripts/cloud_tables.py, from src/sealserve/deploy/clouds/ -->\n"
FACTS = ("fact", "what it is", "unconfirmed", "source")


def page() -> str:
    """The page with tables that are those of the data."""
    written, marker, _ = PAGE.read_text().partition(MARKER)
    if not marker:
        raise SystemExit(f"{PAGE} has no line {MARKER!r}")
    return f"{written}{MARKER}\n{tables()}"


def tables() -> str:
    """All of them, each under its heading."""
    parts = ["## In short", _table(("cloud", "tried on", "kernel", "service"), _short())]
    for name in CLOUDS:
        cloud = load_cloud(name)
        parts += [f"## {cloud.title}", f"`{name}`", _table(FACTS, _facts(cloud_rows(cloud)))]
    parts += ["## In every cloud", _table(FACTS, _facts(common_rows()))]
    return "\n\n".join(parts) + "\n"


def _short() -> Iterator[Sequence[str]]:
    for name in CLOUDS:
        cloud = load_cloud(name)
        tried = [f"{size.name}, EPC {size.epc}" for size in cloud.sizes if size.reference]
        system = f"{cloud.kernel.minimum} or newer, {cloud.kernel.os}"
        yield f"`{name}`", "; ".join(tried), system, _code(cloud.service.pccs_url)


def _facts(rows: Iterable[Row]) -> Iterator[Sequence[str]]:
    for row in rows:
        yield f"{row.area}: {row.name}", _code(row.value), row.unconfirmed or "", row.source


def _code(value: str) -> str:
    """Addresses and commands as code, so that nothing of them is taken for a link."""
    return f"`{value}`" if "{" in value or "://" in value or value.startswith("az ") else value


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |".replace("|  |", "| |") for line in lines)


def main() -> int:
    """Write, or compare; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if they differ")
    made = page()
    if parser.parse_args().check:
        if PAGE.read_text() != made:
            print(f"{PAGE} is not made from the data: run scripts/cloud_tables.py")
            return 1
        return 0
    PAGE.write_text(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
