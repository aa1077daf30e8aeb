"""docs/serving.md says of every flag what the command says, its neighbour knows every event."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sealserve.serving.flags import ACCEPTED, REFUSED, flag_table

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "serving.md").read_text()
WATCHING = (ROOT / "docs" / "serving-watching.md").read_text()
SOURCES = sorted((ROOT / "src" / "sealserve" / "serving").rglob("*.py"))
EVENT = re.compile(r'\bline\(\s*"(\w+)"')

ROWS = [
    *(f"| `--{n}` | {f'`{d}`' if d else ''} | {text} |" for n, d, text in flag_table()),
    *(f"| `--{name}` | {why} |" for name, (_, why) in ACCEPTED.items()),
    *(f"| `--{name}` | {why} |" for name, why in REFUSED.items()),
]


@pytest.mark.parametrize("row", ROWS, ids=[row.split("`")[1] for row in ROWS])
def test_every_flag_has_its_row(row: str) -> None:
    assert row in PAGE.splitlines()


def test_every_event_of_the_log_is_explained() -> None:
    events = {event for source in SOURCES for event in EVENT.findall(source.read_text())}
    assert {"started", "version_loaded", "request"} <= events
    assert not {event for event in events if f"`{event}`" not in WATCHING}
