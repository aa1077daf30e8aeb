"""The alert rules: each fires on its own trouble, and none on a sound service or on a lab."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from alert_rules import case, names_in, promtool
from operating import BOARD_EXPRESSIONS, KEYSERVICE_RULES, OTHER_METRICS, names_made
from sealserve.keyservice import measures
from tools import needs_promtool

PAGE = (Path(__file__).parents[3] / "docs" / "watching.md").read_text()


def test_the_reader_of_expressions_reads_names_and_nothing_else():
    text = (
        'sum by (job, le) (rate(a_b{x=~"c|d", y="e"}[5m])) > 5 * avg_over_time(j:r[1d] offset 10m)'
    )
    assert names_in(text) == {"a_b", "j:r"}
    assert names_in('min(a{b="$c"}) - time() < 14 * 86400 and on (job) b') == {"a", "b"}


@pytest.mark.parametrize(
    "expressions",
    [
        pytest.param(KEYSERVICE_RULES.expressions(), id="rules"),
        pytest.param(BOARD_EXPRESSIONS, id="dashboard"),
    ],
)
def test_every_metric_that_is_named_is_one_that_the_service_has(expressions):
    assert len(expressions) > 20
    named = set().union(*map(names_in, expressions))
    assert named <= names_made() | OTHER_METRICS


def test_every_metric_that_the_service_has_is_looked_at():
    text = "\n".join([*KEYSERVICE_RULES.expressions(), *BOARD_EXPRESSIONS])
    for each in measures.ALL:
        assert measures.PREFIX + each.name in text, each.name


def test_every_metric_and_every_alert_is_explained_in_the_page():
    for each in measures.ALL:
        assert f"`{measures.PREFIX}{each.name}`" in PAGE, each.name
    headings = {heading.lower() for heading in re.findall(r"^#+ (\w+)$", PAGE, re.MULTILINE)}
    runbooks = KEYSERVICE_RULES.runbooks
    assert runbooks == [name.lower() for name in KEYSERVICE_RULES.alerts]
    assert set(runbooks) <= headings


TARGET = {"job": "sealserve-keyservice", "instance": "one:9433"}
P = measures.PREFIX


def series(name: str, values: str, **labels: str) -> dict[str, str]:
    inside = ", ".join(f'{label}="{value}"' for label, value in {**TARGET, **labels}.items())
    return {"series": f"{name}{{{inside}}}", "values": values}


DECIDED = f"{P}decision_duration_seconds_count"
BUCKET = f"{P}decision_duration_seconds_bucket"
DAY = 86400
HOURS = 7  # of steady values, a minute apart
STEADY = f"x{HOURS * 60}"

HEALTHY = [
    series("up", f"1+0{STEADY}"),
    series(f"{P}ready", f"1+0{STEADY}"),
    series("process_start_time_seconds", f"1000+0{STEADY}", worker="0"),
    series(f"{P}log_failures_total", f"0+0{STEADY}"),
    series(f"{P}log_rollbacks_total", f"0+0{STEADY}"),
    series(f"{P}database_up", f"1+0{STEADY}"),
    series(f"{P}log_records", f"100+60{STEADY}"),
    series(DECIDED, f"0+60{STEADY}", outcome="released"),
    series(DECIDED, f"0+10{STEADY}", outcome="denied"),
    series(DECIDED, f"0+0{STEADY}", outcome="failed"),
    series(BUCKET, f"0+60{STEADY}", le="0.025", outcome="released"),
    series(BUCKET, f"0+60{STEADY}", le="2.5", outcome="released"),
    series(BUCKET, f"0+60{STEADY}", le="+Inf", outcome="released"),
    series(f"{P}refusals_total", f"0+1{STEADY}", reason="sessions"),
    series(
        f"{P}certificate_expiry_timestamp_seconds", f"{90 * DAY}+0{STEADY}", certificate="admin"
    ),
    series(f"{P}collateral_valid_until_timestamp_seconds", f"{20 * DAY}+0{STEADY}"),
    series(f"{P}simulated", f"0+0{STEADY}"),
    series(f"{P}simulated", f"1+0{STEADY}", instance="lab:9433", environment="lab"),
]
# The alert, what to put in place of the healthy series, when, and the labels it then has.
FIRING = [
    ("KeyServiceDown", [series("up", "1 0+0x9")], "5m", TARGET),
    ("KeyServiceNotReady", [series(f"{P}ready", "1 0+0x9")], "5m", TARGET),
    (
        "KeyServiceRestarts",
        [series("process_start_time_seconds", "1 1 2 2 3 3 4 4 5 5", worker="0")],
        "9m",
        {**TARGET, "worker": "0"},
    ),
    ("KeyServiceCannotRecord", [series(f"{P}log_failures_total", "0 0 1 2 3 4 5")], "6m", TARGET),
    ("KeyServiceDatabaseDown", [series(f"{P}database_up", "1 0+0x9")], "5m", TARGET),
    ("KeyServiceLogRolledBack", [series(f"{P}log_rollbacks_total", "0 0 1 1")], "2m", TARGET),
    (
        "KeyServiceLogStuck",
        [series(f"{P}log_records", "100+0x60")],
        "30m",
        {"job": TARGET["job"]},
    ),
    (
        "KeyServiceErrorBudgetBurnsFast",
        [series(DECIDED, "0+2x90", outcome="failed")],
        "80m",
        {"job": TARGET["job"]},
    ),
    (
        "KeyServiceErrorBudgetBurns",
        [series(DECIDED, f"0+1{STEADY}", outcome="failed")],
        "400m",
        {"job": TARGET["job"]},
    ),
    (
        "KeyServiceDenialsSpike",
        [series(DECIDED, "0+1x60 120+60x20", outcome="denied")],
        "78m",
        {"job": TARGET["job"]},
    ),
    (
        "KeyServiceRefuses",
        [series(f"{P}refusals_total", "0+90x30", reason="sessions")],
        "15m",
        {**TARGET, "reason": "sessions"},
    ),
    (
        "KeyServiceSlow",
        [
            series(BUCKET, "0+50x60", le="2.5", outcome="released"),
            series(BUCKET, "0+50x60", le="0.025", outcome="released"),
            series(BUCKET, "0+60x60", le="5", outcome="released"),
        ],
        "30m",
        {"job": TARGET["job"]},
    ),
    (
        "KeyServiceCertificateExpires",
        [
            series(
                f"{P}certificate_expiry_timestamp_seconds", f"{10 * DAY}+0x9", certificate="admin"
            )
        ],
        "5m",
        {**TARGET, "certificate": "admin"},
    ),
    (
        "KeyServiceCertificateExpiresSoon",
        [series(f"{P}certificate_expiry_timestamp_seconds", f"{DAY}+0x9", certificate="admin")],
        "5m",
        {**TARGET, "certificate": "admin"},
    ),
    (
        "KeyServiceCollateralEnds",
        [series(f"{P}collateral_valid_until_timestamp_seconds", f"{3 * DAY}+0x9")],
        "5m",
        TARGET,
    ),
    (
        "KeyServiceCollateralEndsSoon",
        [series(f"{P}collateral_valid_until_timestamp_seconds", "3600+0x9")],
        "5m",
        TARGET,
    ),
    ("KeyServiceSimulated", [series(f"{P}simulated", "1+0x9")], "5m", TARGET),
    ("KeyServiceAbsent", [series("up", "_x9")], "8m", {"job": TARGET["job"]}),
]


def test_there_is_a_case_for_every_alert():
    assert sorted(alert for alert, *_ in FIRING) == sorted(KEYSERVICE_RULES.alerts)


@needs_promtool
def test_prometheus_takes_the_rules(tmp_path):
    assert promtool("check", "rules", KEYSERVICE_RULES.write(tmp_path)) is None


@needs_promtool
def test_a_healthy_service_and_a_lab_raise_no_alert(tmp_path):
    moments = [f"{minutes}m" for minutes in (0, 30, HOURS * 60)]
    quiet = case(
        HEALTHY, *((alert, when, []) for alert in KEYSERVICE_RULES.alerts for when in moments)
    )
    assert KEYSERVICE_RULES.failures(tmp_path, [quiet]) is None


@needs_promtool
def test_each_alert_fires_on_its_own_trouble(tmp_path):
    cases = []
    for alert, changed, when, labels in FIRING:
        replaced = {each["series"] for each in changed}
        inputs = changed + [each for each in HEALTHY if each["series"] not in replaced]
        cases.append(case(inputs, (alert, when, [KEYSERVICE_RULES.expected(alert, labels)])))
    assert KEYSERVICE_RULES.failures(tmp_path, cases) is None


@needs_promtool
def test_an_alert_that_did_not_fire_would_be_noticed(tmp_path):
    missed = case(
        HEALTHY, ("KeyServiceDown", "5m", [KEYSERVICE_RULES.expected("KeyServiceDown", TARGET)])
    )
    assert "KeyServiceDown" in KEYSERVICE_RULES.failures(tmp_path, [missed])
