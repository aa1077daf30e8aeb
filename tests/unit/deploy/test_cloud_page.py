"""The page on clouds says what the data says."""

from __future__ import annotations

from scripts.cloud_tables import FACTS, PAGE, page
from sealserve.deploy.clouds import CLOUDS, load_cloud
from sealserve.deploy.clouds.rows import cloud_rows, common_rows


def test_the_tables_of_the_page_are_made_from_the_data() -> None:
    assert PAGE.read_text() == page(), "run scripts/cloud_tables.py"


def test_every_fact_is_one_row_of_the_page() -> None:
    rows = [row for name in CLOUDS for row in cloud_rows(load_cloud(name))]
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    facts = [line for line in lines if line.count(" | ") + line.count("| |") >= len(FACTS) - 1]
    for row in (*rows, *common_rows()):
        assert any(row.value in line and line.endswith(f"| {row.source} |") for line in facts)
