"""`sealserve bench`: a load of a given shape on a service, and what became of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import click

from sealserve.cli.bench_plan import CONCURRENCY, DURATION, make_plan
from sealserve.cli.bench_plot import PLOTTED, write_plot
from sealserve.cli.bench_report import csv_text, facts, print_report, show_progress
from sealserve.cli.output import note, print_json
from sealserve.cli.predict_options import (
    FILE,
    Asked,
    as_json_option,
    asks_a_service,
    sends_an_input,
)
from sealserve.cli.predict_source import Source
from sealserve.client.load import parse_limit, run_load
from sealserve.client.load.plan import DEFAULT_IN_FLIGHT, MAX_CLIENTS, MAX_PROCESSES, MAX_RATE
from sealserve.client.load.requests import Protocol
from sealserve.errors import DeniedError, NetworkError, UsageError
from sealserve.files import PUBLIC, write_file

EXIT_INTERRUPTED = 130  # as the command line's own
WARM_UP = 1.0  # seconds


def _parse_ramp(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> tuple[float, float, int] | None:
    if value is None:
        return None
    try:
        first, last, steps = value.split(":")
        return float(first), float(last), int(steps)
    except ValueError as error:
        raise click.BadParameter(
            "expected FROM:TO:STEPS, such as 100:1000:10", ctx, param
        ) from error


def _parse_plots(
    ctx: click.Context, param: click.Parameter, paths: tuple[Path, ...]
) -> tuple[Path, ...]:
    for path in paths:
        if path.suffix.lower() not in PLOTTED:
            raise click.BadParameter(f"{path}: expected a name with .svg or .png", ctx, param)
    return paths


@click.command()
@asks_a_service
@click.option(
    "--protocol",
    type=click.Choice(get_args(Protocol)),
    default="grpc",
    show_default=True,
    help="TensorFlow Serving's gRPC or REST, or the Open Inference Protocol's.",
)
@sends_an_input
@click.option(
    "--concurrency",
    type=click.IntRange(1, MAX_CLIENTS),
    metavar="N",
    help=f"Closed loop: N clients that wait for answers; {CONCURRENCY} where no load is given.",
)
@click.option(
    "--rate",
    type=click.FloatRange(0, MAX_RATE, min_open=True),
    metavar="R",
    help="Open loop: R requests a second, whatever is answered.",
)
@click.option(
    "--ramp", "ramp_rate", callback=_parse_ramp, metavar="FROM:TO:STEPS", help="Of the rate."
)
@click.option(
    "--ramp-concurrency", callback=_parse_ramp, metavar="FROM:TO:STEPS", help="Of the clients."
)
@click.option(
    "--arrivals",
    type=click.Choice(["constant", "poisson"]),
    default="constant",
    show_default=True,
    help="Of an open loop.",
)
@click.option(
    "--duration",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help=f"Of the whole run; {DURATION:g} where nothing is said.",
)
@click.option("--requests", type=click.IntRange(min=1), metavar="N", help="End after N instead.")
@click.option(
    "--warm-up",
    type=click.FloatRange(min=0),
    default=WARM_UP,
    show_default=True,
    metavar="SECONDS",
    help="Before it, not counted.",
)
@click.option("--connections", type=click.IntRange(min=1), metavar="N", help="In all.")
@click.option(
    "--processes",
    type=click.IntRange(1, MAX_PROCESSES),
    default=1,
    show_default=True,
    metavar="N",
    help="Of this client: one fills one core.",
)
@click.option(
    "--max-in-flight",
    type=click.IntRange(min=1),
    default=DEFAULT_IN_FLIGHT,
    show_default=True,
    metavar="N",
    help="Of an open loop: what is due beyond them is sent late.",
)
@click.option(
    "--fail-above",
    "limits",
    multiple=True,
    metavar="LIMIT",
    help="p99=50ms, p99.9=1s, mean=2ms, max=1s, errors=1%: exit code 4 if exceeded. Repeatable.",
)
@click.option("--csv", "csv_file", type=FILE, help="Write the course over time here.")
@click.option(
    "--plot",
    "plots",
    type=FILE,
    multiple=True,
    callback=_parse_plots,
    metavar="FILE.svg|.png",
    help="Draw the latencies and the course here. Repeatable.",
)
@as_json_option
def bench(
    asked: Asked,
    source: Source,
    protocol: Protocol,
    csv_file: Path | None,
    plots: tuple[Path, ...],
    limits: tuple[str, ...],
    as_json: bool,
    **shape: Any,
) -> None:
    """Put a load on a service and say what it answers, how fast and how surely.

    A closed loop (--concurrency) asks how much a service can take; an open loop (--rate, --ramp)
    how it serves those who come when they please: each request's time counts from when it was due,
    so a stall is charged for all whom it kept waiting. Answers are not decoded.

    \b
    Example:
      sealserve bench --target 127.0.0.1:8500 --server-name grpc.tf-serving.service.com \\
        --model digits --random 1,8,8,1 --ca client/ca_cert.pem \\
        --cert client/client/cert.pem --key client/client/key.pem \\
        --rate 200 --arrivals poisson --duration 30 --fail-above p99=50ms --plot load.svg
    """
    allowed = [parse_limit(text) for text in limits]
    _require_folders(*plots, *([csv_file] if csv_file else []))
    asked.warn()
    plan = make_plan(asked, source, protocol, shape)
    with show_progress(plan) as on_row:
        report = run_load(plan, on_row)
    found = facts(asked, protocol, report, allowed)
    if csv_file is not None:
        write_file(csv_file, csv_text(report).encode(), mode=PUBLIC)
    for path in plots:
        write_plot(path, found["measured"], report)
    if as_json:
        print_json(found)
    else:
        print_report(found, report)
    if report.interrupted:
        note("interrupted: this is what was measured by then")
        click.get_current_context().exit(EXIT_INTERRUPTED)
    if any(limit.is_exceeded(report) for limit in allowed):
        click.get_current_context().exit(DeniedError.exit_code)
    if report.failed or report.unsent:
        click.get_current_context().exit(NetworkError.exit_code)


def _require_folders(*files: Path) -> None:
    """Find before a long run, not after it, that its results have no place."""
    for file in files:
        if not file.parent.is_dir():
            raise UsageError(f"cannot write {file}: there is no folder {file.parent}")
