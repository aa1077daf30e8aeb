"""`sealserve gramine lint`: what a manifest lets the host do."""

from __future__ import annotations

from pathlib import Path

import click

from sealserve.cli.output import json_option, print_json
from sealserve.cli.policy_files import read_text
from sealserve.cli.weaknesses import counted, print_weaknesses
from sealserve.deploy.gramine.lint import lint_manifest
from sealserve.deploy.gramine.manifest import MANIFEST_LIMIT
from sealserve.deploy.gramine.schema import LATEST, VERSIONS, parse_version
from sealserve.errors import ConfigError


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--gramine",
    "version",
    type=click.Choice(VERSIONS),
    default=LATEST,
    show_default=True,
    help="The version of Gramine that it is for.",
)
@click.option("--strict", is_flag=True, help="Take warnings for errors.")
@json_option
@click.pass_context
def lint(context: click.Context, file: Path, version: str, strict: bool, as_json: bool) -> None:
    """Say what the Gramine manifest, or template, FILE lets the host do.

    Insecure options, files that the host may change, secrets in plain sight, attestation that is
    off, and keys that this version of Gramine does not have or no longer has. Each finding has its
    line, what follows from it, and what to write instead. Templates are not filled in.

    The exit code is 1 when there are errors.

    \b
    Example:
      sealserve gramine lint server.manifest.template
      sealserve gramine lint server.manifest --gramine 1.7 --strict --json
    """
    found = lint_manifest(read_text(file, limit=4 * MANIFEST_LIMIT), parse_version(version))
    number = counted(found)
    if as_json:
        listed = [each.as_dict() for each in found]
        print_json({"gramine": version, **number, "findings": listed})
    else:
        print_weaknesses(str(file), found)
        summary = ", ".join(f"{name} {count}" for name, count in number.items())
        click.echo(f"{file}, for Gramine {version}: {summary}")
    if number["errors"] or (strict and number["warnings"]):
        context.exit(ConfigError.exit_code)
