"""`sealserve gramine render`: a manifest template from a description."""

from __future__ import annotations

from pathlib import Path

import click

from sealserve.cli.output import json_option, note, print_json
from sealserve.deploy.description.reading import load_description
from sealserve.deploy.gramine.render import render as render_manifest
from sealserve.deploy.gramine.servers import seal_format
from sealserve.deploy.gramine.testing import (
    KEY_FILE,
    TESTING_KEY,
    overrides,
    render_for_testing,
)
from sealserve.deploy.writing import write_new
from sealserve.files import PRIVATE, write_file


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder to write into; nothing there is overwritten.",
)
@click.option(
    "--dangerously-for-testing",
    "testing",
    is_flag=True,
    help="For gramine-direct, which has no SGX: everybody knows the key.",
)
@json_option
def render(file: Path, out: Path, testing: bool, as_json: bool) -> None:
    """Render a manifest template, and what goes with it, from the description FILE.

    The same description gives the same bytes. Threads and enclave size are reckoned, with the
    reasoning, and were measured on no SGX hardware.

    With --dangerously-for-testing the template is for gramine-direct, under a name of its own: what
    is weakened, and why, is printed and stands in the file. The linter finds each.

    \b
    Example:
      sealserve gramine render sealserve.toml --out enclave
    """
    description = load_description(file)
    rendered = render_for_testing(description) if testing else render_manifest(description)
    written = [str(path) for path in write_new(out, rendered.files)]
    weakened = overrides(description) if testing else ()
    if any(KEY_FILE in each.value for each in weakened):
        key = out / KEY_FILE
        key.parent.mkdir(exist_ok=True)
        write_file(key, TESTING_KEY, mode=PRIVATE, replace=False)
        written.append(str(key))
    if as_json:
        print_json(
            {
                "description_sha256": description.digest,
                "files": written,
                "seal_format": seal_format(description),
                "to_seal": list(rendered.to_seal),
                "max_threads": rendered.sizing.threads,
                "enclave_size": rendered.sizing.size,
                "reasoning": list(rendered.sizing.reasoning),
                "overrides": [each.as_dict() for each in weakened],
            }
        )
        return
    for each in weakened:
        click.secho(f"DANGEROUS    {each.key} = {each.value}: {each.reason}", fg="red")
    click.echo(f"description  sha256 {description.digest}")
    for path in written:
        click.echo(f"written      {path}")
    click.echo(f"seal with    --format {seal_format(description)}")
    for line in rendered.sizing.reasoning:
        click.echo(line)
    for name in rendered.to_seal:
        note(f"{out / name}: seal it for {name.removeprefix('to-seal/')}")
    note(f"before ssl.cfg is sealed for {description.tls.config}: sealserve tls check --for {file}")
