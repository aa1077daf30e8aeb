"""What is told is what is shown, by one process or by several, and no stranger makes it grow."""

from __future__ import annotations

import os
import re
import threading
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from sealserve.board import KEPT, NAMES
from sealserve.keyservice import measures
from sealserve.keyservice.metrics import CONTENT_TYPE, Metrics

# Python 3.12 and later warn of forks beside threads, such as those of the tests' own runner.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

P = measures.PREFIX


def shown(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name.removeprefix(P), frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(metrics.show().decode())
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return shown(metrics).get((name, frozenset(labels.items())))


def in_a_fork(do) -> None:
    """Run `do` in a forked process, to its end."""
    pid = os.fork()
    if pid == 0:
        failed = 1
        try:
            do()
            failed = 0
        finally:
            os._exit(failed)
    assert os.waitpid(pid, 0)[1] == 0


def test_what_is_told_is_shown():
    metrics = Metrics()
    metrics.decision("released", "policy.allowed", 0.004)
    metrics.decision("denied", "policy.measurement", 0.004)
    metrics.handshake(0.02, ok=True)
    metrics.handshake(2.0, ok=False)
    metrics.session_opened()
    metrics.session_opened()
    metrics.session_ended("closed")
    metrics.refused("sessions")
    metrics.record_batch(5, 0.002)
    metrics.record_failed()
    metrics.rolled_back()
    metrics.log_head(41, 7)
    metrics.database(ok=True)
    metrics.ready(ok=False)
    metrics.simulated(yes=True)
    metrics.certificate("admin", datetime(2027, 1, 1, tzinfo=UTC))
    metrics.collateral(datetime(2026, 12, 1, tzinfo=UTC))
    expected = [
        ("decisions_total", {"outcome": "released", "code": "policy.allowed"}, 1),
        ("decisions_total", {"outcome": "denied", "code": "policy.measurement"}, 1),
        ("decision_duration_seconds_count", {"outcome": "released"}, 1),
        ("decision_duration_seconds_sum", {"outcome": "released"}, 0.004),
        ("decision_duration_seconds_bucket", {"outcome": "released", "le": "0.0025"}, 0),
        ("decision_duration_seconds_bucket", {"outcome": "released", "le": "0.005"}, 1),
        ("decision_duration_seconds_bucket", {"outcome": "released", "le": "+Inf"}, 1),
        ("decision_duration_seconds_count", {"outcome": "failed"}, 0),
        ("handshake_duration_seconds_count", {"result": "ok"}, 1),
        ("handshake_duration_seconds_count", {"result": "failed"}, 1),
        ("sessions_total", {}, 2),
        ("open_sessions", {}, 1),
        ("sessions_ended_total", {"how": "closed"}, 1),
        ("refusals_total", {"reason": "sessions"}, 1),
        ("log_batch_records_sum", {}, 5),
        ("log_batch_duration_seconds_count", {}, 1),
        ("log_failures_total", {}, 1),
        ("log_rollbacks_total", {}, 1),
        ("log_records", {}, 41),
        ("rules_revision", {}, 7),
        ("database_up", {}, 1),
        ("ready", {}, 0),
        ("simulated", {}, 1),
        ("certificate_expiry_timestamp_seconds", {"certificate": "admin"}, 1798761600),
        ("collateral_valid_until_timestamp_seconds", {}, 1796083200),
    ]
    found = shown(metrics)
    for name, labels, number in expected:
        assert found[name, frozenset(labels.items())] == number, name
    told = {name for name, _, _ in expected}
    assert {each.name for each in measures.ALL if not isinstance(each, measures.Histogram)} <= told


def test_an_observation_is_in_the_bucket_that_ends_with_it_and_beyond_the_last_in_the_rest():
    metrics = Metrics()
    for records in (1, 2, 3, 256, 257):
        metrics.record_batch(records, 0.001)
    counts = [value(metrics, "log_batch_records_bucket", le=le) for le in ("1.0", "2.0", "4.0")]
    assert counts == [1, 2, 3]
    assert value(metrics, "log_batch_records_bucket", le="256.0") == 4
    assert value(metrics, "log_batch_records_bucket", le="+Inf") == 5


def test_what_nobody_told_yet_is_not_shown_as_a_zero():
    found = {name for name, _ in shown(Metrics())}
    assert not found & {"log_records", "database_up", "ready", "simulated"}
    assert {"open_sessions", "sessions_total", "log_failures_total"} <= found


def test_forked_workers_are_shown_as_one_service():
    metrics = Metrics(workers=2)
    for number in range(2):

        def work(number=number):
            metrics.as_worker(number)
            metrics.session_opened()
            metrics.decision("released", "policy.allowed", 0.01)
            metrics.decision("denied", f"policy.of-{number}", 0.01)
            metrics.log_head(10 + number, 1)

        in_a_fork(work)
    metrics.refused("sessions")
    assert value(metrics, "decisions_total", outcome="released", code="policy.allowed") == 2
    assert value(metrics, "decisions_total", outcome="denied", code="policy.of-1") == 1
    assert value(metrics, "decision_duration_seconds_count", outcome="released") == 2
    assert value(metrics, "open_sessions") == 2
    assert value(metrics, "refusals_total", reason="sessions") == 1
    assert value(metrics, "log_records") == 11  # the last to tell


def test_a_worker_in_the_place_of_one_that_died_counts_on_with_no_open_sessions():
    metrics = Metrics(workers=1)
    for _ in range(2):

        def work():
            metrics.as_worker(0)
            metrics.session_opened()
            metrics.decision("released", "policy.allowed", 0.01)
            os.kill(os.getpid(), 9)

        pid = os.fork()
        if pid == 0:
            work()
        os.waitpid(pid, 0)
    assert value(metrics, "decisions_total", outcome="released", code="policy.allowed") == 2
    assert value(metrics, "sessions_total") == 2
    assert value(metrics, "open_sessions") == 1


def test_any_worker_can_show_the_whole():
    metrics = Metrics(workers=2)

    def work():
        metrics.as_worker(1)
        assert value(metrics, "refusals_total", reason="sessions") == 1

    metrics.refused("sessions")
    in_a_fork(work)


def test_threads_lose_no_count():
    metrics = Metrics()

    def work():
        for _ in range(2000):
            metrics.decision("released", "policy.allowed", 0.01)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert value(metrics, "decision_duration_seconds_count", outcome="released") == 8000
    assert value(metrics, "decisions_total", outcome="released", code="policy.allowed") == 8000


def test_each_process_has_metrics_of_its_own():
    metrics = Metrics(workers=1)
    assert value(metrics, "process_resident_memory_bytes", worker="main") > 0
    assert value(metrics, "process_resident_memory_bytes", worker="0") is None
    in_a_fork(lambda: metrics.as_worker(0))  # it is gone, and that is no error
    assert value(metrics, "process_resident_memory_bytes", worker="0") is None
    assert value(metrics, "process_resident_memory_bytes", worker="main") > 0


def test_two_services_in_one_process_do_not_mix():
    one, other = Metrics(), Metrics()
    one.session_opened()
    assert value(other, "sessions_total") == 0


def test_the_board_does_not_grow_whatever_codes_come():
    metrics = Metrics()
    for number in range(10 * NAMES):
        metrics.decision("denied", f"code-{number}", 0.01)
    metrics.refused("sessions")
    found = [key for key in shown(metrics) if key[0] == "decisions_total"]
    assert len(found) == NAMES - KEPT + 1
    rest = value(metrics, "decisions_total", outcome="other", code="other")
    assert rest == 10 * NAMES - (NAMES - KEPT)
    assert value(metrics, "refusals_total", reason="other") == 1


@given(st.text())
def test_a_label_is_a_code_of_ours_or_other(text):
    metrics = Metrics()
    metrics.refused(text)
    labels = [dict(labels) for name, labels in shown(metrics) if name == "refusals_total"]
    code = re.fullmatch(r"[A-Za-z][A-Za-z0-9._-]{0,47}", text)
    assert labels == [{"reason": text if code else "other"}]


def test_an_outcome_that_is_none_is_a_fault():
    with pytest.raises(ValueError):
        Metrics().decision("lost", "code", 0.01)


def test_prometheus_is_told_which_format_it_gets():
    assert CONTENT_TYPE.startswith("text/plain; version=")


def test_names_are_those_of_the_conventions():
    for each in measures.ALL:
        counts = isinstance(each, measures.Counter | measures.NamedCounter)
        assert each.name.endswith("_total") == counts, each.name
        assert each.meaning.endswith("."), each.name
        assert re.fullmatch(r"[a-z][a-z_]+", each.name)
        if isinstance(each, measures.Histogram):
            assert list(each.bounds) == sorted(set(each.bounds)), each.name
