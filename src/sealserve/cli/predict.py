"""`sealserve predict`: send a request, print the answer, measure the service."""

from __future__ import annotations

import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from sealserve.cli.output import note, print_json, print_table
from sealserve.cli.predict_options import (
    FILE,
    Asked,
    as_json_option,
    asks_a_service,
    sends_an_input,
)
from sealserve.cli.predict_source import Source
from sealserve.client import predict_request
from sealserve.client.answers import arrays, as_dict
from sealserve.client.service import DEFAULT_MAX_MESSAGE, find_service
from sealserve.errors import NetworkError, UsageError
from sealserve.files import PUBLIC, atomic_file
from sealserve.messages.predict_pb2 import PredictResponse
from sealserve.messages.services import PREDICT

if TYPE_CHECKING:
    from sealserve.client.load import Report, Row

PERCENTILES = (50, 90, 99, 100)
PROGRESS_SECONDS = 5.0


@click.command()
@asks_a_service
@sends_an_input
@click.option("--save", type=FILE, help="Write the outputs' arrays here, as .npz.")
@click.option("--repeat", type=click.IntRange(min=1), metavar="N", help="Measure N requests.")
@click.option(
    "--concurrency",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Connections that send at the same time, with --repeat.",
)
@as_json_option
def predict(
    asked: Asked,
    source: Source,
    save: Path | None,
    repeat: int | None,
    concurrency: int,
    as_json: bool,
) -> None:
    """Send a request over TLS and print the answer; with --repeat, measure the service.

    One-way TLS needs the service's CA, mutual TLS a certificate and its key too. The answer is
    printed in the form of the published guide, or as JSON with --as-json (here --json is an input).
    `sealserve bench` measures more: open loops, ramps, several processes, REST.

    \b
    Example:
      sealserve predict --target grpc.tf-serving.service.com:8500 --model resnet50-v15-fp32 \\
        --ca ssl_configure/ca_cert.pem --cert ssl_configure/client/cert.pem \\
        --key ssl_configure/client/key.pem --random 1,224,224,3
    """
    if repeat is None and concurrency > 1:
        raise UsageError("--concurrency measures, and needs --repeat")
    asked.warn()
    with asked.client() as client:
        inputs = source.inputs(lambda: asked.signature(client))
        request = predict_request(
            asked.model, inputs, signature=asked.signature_name, version=asked.model_version
        )
        response = client.predict_message(request)
    if save is not None:
        _save(save, response)
    answer = as_dict(response)
    if repeat is None:
        _print_answer(answer, as_json=as_json)
        return
    report = _measure(asked, request.SerializeToString(), repeat, concurrency)
    _print_report(answer, report, as_json=as_json)
    if report.interrupted:
        raise KeyboardInterrupt
    if report.failed:
        click.get_current_context().exit(NetworkError.exit_code)


def _save(path: Path, response: PredictResponse) -> None:
    """The outputs as numpy's .npz, which is a zip of .npy files (numpy.lib.format)."""
    outputs = arrays(response.SerializeToString(), limit_bytes=DEFAULT_MAX_MESSAGE)
    if any(array.dtype.hasobject for array in outputs.values()):
        raise UsageError("an output holds strings, which --save does not write")
    with atomic_file(path, mode=PUBLIC) as stream, zipfile.ZipFile(stream, "w") as members:
        for name, array in outputs.items():
            with members.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def _measure(asked: Asked, request: bytes, repeat: int, concurrency: int) -> Report:
    from sealserve.client.load import Plan, Shot, Step, run_load  # for measuring alone

    if concurrency > repeat:
        raise UsageError(f"{repeat} requests over {concurrency} connections: at least one each")
    plan = Plan(
        find_service(asked.targets, **asked.tls()),
        Shot("grpc", PREDICT.path, request),
        loop="closed",
        steps=(Step(concurrency, 0),),
        requests=repeat,
        connections=concurrency,
        timeout=asked.timeout,
    )
    done = 0
    last = time.monotonic()

    def progress(row: Row) -> None:
        nonlocal done, last
        done += row.answered + row.errors
        if time.monotonic() - last >= PROGRESS_SECONDS:
            last = time.monotonic()
            note(f"{done} of {repeat} requests")

    return run_load(plan, progress)


def _print_answer(answer: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
    else:
        click.echo(repr(answer))


def _print_report(answer: dict[str, Any], report: Report, *, as_json: bool) -> None:
    latencies = {_label(percent): report.latency(percent) for percent in PERCENTILES}
    if as_json:
        facts = {
            "requests": report.requests,
            "concurrency": report.plan.connections,
            "warm_up_requests": report.warm_up,
            "seconds": report.seconds,
            "requests_per_second": report.throughput,
            "latency_seconds": latencies,
            "errors": report.total.errors,
        }
        print_json({**answer, "load": facts})
        return
    click.echo(repr(answer))
    rows: list[tuple[str, object]] = [
        ("requests", f"{report.requests} over {report.plan.connections} connections"),
        ("before them, not counted", f"{report.warm_up} to warm up"),
        ("seconds", f"{report.seconds:.2f}"),
        ("answers per second", f"{report.throughput:.1f}"),
        *((f"latency {label}", _milliseconds(value)) for label, value in latencies.items()),
        ("errors", ", ".join(f"{n} {code}" for code, n in report.total.errors.items()) or "none"),
    ]
    print_table("Load", rows)


def _label(percent: int) -> str:
    return "max" if percent == 100 else f"p{percent}"


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1000 * seconds:.2f} ms"
