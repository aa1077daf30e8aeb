"""`sealserve tls check`: an ssl.cfg beside the description of the service that it is for."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path

import click

from sealserve.cli.key import load_wrap_key
from sealserve.cli.output import json_option, print_json
from sealserve.cli.weaknesses import counted, print_weaknesses
from sealserve.deploy.description.model import Description
from sealserve.deploy.description.reading import load_description
from sealserve.deploy.tls_check import LIMIT, against, at_path, read_tls_file
from sealserve.deploy.weakness import Weakness
from sealserve.errors import ConfigError
from sealserve.files import read_file
from sealserve.sealing import MAGIC, open_sealed

_path = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("file", type=_path)
@click.option("--for", "description_file", type=_path, help="The description of the service.")
@click.option("-w", "--wrap-key", type=_path, help="The wrap key, if FILE is sealed.")
@json_option
@click.pass_context
def check(
    context: click.Context,
    file: Path,
    description_file: Path | None,
    wrap_key: Path | None,
    as_json: bool,
) -> None:
    """Check the ssl.cfg FILE, before it is sealed or with its wrap key after.

    Whether key, certificate and authority belong together and hold today; with --for, whether
    clients need a certificate as mode in [tls] says, the certificate has the domain's name, and a
    sealed file is sealed for the path that config names. Plaintext stays in memory.

    The exit code is 1 when there are errors.

    \b
    Example:
      sealserve tls check ssl_configure/ssl.cfg --for sealserve.toml
      sealserve tls check ssl.cfg -w wrap.key --for sealserve.toml
    """
    description = load_description(description_file) if description_file else None
    data, embedded = _content(file, wrap_key)
    read = read_tls_file(data, datetime.now(UTC))
    found = [*read.findings, *_beside(description, embedded)]
    if description is not None:
        found += against(read, description)
    number = counted(found)
    if as_json:
        print_json(
            {
                "mode": read.mode,
                "names": list(read.names),
                "until": read.until.isoformat() if read.until else None,
                "sealed_for": embedded,
                **number,
                "findings": [each.as_dict() for each in found],
            }
        )
    else:
        print_weaknesses(str(file), found)
        ends = f", until {read.until.date()}" if read.until else ""
        summary = ", ".join(f"{name} {count}" for name, count in number.items())
        click.echo(
            f"{file}: {read.mode}, for {', '.join(read.names) or 'no host'}{ends}; {summary}"
        )
    if number["errors"]:
        context.exit(ConfigError.exit_code)


def _beside(description: Description | None, embedded: str | None) -> list[Weakness]:
    if description is None or embedded is None:
        return []
    return list(at_path(embedded, description))


def _content(file: Path, wrap_key: Path | None) -> tuple[bytes, str | None]:
    """The plaintext, and the path that it is sealed for."""
    data = read_file(file, limit=LIMIT)
    if not data.startswith(MAGIC):
        return data, None
    if wrap_key is None:
        raise ConfigError(f"{file} is sealed", hint="name its key: -w WRAP_KEY")
    with open_sealed(io.BytesIO(data), load_wrap_key(wrap_key)) as sealed:
        return sealed.readall(), sealed.header.path
