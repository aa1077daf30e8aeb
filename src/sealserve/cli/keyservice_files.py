"""`sealserve keyservice files`: what to run and watch the key service with, as files."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import click

from sealserve.cli.output import json_option, note, print_json
from sealserve.deploy.keyservice import is_hidden, write_operating_files
from sealserve.errors import UsageError

CONFIG = Path("/etc/sealserve/keyservice.toml")


@click.command("files")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="The folder to write them into; made if need be. Nothing is overwritten.",
)
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=CONFIG,
    show_default=True,
    help="The configuration that the unit names.",
)
@click.option(
    "--command",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The sealserve that the unit names.  [default: this one]",
)
@json_option
def files(out: Path, config_file: Path, command: Path | None, as_json: bool) -> None:
    """Write systemd's unit, Prometheus' alert rules and Grafana's dashboard.

    \b
    Example:
      sealserve keyservice files --out watching
    """
    named = (command or _this_command()).absolute()
    written = write_operating_files(out, named, config_file.absolute())
    if as_json:
        print_json({"files": [str(path) for path in written]})
    else:
        for path in written:
            click.echo(f"wrote {path}")
    if is_hidden(named):
        note(f"{named} is below a home: the unit hides homes from the service (ProtectHome=)")


def _this_command() -> Path:
    """The `sealserve` beside this Python, or the first on the path."""
    beside = Path(sys.executable).parent / "sealserve"
    if beside.exists():
        return beside
    found = shutil.which("sealserve")
    if found is None:
        raise UsageError("no sealserve is on the path", hint="name it with --command")
    return Path(found)
