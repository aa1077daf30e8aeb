"""`sealserve up`, `status`, `logs`, `down`, `compose`: a description on one machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import click

from sealserve.cli.compose_health import health
from sealserve.cli.interleaving import print_interleaved
from sealserve.cli.interruption import clean_end
from sealserve.cli.output import json_option, note, print_json
from sealserve.deploy.compose import running
from sealserve.deploy.compose.composefile import compose_document, compose_text
from sealserve.deploy.compose.hardware import Sgx
from sealserve.deploy.compose.plan import (
    Composition,
    KeyServiceFolder,
    Way,
    check,
    lines,
    serve_arguments,
)
from sealserve.deploy.compose.probe import has_certificate
from sealserve.deploy.compose.status import Status
from sealserve.deploy.description.reading import load_description
from sealserve.errors import NetworkError, UsageError
from sealserve.hosts import Address, is_loopback, parse_address

READY_SECONDS = 300.0
CONFIG = "keyservice.toml"

FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False, resolve_path=True)

description = click.argument(
    "description",
    metavar="DESCRIPTION",
    default="sealserve.toml",
    type=click.Path(path_type=Path, dir_okay=False, resolve_path=True),
)


def _choices(command: Callable[..., Any]) -> Callable[..., Any]:
    """What whoever runs a description chooses, and it does not say."""
    options = (
        click.option(
            "--lab",
            type=_FOLDER,
            metavar="DIR",
            help="Let the lab's world in DIR stand in for SGX: SIMULATED.",
        ),
        click.option(
            "--key-service",
            type=_FOLDER,
            metavar="DIR",
            help=f"Run the key service of DIR/{CONFIG}, too: for one machine where owner and "
            "operator are one.",
        ),
        click.option(
            "--listen",
            metavar="HOST:PORT",
            help="Where clients connect.  [default: 127.0.0.1, and the description's port]",
        ),
        click.option(
            "--enclave",
            type=_FOLDER,
            metavar="DIR",
            help="The folder of the signed manifest, if the image does not have it.",
        ),
        click.option(
            "--registry",
            metavar="PREFIX",
            help="What stands before the images' names, as registry.example.com/team. Without it "
            "images must be on this machine.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@description
@click.option(
    "--with",
    "way",
    type=click.Choice(running.WAYS),
    help="What runs it.  [default: podman or docker, where one works with a compose tool, else "
    "processes]",
)
@_choices
@click.option(
    "--wait",
    "seconds",
    type=click.FloatRange(min=1),
    default=READY_SECONDS,
    show_default=True,
    help="How many seconds all of it has to get ready.",
)
@json_option
def up(description: Path, way: Way | None, seconds: float, as_json: bool, **choices: Any) -> None:
    """Run what DESCRIPTION describes on this machine, and wait until it is ready.

    The servers, nginx before them where there are several, and with --key-service the key service.
    What runs already stays, what has changed or ended is started anew. Without SGX it refuses,
    unless a lab is named. If it fails or is interrupted, `sealserve down` removes what there is.

    \b
    Example:
      sealserve up sealserve.toml
      sealserve up sealserve.toml --lab lab --key-service owner --with processes
    """
    composition = _composition(description, **choices)
    state = running.state_of(description)
    way, reason = running.choose(way, state)
    note(f"with {way}: {reason}")
    with clean_end():
        running.bring_up(composition, way, state, tell=note, seconds=seconds)
    if as_json:
        print_json({"with": way, "services": [asdict(each) for each in running.statuses(state)]})
        return
    for name, value in lines(composition):
        click.echo(f"{name:<18}  {value}")


@click.command()
@description
@click.option("--ca", type=FILE, help="The CA of clients: verify servers, and ask their health.")
@click.option("--cert", "certificate", type=FILE, help="A client's certificate, PEM, for that.")
@click.option("--key", "private_key", type=FILE, help="Its private key, PEM, mode 0600.")
@json_option
def status(
    description: Path,
    ca: Path | None,
    certificate: Path | None,
    private_key: Path | None,
    as_json: bool,
) -> int:
    """Say of each service whether it runs and answers; servers are asked over TLS.

    With a client's CA each server is verified and asked whether it serves; without, whether it has
    its certificate, which only a server that was released the key has. The exit code is 0 if all
    are ready, and 3 if one is not, or nothing was brought up.

    \b
    Example:
      sealserve status sealserve.toml
      sealserve status sealserve.toml --ca ssl_configure/server/cert.pem --json
    """
    if ca is None and (certificate or private_key):
        raise UsageError("--cert and --key are shown to servers that are verified", hint="--ca")
    state = running.state_of(description)
    found = running.in_force(state)
    ask = has_certificate if ca is None else health(ca, certificate, private_key)
    services = running.statuses(state, ask)
    ready = bool(services) and all(each.ready for each in services)
    if as_json:
        facts: dict[str, object] = {"ready": ready, "services": [asdict(s) for s in services]}
        if found is not None:
            facts |= {"with": found.way, "project": found.project}
            facts |= {"description_sha256": found.digest, "simulated": found.simulated}
        print_json(facts)
    else:
        _print_table(services)
        if found is None:
            note("nothing of this description was brought up")
        elif description.exists() and load_description(description).digest != found.digest:
            note("the description has changed since: sealserve up puts it in force")
    return 0 if ready else NetworkError.exit_code


@click.command()
@description
@click.argument("service", required=False)
@click.option("--follow", is_flag=True, help="Go on with what is printed from now on.")
@click.option(
    "--lines",
    type=click.IntRange(min=0),
    default=100,
    show_default=True,
    help="How many lines of each, from the end.",
)
def logs(description: Path, service: str | None, follow: bool, lines: int) -> None:
    """Print the logs of all services, or of one.

    \b
    Example:
      sealserve logs sealserve.toml
      sealserve logs sealserve.toml server-1 --follow
    """
    commands = running.log_commands(
        running.state_of(description), service, lines=lines, follow=follow
    )
    print_interleaved(commands, named=service is None)


@click.command()
@description
def down(description: Path) -> None:
    """End all that `up` has started, what clients reach first, and remove what is kept of it.

    Sealed files and the folder of the key service stay as they are.

    \b
    Example:
      sealserve down sealserve.toml
    """
    if not running.bring_down(running.state_of(description), tell=note):
        note("nothing of this description was brought up")


@click.group()
def compose() -> None:
    """Show what `up` would run.

    \b
    Example:
      sealserve compose render sealserve.toml
    """


@compose.command()
@description
@_choices
def render(description: Path, **choices: Any) -> None:
    """Print the compose file that `up` gives to podman or docker; nothing is started.

    The same description, choices and paths give the same bytes. For hardware it names the devices
    of Linux' own driver, whether they are here or not.

    \b
    Example:
      sealserve compose render sealserve.toml > compose.yaml
    """
    composition = _composition(description, **choices)
    check(composition, "podman")
    sgx = None if composition.simulated else Sgx()
    state = running.state_of(description)
    document = compose_document(composition, sgx, state=state.path)
    click.echo(compose_text(composition, document), nl=False)


@compose.command()
@description
def arguments(description: Path) -> None:
    """Print the words that servers of ours are started with, for `sealserve lab measure`.

    They are those of the manifest, but for where to listen and where quotes come from, which no
    measurement of the lab has in it.

    \b
    Example:
      sealserve lab measure lab -- $(sealserve compose arguments sealserve.toml)
    """
    described = load_description(description)
    if described.server.kind != "sealserve":
        raise UsageError("the stock server runs in Gramine alone, and is measured by its SIGSTRUCT")
    listen = Address("127.0.0.1", described.server.port)
    words = serve_arguments(described, listen=listen, evidence_source="gramine")
    click.echo("\n".join(words))


def _composition(
    file: Path,
    *,
    lab: Path | None,
    key_service: Path | None,
    listen: str | None,
    enclave: Path | None,
    registry: str | None,
) -> Composition:
    described = load_description(file)
    address = Address("127.0.0.1", described.server.port)
    return Composition(
        described,
        file,
        parse_address(listen) if listen else address,
        lab,
        _key_service(key_service) if key_service else None,
        enclave,
        f"{registry.rstrip('/')}/" if registry else "",
    )


def _key_service(folder: Path) -> KeyServiceFolder:
    from sealserve.keyservice.config import load_config  # its packages are an extra

    config = load_config(folder / CONFIG)
    url = config.attestation.collateral_service or ""
    return KeyServiceFolder(folder, CONFIG, cast(Address, config.listen), _local(url))


def _local(url: str) -> Address | None:
    """Where collateral is fetched over HTTP from this very machine: the lab's own service."""
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname or not is_loopback(parts.hostname):
        return None
    return Address(parts.hostname, parts.port or 80)


def _print_table(services: tuple[Status, ...]) -> None:
    rows = [("service", "state", "ready", "address", "")]
    rows += [
        (
            each.service,
            each.state,
            "yes" if each.ready else "no",
            each.address or "-",
            "SIMULATED" if each.simulated else "",
        )
        for each in services
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows if services else ():
        cells = (f"{text:<{width}}" for text, width in zip(row, widths, strict=False))
        click.echo(f"{'  '.join(cells)}  {row[4]}".rstrip())
