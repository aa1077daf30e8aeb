"""Slices put together, and limits on what comes of them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from sealserve.client.load import Limit, Plan, Report, Shot, Step, parse_limit
from sealserve.client.load.report import Tally
from sealserve.client.load.slices import Recorder, Slice
from sealserve.client.load.worker import Ended
from sealserve.client.service import find_service
from sealserve.errors import UsageError

SECOND = 1_000_000_000


def plan(**options: Any) -> Plan:
    service = find_service("127.0.0.1:1", dangerously_plaintext=True)
    steps = {"steps": (Step(10, 4.0),), "loop": "open"}
    return Plan(service, Shot("grpc", "/a.B/C", b""), **(steps | options))


def slices(*ends: tuple[float, float, str | None]) -> list[Slice]:
    """The slices of requests: when each ended, how long it took, its error."""
    made: list[Slice] = []
    recorder = Recorder(0, SECOND, made.append)
    for end, took, error in ends:
        now = round(end * SECOND)
        recorder.ended(0, now - round(took * SECOND), now, error)
    recorder.finish()
    return made


def report(*processes: list[Slice], seconds: float = 4.0, **options: Any) -> Report:
    tally = Tally(plan(processes=len(processes), connections=len(processes), **options))
    for number, told in enumerate(processes):
        for one in told:
            tally.add(number, one)
        tally.end(Ended(warm_up=5, unsent=1, seconds=seconds))
    return tally.report()


def test_a_slice_is_told_once_its_time_is_over_and_none_is_left_out() -> None:
    told = slices((0.1, 0.1, None), (0.2, 0.1, None), (3.5, 0.1, None))
    assert [one.index for one in told] == [0, 1, 2, 3]
    counts = [sum(o.latencies.count for o in one.outcomes.values()) for one in told]
    assert counts == [2, 0, 0, 1]


def test_a_row_comes_when_every_process_has_told_it() -> None:
    tally = Tally(plan(processes=2, connections=2))
    first, second = slices((0.5, 0.1, None), (1.5, 0.1, None)), slices((0.6, 0.3, "x"))
    tally.add(0, first[0])
    tally.add(0, first[1])
    assert tally.rows == []
    tally.add(1, second[0])
    [row] = tally.rows
    assert (row.answered, row.errors, row.p50) == (1, 1, 0.1)


def test_answers_and_errors_are_counted_apart() -> None:
    found = report(slices((0.5, 0.1, None), (0.7, 0.2, "a")), slices((1.5, 0.3, "a")), seconds=2.0)
    assert (found.requests, found.answered, found.failed) == (3, 1, 2)
    assert found.total.errors == Counter(a=2)
    assert found.throughput == 0.5
    assert (found.warm_up, found.unsent) == (10, 2)
    assert found.latency(100) == 0.1


def test_the_last_row_is_as_long_as_the_run_was() -> None:
    found = report(slices((0.5, 0.1, None), (1.25, 0.1, None)), seconds=1.25)
    assert [row.seconds for row in found.rows] == [1.0, 0.25]
    assert found.rows[1].rate == 4.0


def test_a_run_without_an_answer_has_no_latencies() -> None:
    found = report(slices((0.5, 0.1, "serving.unavailable")))
    assert (found.throughput, found.latency(50)) == (0, None)
    assert found.rows[0].p99 is None


@pytest.mark.parametrize(
    ("text", "exceeded"),
    [
        ("p50=150ms", False),
        ("p50=50ms", True),
        ("p99.9=1s", False),
        ("max=399ms", True),
        ("max=400ms", False),
        ("mean=0.3s", False),
        ("mean=100us", True),
        ("errors=60%", False),
        ("errors=49.9%", True),
    ],
)
def test_a_limit_is_of_a_percentile_the_mean_the_maximum_or_of_errors(
    text: str, exceeded: bool
) -> None:
    # two answers, one error, one request that was never sent
    found = report(slices((0.5, 0.1, None), (0.7, 0.4, None), (0.8, 0.1, "a")))
    assert parse_limit(text).is_exceeded(found) is exceeded


def test_a_run_without_answers_keeps_no_limit_of_latency() -> None:
    found = report(slices((0.5, 0.1, "a")))
    assert parse_limit("p99=1s").is_exceeded(found)
    assert parse_limit("p99=1s") == Limit("p99=1s", 1.0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "p99",
        "p99=",
        "p99=5",
        "p0=1s",
        "p101=1s",
        "p99=-1s",
        "p99=1m",
        "errors=1",
        "q=1s",
        "p=1s",
    ],
)
def test_what_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_limit(text)
