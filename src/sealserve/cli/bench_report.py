"""What `sealserve bench` says: one line as it goes, tables, JSON and CSV at the end."""

from __future__ import annotations

import csv
import io
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console

from sealserve.cli.output import note, print_table
from sealserve.cli.predict_options import Asked
from sealserve.client.load import Limit, Plan, Report, Row, StepReport
from sealserve.client.load.histogram import RELATIVE_ERROR, Histogram
from sealserve.client.load.report import in_seconds

PERCENTILES = (50.0, 75.0, 90.0, 95.0, 99.0, 99.9)
PLAIN_SECONDS = 5.0  # between two lines, where there is no terminal
_CSV = ("begin_seconds", "seconds", "answered", "answers_per_second", "errors")
_CSV_LATENCIES = ("p50_seconds", "p99_seconds", "max_seconds")


@contextmanager
def show_progress(plan: Plan) -> Iterator[Callable[[Row], None]]:
    """A function that is told each row, and shows the last one."""
    console = Console(stderr=True)
    if not sys.stderr.isatty():
        yield _plain_progress(plan)
        return
    with console.status("warming up") as status:
        yield lambda row: status.update(_line(plan, row))


def _plain_progress(plan: Plan) -> Callable[[Row], None]:
    last = time.monotonic()

    def tell(row: Row) -> None:
        nonlocal last
        if time.monotonic() - last >= PLAIN_SECONDS:
            last = time.monotonic()
            note(_line(plan, row))

    return tell


def _line(plan: Plan, row: Row) -> str:
    end = f"{plan.requests} requests" if plan.requests else f"{plan.seconds:g} s"
    return (
        f"{row.begin + row.seconds:.0f} s of {end}: {row.rate:.0f} answers/s,"
        f" p50 {milliseconds(row.p50)}, p99 {milliseconds(row.p99)}, {row.errors} errors"
    )


def facts(asked: Asked, protocol: str, report: Report, limits: Sequence[Limit]) -> dict[str, Any]:
    """All that was measured and how, as JSON has it; times in seconds."""
    open_loop = report.plan.loop == "open"
    return {
        "measured": _measured(asked, protocol, report),
        "seconds": report.seconds,
        "requests": report.requests,
        "answered": report.answered,
        "answers_per_second": report.throughput,
        "errors": dict(report.total.errors),
        "unsent": report.unsent,
        "interrupted": report.interrupted,
        "latency_seconds": _latencies(report.total.latencies),
        "latency_relative_error": RELATIVE_ERROR,
        "sent_late_seconds": _latencies(report.lateness) if open_loop else None,
        "limits": [
            {
                "limit": limit.text,
                "found": limit.found(report),
                "exceeded": limit.is_exceeded(report),
            }
            for limit in limits
        ],
        "steps": [_step(step) for step in report.steps] if len(report.steps) > 1 else [],
        "course": [dict(zip((*_CSV, *_CSV_LATENCIES), _row(r), strict=True)) for r in report.rows],
    }


def _measured(asked: Asked, protocol: str, report: Report) -> dict[str, Any]:
    plan = report.plan
    loads = sorted({plan.steps[0].load, plan.steps[-1].load})
    unit = "requests per second" if plan.loop == "open" else "clients"
    return {
        "targets": [str(target) for target in plan.service.targets],
        "tls": _tls(plan),
        "protocol": protocol,
        "model": asked.model,
        "request_bytes": len(plan.shot.body),
        "loop": plan.loop,
        "load": f"{' to '.join(f'{load:g}' for load in loads)} {unit}",
        "arrivals": ("poisson" if plan.poisson else "constant") if plan.loop == "open" else None,
        "connections": plan.connections,
        "processes": plan.processes,
        "warm_up_requests": report.warm_up,
        "timeout_seconds": plan.timeout,
    }


def _tls(plan: Plan) -> str:
    credentials = plan.service.credentials
    if credentials is None:
        return "none"
    return "one-way" if credentials.certificate is None else "mutual"


def _step(step: StepReport) -> dict[str, Any]:
    return {
        "load": step.load,
        "seconds": step.seconds,
        "answers_per_second": step.answers_per_second,
        "latency_seconds": _latencies(step.outcome.latencies),
        "errors": dict(step.outcome.errors),
    }


def _latencies(histogram: Histogram) -> dict[str, float | None]:
    percentiles = {f"p{percent:g}": histogram.percentile(percent) for percent in PERCENTILES}
    values = {"mean": histogram.mean, **percentiles, "max": histogram.percentile(100)}
    return {name: in_seconds(value) for name, value in values.items()}


def csv_text(report: Report) -> str:
    """The course over time, a row for each span; empty where nothing was answered."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*_CSV, *_CSV_LATENCIES))
    writer.writerows(map(_row, report.rows))
    return text.getvalue()


def _row(row: Row) -> tuple[float | int | None, ...]:
    counts = (round(row.begin, 6), round(row.seconds, 6), row.answered, row.rate, row.errors)
    return (*counts, row.p50, row.p99, row.greatest)


def print_report(found: dict[str, Any], report: Report) -> None:
    """The result as a person reads it."""
    measured = {name: value for name, value in found["measured"].items() if value is not None}
    print_table("Measured", [(name.replace("_", " "), value) for name, value in measured.items()])
    click.echo()
    rows: list[tuple[str, object]] = [
        ("requests", f"{report.requests} in {report.seconds:.2f} s"),
        ("answers per second", f"{report.throughput:.1f}"),
        *_rows("latency", found["latency_seconds"]),
        ("errors", _errors(found["errors"])),
    ]
    if found["sent_late_seconds"] is not None:
        late = {name: found["sent_late_seconds"][name] for name in ("p99", "max")}
        rows += [*_rows("sent late by", late), ("due and not sent", report.unsent)]
    rows += [_limit_row(limit) for limit in found["limits"]]
    print_table("Result", rows)
    if found["steps"]:
        click.echo()
        _print_steps(report.steps)


def _rows(what: str, latencies: dict[str, float | None]) -> list[tuple[str, object]]:
    return [(f"{what} {name}", milliseconds(value)) for name, value in latencies.items()]


def _limit_row(limit: dict[str, Any]) -> tuple[str, object]:
    return f"limit {limit['limit']}", "EXCEEDED" if limit["exceeded"] else "kept"


def _print_steps(steps: Sequence[StepReport]) -> None:
    click.secho("Steps", bold=True)
    click.echo(f"{'load':>10}{'answers/s':>12}{'p50':>14}{'p99':>14}{'max':>14}  errors")
    for step in steps:
        latencies = [in_seconds(step.outcome.latencies.percentile(p)) for p in (50, 99, 100)]
        cells = "".join(f"{milliseconds(value):>14}" for value in latencies)
        errors = _errors(dict(step.outcome.errors))
        click.echo(f"{step.load:>10g}{step.answers_per_second:>12.1f}{cells}  {errors}")


def _errors(errors: dict[str, int]) -> str:
    return ", ".join(f"{count} {code}" for code, count in sorted(errors.items())) or "none"


def milliseconds(seconds: float | None) -> str:
    """`1.25 ms`; a dash for nothing."""
    return "-" if seconds is None else f"{1000 * seconds:.2f} ms"
