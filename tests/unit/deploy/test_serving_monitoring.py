"""Rules and dashboard for the model server: of metrics that there are, each on its own trouble."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from alert_rules import (
    AlertRules,
    case,
    names_in,
    overlapping,
    promtool,
    refused_expressions,
)
from sealserve.cli.monitoring import monitoring
from sealserve.deploy.serving import DASHBOARD, RULES, watching_files
from sealserve.errors import UsageError
from sealserve.serving.watching import measures
from sealserve.serving.watching.measures import PREFIX, Kind
from tools import needs_promtool

PAGE = (Path(__file__).parents[3] / "docs" / "watching.md").read_text()
FILES = {name: data.decode() for name, data in watching_files().items()}
BOARD = json.loads(FILES[DASHBOARD])
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
BOARD_EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel["targets"]]
SERVING_RULES = AlertRules(RULES, FILES[RULES])
MADE = {
    each.name + end
    for each in measures.ALL
    for end in (("_bucket", "_count", "_sum") if each.kind is Kind.HISTOGRAM else ("",))
}
OTHERS = {
    "up",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    *SERVING_RULES.recorded,
}
REQUESTS = measures.REQUESTS.name
QUEUE = measures.QUEUE_SECONDS.name + "_bucket"
TARGET = {"job": "sealserve-serving", "instance": "one:8501"}
STEADY = "x90"
DAY = 86400


def series(name: str, values: str, **labels: str) -> dict[str, str]:
    inside = ", ".join(f'{label}="{value}"' for label, value in {**TARGET, **labels}.items())
    return {"series": f"{name}{{{inside}}}", "values": values}


FAILURES = f"{PREFIX}load_failures_total"
UNPROTECTED = ("simulated", "unattested", "unsealed", "plaintext")
HEALTHY = [
    series("up", f"1+0{STEADY}"),
    series(f"{PREFIX}ready", f"1+0{STEADY}"),
    series(REQUESTS, f"0+600{STEADY}", model_name="m", status="OK"),
    series(REQUESTS, f"0+60{STEADY}", model_name="m", status="INVALID_ARGUMENT"),
    series(REQUESTS, f"0+1{STEADY}", model_name="m", status="RESOURCE_EXHAUSTED"),
    series(REQUESTS, f"0+0{STEADY}", model_name="m", status="INTERNAL"),
    series(QUEUE, f"0+600{STEADY}", model_name="m", le="0.01"),
    series(QUEUE, f"0+600{STEADY}", model_name="m", le="+Inf"),
    series(FAILURES, f"3+0{STEADY}", model_name="m", code="config"),
    series(f"{PREFIX}available_version", f"7+0{STEADY}", model_name="m"),
    series(f"{PREFIX}available_version", f"7+0{STEADY}", model_name="m", instance="two:8501"),
    series(f"{PREFIX}certificate_expiry_timestamp_seconds", f"{90 * DAY}+0{STEADY}"),
    *(series(PREFIX + each, f"0+0{STEADY}") for each in UNPROTECTED),
    series(f"{PREFIX}plaintext", f"1+0{STEADY}", instance="lab:8501", environment="lab"),
]
JOB = {"job": TARGET["job"]}
FIRING = [
    ("ModelServerDown", [series("up", "1 0+0x9")], "5m", TARGET),
    ("ModelServerNotReady", [series(f"{PREFIX}ready", "1 0+0x9")], "8m", TARGET),
    (
        "ModelServerErrorBudgetBurns",
        [series(REQUESTS, f"0+60{STEADY}", model_name="m", status="INTERNAL")],
        "80m",
        JOB,
    ),
    (
        "ModelServerRefuses",
        [series(REQUESTS, "0+90x30", model_name="m", status="RESOURCE_EXHAUSTED")],
        "15m",
        TARGET,
    ),
    (
        "ModelServerWaitsForTheEngine",
        [
            series(QUEUE, "0+500x60", model_name="m", le="0.01"),
            series(QUEUE, "0+500x60", model_name="m", le="1"),
            series(QUEUE, "0+600x60", model_name="m", le="5"),
        ],
        "30m",
        {**JOB, "model_name": "m"},
    ),
    (
        "ModelServerCannotLoad",
        [series(FAILURES, "3 3 4 4 4", model_name="m", code="config")],
        "4m",
        {**TARGET, "model_name": "m", "code": "config"},
    ),
    (
        "ModelServerRefusesFile",
        [series(FAILURES, "_x12 1+0x5", model_name="m", code="integrity.path")],
        "16m",
        {**TARGET, "model_name": "m", "code": "integrity.path"},
    ),
    (
        "ModelServerVersionsDiffer",
        [series(f"{PREFIX}available_version", "8+0x60", model_name="m")],
        "30m",
        {**JOB, "model_name": "m"},
    ),
    (
        "ModelServerCertificateExpires",
        [series(f"{PREFIX}certificate_expiry_timestamp_seconds", f"{10 * DAY}+0x20")],
        "10m",
        TARGET,
    ),
    ("ModelServerUnprotected", [series(f"{PREFIX}unsealed", "1+0x9")], "5m", TARGET),
]


@pytest.mark.parametrize(
    "expressions",
    [
        pytest.param(SERVING_RULES.expressions(), id="rules"),
        pytest.param(BOARD_EXPRESSIONS, id="dashboard"),
    ],
)
def test_every_metric_that_is_named_is_one_that_the_server_has(expressions: list[str]) -> None:
    assert len(expressions) > 10
    assert set().union(*map(names_in, expressions)) <= MADE | OTHERS


def test_every_alert_is_explained_in_the_page_and_has_a_case() -> None:
    headings = {heading.lower() for heading in re.findall(r"^#+ (\w+)$", PAGE, re.MULTILINE)}
    runbooks = SERVING_RULES.runbooks
    assert runbooks == [name.lower() for name in SERVING_RULES.alerts]
    assert set(runbooks) <= headings
    assert [alert for alert, *_ in FIRING] == SERVING_RULES.alerts


@needs_promtool
def test_a_healthy_server_and_a_lab_raise_no_alert(tmp_path: Path) -> None:
    quiet = case(
        HEALTHY, *((alert, when, []) for alert in SERVING_RULES.alerts for when in ("30m", "80m"))
    )
    assert SERVING_RULES.failures(tmp_path, [quiet]) is None


@needs_promtool
def test_each_alert_fires_on_its_own_trouble(tmp_path: Path) -> None:
    cases = []
    for alert, changed, when, labels in FIRING:
        replaced = {each["series"] for each in changed}
        inputs = changed + [each for each in HEALTHY if each["series"] not in replaced]
        cases.append(case(inputs, (alert, when, [SERVING_RULES.expected(alert, labels)])))
    assert SERVING_RULES.failures(tmp_path, cases) is None


@needs_promtool
def test_prometheus_takes_the_rules_and_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    assert promtool("check", "rules", SERVING_RULES.write(tmp_path)) is None
    assert refused_expressions(tmp_path, BOARD_EXPRESSIONS) is None


def test_every_panel_says_what_it_shows_and_none_overlaps_another() -> None:
    for panel in PANELS:
        assert panel["description"].endswith("."), panel["title"]
        for target in panel["targets"]:
            assert 'job=~"$job", instance=~"$instance"' in target["expr"], panel["title"]
    assert overlapping(BOARD["panels"]) == []


def test_the_files_are_written_and_nothing_over_another(tmp_path: Path) -> None:
    asked = ["--out", str(tmp_path / "watching")]
    assert CliRunner().invoke(monitoring, asked).exit_code == 0
    assert {path.name for path in (tmp_path / "watching").iterdir()} == set(FILES)
    again = CliRunner().invoke(monitoring, asked)
    assert isinstance(again.exception, UsageError)
