"""`sealserve monitoring`: what to watch the model server with, as files."""

from __future__ import annotations

from pathlib import Path

import click

from sealserve.cli.output import json_option, print_json
from sealserve.deploy.serving import watching_files
from sealserve.deploy.writing import write_new


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="The folder to write them into; made if need be. Nothing is overwritten.",
)
@json_option
def monitoring(out: Path, as_json: bool) -> None:
    """Write Prometheus' alert rules and Grafana's dashboard for the model server.

    Those for the key service: `sealserve keyservice files`.

    \b
    Example:
      sealserve monitoring --out watching
    """
    written = write_new(out, watching_files())
    if as_json:
        print_json({"files": [str(path) for path in written]})
        return
    for path in written:
        click.echo(f"wrote {path}")
