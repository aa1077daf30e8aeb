"""The dashboard, as far as Prometheus and common sense go; its schema: tests/interop."""

from __future__ import annotations

from alert_rules import overlapping, refused_expressions
from operating import BOARD, BOARD_EXPRESSIONS, PANELS
from tools import needs_promtool


@needs_promtool
def test_prometheus_takes_every_expression_of_the_dashboard(tmp_path):
    assert refused_expressions(tmp_path, BOARD_EXPRESSIONS) is None


def test_every_panel_says_what_it_shows_of_the_chosen_source_and_services():
    for panel in PANELS:
        assert panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        for asked in (panel, *panel["targets"]):
            assert asked["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        for target in panel["targets"]:
            assert 'job=~"$job", instance=~"$instance"' in target["expr"], panel["title"]
    assert [each["name"] for each in BOARD["templating"]["list"]] == [
        "datasource",
        "job",
        "instance",
    ]


def test_panels_have_numbers_of_their_own_and_do_not_overlap():
    numbers = [panel["id"] for panel in BOARD["panels"]]
    assert len(set(numbers)) == len(numbers)
    for panel in BOARD["panels"]:
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
    assert overlapping(BOARD["panels"]) == []
