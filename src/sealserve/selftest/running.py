"""Steps in their order: each is timed, and one that needs what failed is not run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sealserve.errors import SealServeError
from sealserve.selftest.report import Outcome, Step


class DoesNotApply(Exception):
    """There is no such claim here; the message says why."""


@dataclass(frozen=True, slots=True)
class Task:
    """A step that is to be run: `do` says what it found, or raises what stands against it."""

    name: str
    claim: str
    needs: tuple[str, ...]
    do: Callable[[], str]


def run_tasks(tasks: Sequence[Task], tell: Callable[[Step], None]) -> list[Step]:
    """All of them; `tell` hears of each as it ends."""
    steps: list[Step] = []
    for task in tasks:
        failed = [
            each.name
            for each in steps
            if each.name in task.needs and each.outcome is not Outcome.PASSED
        ]
        step = _not_run(task, failed) if failed else _run(task)
        steps.append(step)
        tell(step)
    return steps


def _not_run(task: Task, failed: list[str]) -> Step:
    why = f"needs what did not pass: {', '.join(failed)}"
    return Step(task.name, task.claim, Outcome.NOT_RUN, 0.0, why=why)


def _run(task: Task) -> Step:
    started = time.monotonic()

    def step(outcome: Outcome, *, found: str = "", why: str = "", applies: bool = True) -> Step:
        seconds = round(time.monotonic() - started, 3)
        return Step(task.name, task.claim, outcome, seconds, found, why, applies)

    try:
        return step(Outcome.PASSED, found=task.do())
    except DoesNotApply as reason:
        return step(Outcome.NOT_RUN, why=str(reason), applies=False)
    except SealServeError as error:
        hint = f"; {error.hint}" if error.hint else ""
        return step(Outcome.FAILED, why=f"{error.message} [{error.code}]{hint}")
    except OSError as error:
        return step(Outcome.FAILED, why=str(error))
