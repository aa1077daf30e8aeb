"""`sealserve k8s status`: how a service in a cluster stands, pod by pod."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import click

from sealserve.cli.k8s_options import service_options
from sealserve.cli.k8s_predict import Credentials
from sealserve.cli.output import json_option, note, print_json
from sealserve.deploy.kubernetes.live.service import Service
from sealserve.deploy.kubernetes.live.status.rows import Autoscaler, ModelState, PodStatus, Status
from sealserve.deploy.kubernetes.live.status.standing import status as ask_status
from sealserve.errors import NetworkError, UsageError
from sealserve.hosts import Address

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_HEADINGS = ("pod", "phase", "ready", "restarts", "age", "node", "image")
_SERVER_HEADINGS = ("server", "key", "tcb status", "models", "mr_enclave")


@click.command()
@service_options
@click.option("--ca", type=_FILE, help="The CA of the service's certificate: ask for its models.")
@click.option("--cert", "certificate", type=_FILE, help="A client's certificate, PEM, for that.")
@click.option("--key", "private_key", type=_FILE, help="Its private key, PEM, mode 0600.")
@json_option
def status(
    service: Service,
    ca: Path | None,
    certificate: Path | None,
    private_key: Path | None,
    as_json: bool,
) -> int:
    """Say how the service of the description FILE stands in its cluster, pod by pod.

    Of servers also whether they were released the key, what they measure and the platform's TCB
    status, from their logs and the audit log of a key service inside; what nobody tells is
    unknown. With the CA each server is verified and asked for the states of its models. The exit
    code is 0 if all pods that are wanted are ready, and 3 if not.

    \b
    Example:
      sealserve k8s status sealserve.toml
      sealserve k8s status sealserve.toml --ca ssl_configure/server/cert.pem --json
    """
    if ca is None and (certificate or private_key):
        raise UsageError("--cert and --key are shown to servers that are verified", hint="--ca")
    ask = None if ca is None else _models(service, Credentials(ca, certificate, private_key, None))
    found = ask_status(service, ask)
    if as_json:
        print_json(found.as_dict())
    else:
        print_status(found)
    return 0 if found.ready else NetworkError.exit_code


def _models(
    service: Service, credentials: Credentials
) -> Callable[[Address, str], Sequence[ModelState]]:
    """Ask a server for the versions of a model, by GetModelStatus over verified TLS."""

    def ask(address: Address, model: str) -> Sequence[ModelState]:
        with credentials.client(service, address) as client:
            return [ModelState(model, each.version, each.state) for each in client.status(model)]

    return ask


def print_status(found: Status) -> None:
    """The status as a person reads it."""
    marks = ", SIMULATED" if found.simulated else ""
    click.echo(f"service     {found.name}, namespace {found.namespace}{marks}")
    for each in found.replicas:
        older = f", {each.older} to be replaced" if each.older else ""
        click.echo(f"{each.component:<10}  {each.ready} of {each.wanted} ready{older}")
    if found.autoscaler:
        click.echo(f"autoscaler  {_autoscaler(found.autoscaler)}")
    click.echo(f"edge        {', '.join(found.edge) or 'none'}")
    _table(_HEADINGS, [_row(each) for each in found.pods])
    _table(_SERVER_HEADINGS, [_server_row(each) for each in found.pods if each.attested])
    if not found.replicas:
        note("nothing of this description is applied: sealserve k8s apply")
    elif not found.as_described:
        note("the description has changed since it was applied: sealserve k8s apply")
    if not found.ready:
        note("not all of it is ready; why: sealserve k8s diagnose")


def _autoscaler(found: Autoscaler) -> str:
    current = "unknown" if found.current is None else f"{found.current} %"
    return (
        f"{found.replicas} of {found.minimum} to {found.maximum} replicas, {found.wanted} wanted; "
        f"CPU {current} of {found.target} %"
    )


def _row(pod: PodStatus) -> tuple[str, ...]:
    return (
        pod.pod,
        pod.phase,
        "yes" if pod.ready else "no",
        str(pod.restarts),
        _age(pod.age_seconds),
        pod.node or "-",
        pod.image_tag,
    )


def _server_row(pod: PodStatus) -> tuple[str, ...]:
    assert pod.attested is not None
    models = [_model(each) for each in pod.models or ()]
    return (
        pod.pod,
        f"{pod.attested.state} {pod.attested.code}".rstrip(),
        pod.attested.tcb_status,
        ", ".join(models) or "not asked",
        pod.attested.measurement,
    )


def _model(state: ModelState) -> str:
    version = f"/{state.version}" if state.version else ""
    return f"{state.model}{version} {state.state}"


def _age(seconds: int) -> str:
    """As kubectl shows it, in one unit."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _table(headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    if not rows:
        return
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    click.echo()
    for row in (headings, *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())
