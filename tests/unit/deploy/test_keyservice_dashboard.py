"""The dashboard, as far as Prometheus and common sense go; its schema: tests/interop."""

from __future__ import annotations

import json
from itertools import combinations

from operating import BOARD, BOARD_EXPRESSIONS, PANELS, promtool
from tools import needs_promtool


@needs_promtool
def test_prometheus_takes_every_expression_of_the_dashboard(tmp_path):
    variables = {"$__rate_interval": "5m", "$job": ".+", "$instance": ".+"}
    rules = []
    for number, expression in enumerate(BOARD_EXPRESSIONS):
        for name, value in variables.items():
            expression = expression.replace(name, value)
        assert "$" not in expression
        rules.append({"record": f"x:{number}", "expr": expression})
    written = tmp_path / "expressions.yml"
    written.write_text(json.dumps({"groups": [{"name": "x", "rules": rules}]}))
    assert promtool("check", "rules", written) is None


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
    places = [panel["gridPos"] for panel in BOARD["panels"]]
    for place in places:
        assert place["x"] + place["w"] <= 24
    for one, other in combinations(places, 2):
        assert (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        ), (one, other)
