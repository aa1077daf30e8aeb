"""The steps of a self-test: in their order, timed, and none that needs what failed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sealserve.errors import DeniedError, NetworkError
from sealserve.selftest.report import Outcome, Step
from sealserve.selftest.running import DoesNotApply, Task, run_tasks


def passing() -> str:
    return "all is well"


def raising(error: Exception) -> Callable[[], str]:
    def do() -> str:
        raise error

    return do


def run(*tasks: Task) -> list[Step]:
    heard: list[Step] = []
    steps = run_tasks(tasks, heard.append)
    assert heard == steps
    return steps


def test_what_a_step_found_is_kept_with_its_time() -> None:
    (step,) = run(Task("one", "it works", (), passing))
    assert (step.outcome, step.found, step.why) == (Outcome.PASSED, "all is well", "")
    assert step.seconds >= 0


def test_what_needs_a_failed_step_is_not_run_and_says_so() -> None:
    failing = Task("one", "", (), raising(NetworkError("nobody is there", hint="start it")))
    steps = run(
        failing,
        Task("two", "", ("one",), passing),
        Task("three", "", ("two",), passing),
        Task("four", "", (), passing),
    )
    outcomes = [each.outcome for each in steps]
    assert outcomes == [Outcome.FAILED, Outcome.NOT_RUN, Outcome.NOT_RUN, Outcome.PASSED]
    assert steps[0].why == "nobody is there [network]; start it"
    assert [each.why for each in steps[1:3]] == [
        "needs what did not pass: one",
        "needs what did not pass: two",
    ]
    assert all(each.applies for each in steps)


def test_what_does_not_apply_here_is_no_failure_of_its_own() -> None:
    (step,) = run(Task("one", "", (), raising(DoesNotApply("a VM has none"))))
    assert (step.outcome, step.why, step.applies) == (Outcome.NOT_RUN, "a VM has none", False)


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (DeniedError("no", code="policy.debug"), "no [policy.debug]"),
        (PermissionError(13, "Permission denied", "x"), "[Errno 13] Permission denied: 'x'"),
    ],
    ids=["ours", "the system's"],
)
def test_an_error_is_what_stands_against_a_step(error: Exception, why: str) -> None:
    (step,) = run(Task("one", "", (), raising(error)))
    assert (step.outcome, step.why) == (Outcome.FAILED, why)


def test_a_fault_of_our_own_is_not_taken_for_the_hardware_s() -> None:
    with pytest.raises(AssertionError):
        run(Task("one", "", (), raising(AssertionError("ours"))))
