"""`sealserve predict`: send a request, print the answer, measure the service."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click

from sealserve.cli.output import note, print_json, print_table, remember_json
from sealserve.cli.predict_source import Source, parse_height_and_width, parse_sizes
from sealserve.client import Client, Signature, predict_request
from sealserve.client.answers import as_dict
from sealserve.client.load import LoadReport, run_load
from sealserve.errors import NetworkError, UsageError
from sealserve.messages.predict_pb2 import PredictRequest

DTYPES = ("float32", "float64", "float16", "int8", "int16", "int32", "int64", "uint8")
PERCENTILES = (50, 90, 99, 100)
PROGRESS_SECONDS = 5.0
FULL_LIGHT = 255.0

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.option(
    "--target",
    "targets",
    required=True,
    metavar="HOST:PORT[,...]",
    help="Where the service listens; requests go in turn over several.",
)
@click.option("--model", required=True, metavar="NAME")
@click.option("--ca", type=_FILE, help="The CA to trust, PEM; without it, the public roots.")
@click.option("--cert", "certificate", type=_FILE, help="The client's certificate, PEM.")
@click.option("--key", "private_key", type=_FILE, help="Its private key, PEM, mode 0600.")
@click.option(
    "--server-name", metavar="NAME", help="The certificate's name, where the target has another."
)
@click.option("--dangerously-plaintext", is_flag=True, help="No TLS: everyone on the way reads it.")
@click.option("--signature", "signature_name", default="serving_default", show_default=True)
@click.option("--model-version", type=click.IntRange(min=0), metavar="N")
@click.option("--input-name", default="input", show_default=True)
@click.option("--npy", type=_FILE, help="Send the array in this file.")
@click.option("--image", type=_FILE, help="Send this image, scaled to the model's input.")
@click.option("--json", "json_file", metavar="FILE|-", help="Send this REST request body.")
@click.option(
    "--random",
    callback=parse_sizes,
    metavar="SHAPE",
    help="Send random values, such as 1,224,224,3.",
)
@click.option("--size", callback=parse_height_and_width, metavar="N|HxW", help="Of the image sent.")
@click.option(
    "--full-light",
    type=float,
    default=FULL_LIGHT,
    show_default=True,
    help="The value of a white pixel; 1 for models that take values from 0 to 1.",
)
@click.option(
    "--dtype", type=click.Choice(DTYPES), default="float32", show_default=True, help="Of --random."
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    show_default=True,
    help="Seconds for each request.",
)
@click.option("--repeat", type=click.IntRange(min=1), metavar="N", help="Measure N requests.")
@click.option(
    "--concurrency",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Connections that send at the same time, with --repeat.",
)
@click.option(
    "--as-json",
    is_flag=True,
    is_eager=True,
    callback=remember_json,
    help="Print one JSON object.",
)
def predict(
    targets: str,
    model: str,
    ca: Path | None,
    certificate: Path | None,
    private_key: Path | None,
    server_name: str | None,
    dangerously_plaintext: bool,
    signature_name: str,
    model_version: int | None,
    input_name: str,
    npy: Path | None,
    image: Path | None,
    json_file: str | None,
    random: tuple[int, ...] | None,
    size: tuple[int, int] | None,
    full_light: float,
    dtype: str,
    timeout: float,
    repeat: int | None,
    concurrency: int,
    as_json: bool,
) -> None:
    """Send a request over TLS and print the answer; with --repeat, measure the service.

    One-way TLS needs the service's CA, mutual TLS a certificate and its key too. The answer is
    printed in the form of the published guide, or as JSON with --as-json (here --json is an input).

    \b
    Example:
      sealserve predict --target grpc.tf-serving.service.com:8500 --model resnet50-v15-fp32 \\
        --ca ssl_configure/ca_cert.pem --cert ssl_configure/client/cert.pem \\
        --key ssl_configure/client/key.pem --random 1,224,224,3
    """
    if repeat is None and concurrency > 1:
        raise UsageError("--concurrency measures, and needs --repeat")
    source = Source(npy, image, json_file, random, size, full_light, dtype)
    make_client = partial(
        Client,
        targets,
        ca=ca,
        certificate=certificate,
        private_key=private_key,
        server_name=server_name,
        timeout=timeout,
        dangerously_plaintext=dangerously_plaintext,
    )
    if dangerously_plaintext:
        note("DANGEROUS: no TLS; everyone between here and the server can read and change this")
    with make_client() as client:

        def signature() -> Signature:
            return _signature(client, model, model_version, signature_name)

        inputs = source.inputs(input_name, signature)
        request = predict_request(model, inputs, signature=signature_name, version=model_version)
        answer = as_dict(client.predict_message(request))
    if repeat is None:
        _print_answer(answer, as_json=as_json)
        return
    report = _measure(make_client, request, repeat, concurrency)
    _print_report(answer, report, as_json=as_json)
    if report.errors:
        click.get_current_context().exit(NetworkError.exit_code)


def _signature(client: Client, model: str, version: int | None, name: str) -> Signature:
    found = client.metadata(model, version=version)
    if name not in found:
        raise UsageError(f"the model has no signature {name!r}; it has {sorted(found)}")
    return found[name]


def _measure(
    make_client: Callable[[], Client], request: PredictRequest, repeat: int, concurrency: int
) -> LoadReport:
    last = time.monotonic()

    def progress(done: int) -> None:
        nonlocal last
        if time.monotonic() - last >= PROGRESS_SECONDS:
            last = time.monotonic()
            note(f"{done} of {repeat} requests")

    return run_load(
        make_client,
        request.SerializeToString(),
        repeat=repeat,
        concurrency=concurrency,
        on_progress=progress,
    )


def _print_answer(answer: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
    else:
        click.echo(repr(answer))


def _print_report(answer: dict[str, Any], report: LoadReport, *, as_json: bool) -> None:
    latencies = {_label(percent): report.percentile(percent) for percent in PERCENTILES}
    if as_json:
        facts = {
            "requests": report.requests,
            "concurrency": report.concurrency,
            "warm_up_requests": report.warm_up,
            "seconds": report.seconds,
            "requests_per_second": report.throughput,
            "latency_seconds": latencies,
            "errors": report.errors,
        }
        print_json({**answer, "load": facts})
        return
    click.echo(repr(answer))
    rows: list[tuple[str, object]] = [
        ("requests", f"{report.requests} over {report.concurrency} connections"),
        ("before them, not counted", f"{report.warm_up} to warm up"),
        ("seconds", f"{report.seconds:.2f}"),
        ("answers per second", f"{report.throughput:.1f}"),
        *((f"latency {label}", _milliseconds(value)) for label, value in latencies.items()),
        ("errors", ", ".join(f"{n} {code}" for code, n in report.errors.items()) or "none"),
    ]
    print_table("Load", rows)


def _label(percent: int) -> str:
    return "max" if percent == 100 else f"p{percent}"


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1000 * seconds:.2f} ms"
