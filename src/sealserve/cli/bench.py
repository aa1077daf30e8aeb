"""`sealserve bench`: a load of a given shape on a service, and what became of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import click

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
from sealserve.client.load import (
    Plan,
    Shot,
    Step,
    json_shot,
    make_shot,
    parse_limit,
    ramp,
    run_load,
)
from sealserve.client.load.plan import DEFAULT_IN_FLIGHT, MAX_CLIENTS, MAX_PROCESSES, MAX_RATE
from sealserve.client.load.requests import Protocol
from sealserve.client.service import find_service
from sealserve.errors import DeniedError, NetworkError, UsageError
from sealserve.files import PUBLIC, write_file

EXIT_INTERRUPTED = 130  # as the command line's own
DURATION = 10.0  # seconds
WARM_UP = 1.0  # seconds
CONCURRENCY = 8
CONNECTIONS = 8  # of an open loop over gRPC, where one connection carries many requests
CONNECTIONS_AT_MOST = 32  # of a closed loop over gRPC
HTTP_CONNECTIONS = 64  # of an open loop over HTTP/1.1, where one carries one request at a time
_LOADS = ("concurrency", "rate", "ramp_rate", "ramp_concurrency")


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
    plan = _plan(asked, _shot(asked, source, protocol), shape)
    asked.warn()
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


def _shot(asked: Asked, source: Source, protocol: Protocol) -> Shot:
    """The request; over TensorFlow Serving's gRPC it is sent once, for a failure that explains."""
    version, name = asked.model_version, asked.signature_name
    if protocol in ("grpc", "v2-grpc"):
        with asked.client() as client:
            inputs = source.inputs(lambda: asked.signature(client))
            if protocol == "grpc":
                client.predict(asked.model, inputs, signature=name, version=version)
    elif protocol == "rest" and source.json_file is not None:
        return json_shot(asked.model, _json_body(source), version=version)
    else:
        inputs = source.inputs(_no_signature)
    return make_shot(protocol, asked.model, inputs, signature=name, version=version)


def _no_signature() -> Any:
    raise UsageError(
        "this input needs the model's signature, which is asked for over gRPC",
        hint="give --npy or --random",
    )


def _json_body(source: Source) -> Any:
    try:
        return json.loads(source.json_text())
    except (ValueError, RecursionError) as error:
        raise UsageError("the request is no JSON") from error


def _plan(asked: Asked, shot: Shot, shape: dict[str, Any]) -> Plan:
    loop, steps = _steps(shape)
    most = max(step.load for step in steps)
    return Plan(
        find_service(asked.targets, **asked.tls()),
        shot,
        loop="open" if loop == "open" else "closed",
        steps=steps,
        requests=shape["requests"],
        connections=_connections(shape, shot, loop, most),
        processes=shape["processes"],
        poisson=shape["arrivals"] == "poisson",
        warm_up=shape["warm_up"],
        timeout=asked.timeout,
        max_in_flight=shape["max_in_flight"],
    )


def _steps(shape: dict[str, Any]) -> tuple[str, tuple[Step, ...]]:
    if sum(shape[name] is not None for name in _LOADS) > 1:
        raise UsageError("one of --concurrency, --rate, --ramp and --ramp-concurrency is the load")
    if shape["requests"] is not None and shape["duration"] is not None:
        raise UsageError("a run ends after --duration or after --requests, not both")
    seconds = shape["duration"] or DURATION
    if shape["ramp_rate"] is not None:
        return "open", ramp(*shape["ramp_rate"], seconds=seconds)
    if shape["ramp_concurrency"] is not None:
        return "closed", _whole(ramp(*shape["ramp_concurrency"], seconds=seconds))
    if shape["rate"] is not None:
        return "open", (Step(shape["rate"], seconds),)
    return "closed", (Step(shape["concurrency"] or CONCURRENCY, seconds),)


def _whole(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    return tuple(Step(round(step.load), step.seconds) for step in steps)


def _connections(shape: dict[str, Any], shot: Shot, loop: str, most: float) -> int:
    given: int | None = shape["connections"]
    if given is not None:
        return given
    http = shot.transport == "http"
    if loop == "open":
        return max(HTTP_CONNECTIONS if http else CONNECTIONS, int(shape["processes"]))
    return int(most) if http else min(int(most), CONNECTIONS_AT_MOST)
