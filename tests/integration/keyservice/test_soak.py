"""Every scenario of `make soak`, small: that it runs, and that what it promises holds."""

from __future__ import annotations

import pytest

from soak import __main__ as soak

LONG = {"attacks", "crashes", "rolling"}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.long] * (n in LONG)) for n in soak.names()]
)
def test_what_a_scenario_promises_holds(name):
    figures = soak.run(name, quick=True)
    for each in figures:
        if each.name == soak.SKIPPED:
            pytest.skip(each.value)
    assert [each for each in figures if each.holds is False] == []
    assert any(each.holds for each in figures)


def test_the_table_is_written_between_the_markers_and_nowhere_else(tmp_path):
    page = tmp_path / "reliability.md"
    page.write_text(f"before\n\n{soak.BEGIN}\nan older table\n{soak.END}\n\nafter\n")
    figures = [soak.promise("it | holds", "3 of 3", holds=True), soak.figure("a figure", 7)]
    soak.write(page, [("one", figures)])
    text = page.read_text()
    assert text.startswith(f"before\n\n{soak.BEGIN}\n")
    assert text.endswith(f"{soak.END}\n\nafter\n")
    assert "| **one** | it \\| holds | 3 of 3 | yes |\n|  | a figure | 7 |  |\n" in text
    assert "an older table" not in text


def test_a_page_without_markers_is_not_written(tmp_path):
    page = tmp_path / "other.md"
    page.write_text("nothing of the kind\n")
    with pytest.raises(ValueError, match="markers"):
        soak.write(page, [])
    assert page.read_text() == "nothing of the kind\n"
