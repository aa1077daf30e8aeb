"""`sealserve up`, `status`, `logs`, `down`: a description on one machine."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from sealserve.cli.compose_health import health
from sealserve.cli.compose_options import choices, composition_of, description
from sealserve.cli.interleaving import print_interleaved
from sealserve.cli.interruption import clean_end
from sealserve.cli.output import json_option, note, print_json
from sealserve.deploy.compose import running
from sealserve.deploy.compose.plan import Way, lines
from sealserve.deploy.compose.probe import has_certificate
from sealserve.deploy.compose.status import Status
from sealserve.deploy.description.reading import load_description
from sealserve.errors import NetworkError, UsageError

READY_SECONDS = 300.0
FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command()
@description
@click.option(
    "--with",
    "way",
    type=click.Choice(running.WAYS),
    help="What runs it.  [default: podman or docker, where one works with a compose tool, else "
    "processes]",
)
@choices
@click.option(
    "--wait",
    "seconds",
    type=click.FloatRange(min=1),
    default=READY_SECONDS,
    show_default=True,
    help="How many seconds all of it has to get ready.",
)
@json_option
def up(description: Path, way: Way | None, seconds: float, as_json: bool, **chosen: Any) -> None:
    """Run what DESCRIPTION describes on this machine, and wait until it is ready.

    The servers, nginx before them where there are several, and with --key-service the key service.
    What runs already stays, what has changed or ended is started anew. Without SGX it refuses,
    unless a lab is named. If it fails or is interrupted, `sealserve down` removes what there is.

    \b
    Example:
      sealserve up sealserve.toml
      sealserve up sealserve.toml --lab lab --key-service owner --with processes
    """
    composition = composition_of(description, **chosen)
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
