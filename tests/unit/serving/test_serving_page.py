"""docs/serving.md says of every flag what the command itself says."""

from __future__ import annotations

from pathlib import Path

import pytest

from sealserve.serving.flags import ACCEPTED, REFUSED, flag_table

PAGE = (Path(__file__).parents[3] / "docs" / "serving.md").read_text()

ROWS = [
    *(f"| `--{n}` | {f'`{d}`' if d else ''} | {text} |" for n, d, text in flag_table()),
    *(f"| `--{name}` | {why} |" for name, (_, why) in ACCEPTED.items()),
    *(f"| `--{name}` | {why} |" for name, why in REFUSED.items()),
]


@pytest.mark.parametrize("row", ROWS, ids=[row.split("`")[1] for row in ROWS])
def test_every_flag_has_its_row(row: str) -> None:
    assert row in PAGE.splitlines()
