"""The slices of all processes put together: a course over time, a result by step, and a total."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from sealserve.client.load.histogram import Histogram
from sealserve.client.load.plan import Plan
from sealserve.client.load.slices import Outcome, Slice
from sealserve.client.load.worker import Ended

_NANOSECONDS = 1e9


@dataclass(frozen=True)
class Row:
    """What ended in one span of time; latencies in seconds, None where nothing was answered."""

    begin: float  # seconds from the start
    seconds: float
    answered: int
    errors: int
    p50: float | None
    p99: float | None
    greatest: float | None

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.answered / self.seconds


@dataclass(frozen=True)
class StepReport:
    """A step: its load, the answers per second while it lasted, what became of its requests."""

    load: float
    seconds: float
    answers_per_second: float
    outcome: Outcome


@dataclass(frozen=True)
class Report:
    """A whole run."""

    plan: Plan
    seconds: float  # from the start to the last end
    warm_up: int
    unsent: int
    total: Outcome
    lateness: Histogram  # of sending, in an open loop
    interrupted: bool  # it ended before its time: what is here is what had been told by then
    rows: Sequence[Row] = field(repr=False)
    steps: Sequence[StepReport] = field(repr=False)

    @property
    def answered(self) -> int:
        """Requests that were answered."""
        return self.total.latencies.count

    @property
    def failed(self) -> int:
        """Requests that were sent and not answered."""
        return self.total.errors.total()

    @property
    def requests(self) -> int:
        """All requests that were counted and sent."""
        return self.answered + self.failed

    @property
    def throughput(self) -> float:
        """Answers per second."""
        return self.answered / self.seconds if self.seconds else 0.0

    def latency(self, percent: float) -> float | None:
        """A percentile of the latencies in seconds; None where nothing was answered."""
        return in_seconds(self.total.latencies.percentile(percent))


def in_seconds(nanoseconds: float | None) -> float | None:
    """The same in seconds."""
    return None if nanoseconds is None else nanoseconds / _NANOSECONDS


class Tally:
    """Takes slices, in the order of each process, and gives rows as soon as all have told."""

    def __init__(self, plan: Plan) -> None:
        self.rows: list[Row] = []
        self._plan = plan
        self._told = [0] * plan.processes  # slices of each process
        self._open: dict[int, list[Slice]] = {}
        self._steps = [Outcome() for _ in plan.steps]
        self._lateness = Histogram()
        self._ended: list[Ended] = []

    def add(self, process: int, told: Slice) -> None:
        """Take in a slice."""
        self._open.setdefault(told.index, []).append(told)
        self._told[process] = told.index + 1
        while len(self.rows) < min(self._told):
            self._close_row()

    def end(self, ended: Ended) -> None:
        """Take in a process's last word."""
        self._ended.append(ended)

    def report(self) -> Report:
        """All of it, once every process has ended; else the rows that all have told."""
        interrupted = len(self._ended) < self._plan.processes
        if interrupted:
            seconds = len(self.rows) * self._plan.interval
        else:
            seconds = max(ended.seconds for ended in self._ended)
            while self._open:
                self._close_row()
            self._shorten_the_last(seconds)
        total = Outcome()
        for outcome in self._steps:
            total.add(outcome)
        return Report(
            plan=self._plan,
            seconds=seconds,
            warm_up=sum(ended.warm_up for ended in self._ended),
            unsent=sum(ended.unsent for ended in self._ended),
            total=total,
            lateness=self._lateness,
            interrupted=interrupted,
            rows=tuple(self.rows),
            steps=tuple(self._step_reports(seconds)),
        )

    def _close_row(self) -> None:
        index = len(self.rows)
        row = Outcome()
        for told in self._open.pop(index, ()):
            self._lateness.add(told.lateness)
            for step, outcome in told.outcomes.items():
                row.add(outcome)
                self._steps[step].add(outcome)
        latencies = row.latencies
        width = self._plan.interval
        self.rows.append(
            Row(
                begin=index * width,
                seconds=width,
                answered=latencies.count,
                errors=row.errors.total(),
                p50=in_seconds(latencies.percentile(50)),
                p99=in_seconds(latencies.percentile(99)),
                greatest=in_seconds(latencies.percentile(100)),
            )
        )

    def _shorten_the_last(self, seconds: float) -> None:
        """The run ends within a row: nothing is made of the time after it."""
        while self.rows and self.rows[-1].begin >= seconds > 0 and not self.rows[-1].answered:
            self.rows.pop()
        if self.rows and seconds > self.rows[-1].begin:
            last = self.rows[-1]
            self.rows[-1] = replace(last, seconds=min(last.seconds, seconds - last.begin))

    def _step_reports(self, seconds: float) -> Iterator[StepReport]:
        width = self._plan.rows_of_a_step
        for index, (step, outcome) in enumerate(zip(self._plan.steps, self._steps, strict=True)):
            rows = self.rows if width is None else self.rows[index * width : (index + 1) * width]
            lasted = seconds if width is None else step.seconds
            answered = sum(row.answered for row in rows)
            yield StepReport(step.load, lasted, answered / lasted if lasted else 0.0, outcome)
