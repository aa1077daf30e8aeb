"""Renderings that a person looked at, kept in tests/golden: compared byte for byte."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

GOLDEN = Path(__file__).parents[1] / "golden"
HOW = "look at the difference; if it is meant: REWRITE_GOLDEN=1 pytest FILE, then git diff"


def assert_golden(folder: str, found: Mapping[str, bytes]) -> None:
    """`found` is all that tests/golden/`folder` has; with REWRITE_GOLDEN=1 it is written there."""
    place = GOLDEN / folder
    if os.environ.get("REWRITE_GOLDEN"):
        for name, data in found.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(data)
    files = sorted(path for path in place.rglob("*") if path.is_file())
    kept = {str(path.relative_to(place)): path.read_bytes() for path in files}
    assert sorted(found) == sorted(kept), HOW
    for name, data in found.items():
        assert data.decode() == kept[name].decode(), f"{place / name}: {HOW}"
