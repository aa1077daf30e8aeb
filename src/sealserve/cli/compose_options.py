"""What whoever runs a description chooses, and it does not say: options, and what they make."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import click

from sealserve.deploy.compose.plan import Composition, KeyServiceFolder
from sealserve.deploy.description.reading import load_description
from sealserve.hosts import Address, is_loopback, parse_address

CONFIG = "keyservice.toml"

_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False, resolve_path=True)

description = click.argument(
    "description",
    metavar="DESCRIPTION",
    default="sealserve.toml",
    type=click.Path(path_type=Path, dir_okay=False, resolve_path=True),
)


def choices(command: Callable[..., Any]) -> Callable[..., Any]:
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


def composition_of(
    file: Path,
    *,
    lab: Path | None,
    key_service: Path | None,
    listen: str | None,
    enclave: Path | None,
    registry: str | None,
) -> Composition:
    """The composition of the description in `file`, by the options of `choices`."""
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
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname or not is_loopback(parts.hostname):
        return None
    return Address(parts.hostname, parts.port or 80)
