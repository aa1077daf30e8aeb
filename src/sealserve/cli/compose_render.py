"""`sealserve compose`: what `up` would run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sealserve.cli.compose_options import choices, composition_of, description
from sealserve.deploy.compose import running
from sealserve.deploy.compose.composefile import compose_document, compose_text
from sealserve.deploy.compose.hardware import Sgx
from sealserve.deploy.compose.plan import check, serve_arguments
from sealserve.deploy.description.reading import load_description
from sealserve.errors import UsageError
from sealserve.hosts import Address


@click.group()
def compose() -> None:
    """Show what `up` would run.

    \b
    Example:
      sealserve compose render sealserve.toml
    """


@compose.command()
@description
@choices
def render(description: Path, **chosen: Any) -> None:
    """Print the compose file that `up` gives to podman or docker; nothing is started.

    The same description, choices and paths give the same bytes. For hardware it names the devices
    of Linux' own driver, whether they are here or not.

    \b
    Example:
      sealserve compose render sealserve.toml > compose.yaml
    """
    composition = composition_of(description, **chosen)
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
