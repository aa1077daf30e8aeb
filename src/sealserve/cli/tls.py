"""`sealserve tls`: the certificates and ssl.cfg of a service."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from sealserve.cli.output import json_option, note, print_json
from sealserve.cli.tls_check import check
from sealserve.deploy.certificates import KEY_TYPES, MAX_DAYS, KeyType, Validity
from sealserve.deploy.tls_folder import write_oneway, write_twoway

DEFAULT_OUT = Path("ssl_configure")


@click.group()
def tls() -> None:
    """Make the TLS certificates and ssl.cfg of a service.

    \b
    one-way  the client verifies the server; it needs server/cert.pem
    two-way  each verifies the other; the client needs ca_cert.pem and client/

    ssl.cfg goes, sealed, to the server: TensorFlow Serving and `sealserve serve` read it.

    \b
    Example:
      sealserve tls twoway grpc.tf-serving.service.com client.tf-serving.service.com
    """


tls.add_command(check)


def _options(command: Callable[..., None]) -> Callable[..., None]:
    options = (
        click.option(
            "--san",
            "extra_names",
            multiple=True,
            metavar="NAME",
            help="Another host name or IP address of the server; may be given again.",
        ),
        click.option(
            "--days",
            type=click.IntRange(1, MAX_DAYS),
            default=365,
            show_default=True,
            help="How long the certificates hold.",
        ),
        click.option("--key-type", type=click.Choice(KEY_TYPES), default="p256", show_default=True),
        click.option(
            "--out",
            type=click.Path(path_type=Path),
            default=DEFAULT_OUT,
            show_default=True,
            help="The folder to make; it must not exist.",
        ),
        json_option,
    )
    for option in reversed(options):
        command = option(command)
    return command


@tls.command()
@click.argument("domain")
@_options
def oneway(
    domain: str,
    extra_names: Sequence[str],
    days: int,
    key_type: KeyType,
    out: Path,
    as_json: bool,
) -> None:
    """For a server that accepts every client.

    DOMAIN is the host name that clients connect to. The certificate is self-signed: clients are
    given server/cert.pem and trust exactly that.

    \b
    Example:
      sealserve tls oneway grpc.tf-serving.service.com
    """
    files = write_oneway(out, [domain, *extra_names], _validity(days), key_type=key_type)
    _report(out, files, as_json=as_json, client=f"--ca {out}/server/cert.pem")


@tls.command()
@click.argument("domain")
@click.argument("client")
@_options
def twoway(
    domain: str,
    client: str,
    extra_names: Sequence[str],
    days: int,
    key_type: KeyType,
    out: Path,
    as_json: bool,
) -> None:
    """For a server that accepts only clients with a certificate of its own CA.

    DOMAIN is the host name that clients connect to, CLIENT the name in the client's certificate.
    ca_key.pem can admit any client: keep it away from the server and from the clients.

    \b
    Example:
      sealserve tls twoway grpc.tf-serving.service.com client.tf-serving.service.com
    """
    names = [domain, *extra_names]
    files = write_twoway(out, names, client, _validity(days), key_type=key_type)
    options = f"--ca {out}/ca_cert.pem --cert {out}/client/cert.pem --key {out}/client/key.pem"
    _report(out, files, as_json=as_json, client=options)


def _validity(days: int) -> Validity:
    return Validity(datetime.now(UTC).replace(microsecond=0), days)


def _report(out: Path, files: Sequence[Path], *, as_json: bool, client: str) -> None:
    if as_json:
        facts: dict[str, Any] = {"folder": str(out), "files": [str(file) for file in files]}
        print_json(facts)
        return
    for file in files:
        click.echo(file)
    note(f"seal {out}/ssl.cfg for the server; a client runs: sealserve predict {client} ...")
