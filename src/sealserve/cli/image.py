"""`sealserve image`: container images, what they are made of, and what is in one."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from sealserve.cli.image_build import build, engine_option, render, tag_option
from sealserve.cli.image_facts import image_facts
from sealserve.cli.output import json_option, print_json, print_table
from sealserve.deploy.images.building import Built, look, read_built
from sealserve.deploy.images.engine import find_engine
from sealserve.deploy.images.roles import ROLES
from sealserve.files import PUBLIC, write_file


@click.group()
def image() -> None:
    """Build container images, and say what is in one.

    The roles: keyservice, server, tensorflow (the stock server in Gramine), client, proxy (nginx).

    \b
    Example:
      sealserve image build keyservice client --base debian@sha256:DIGEST
      sealserve image show keyservice
    """


@image.command()
@click.argument("name", metavar="ROLE|IMAGE|FILE")
@engine_option
@tag_option
@click.option(
    "--sbom",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write what is in it: SPDX 2.3, in JSON.",
)
@json_option
def show(name: str, engine: str | None, tag: str, sbom: Path | None, as_json: bool) -> None:
    """Show an image: as whom it runs, its labels, its size, and the packages in it.

    It is named by a role, by its own name, or as a file that `podman save` wrote. Nothing of it is
    run: all that is shown was read from its layers, the packages too.

    \b
    Example:
      sealserve image show server
      sealserve image show server --sbom server.spdx.json
    """
    built = read_by_name(name, engine, tag)
    if sbom is not None:
        write_file(sbom, built.sbom, mode=PUBLIC, replace=False)
    facts = image_facts(built)
    if as_json:
        print_json(facts)
        return
    labels = facts.pop("labels")
    kinds = facts.pop("packages")
    facts["layers"] = len(facts["layers"])
    rows = [*facts.items(), *((f"packages {kind}", number) for kind, number in kinds.items())]
    print_table(built.reference, [*rows, *labels.items()])


def read_by_name(name: str, engine: str | None, tag: str) -> Built:
    """What is in an image that is named by a role, by its own name, or as an archive's file."""
    if Path(name).is_file():
        return read_built(Path(name))
    reference = ROLES[name].reference(tag) if name in ROLES else name
    with tempfile.TemporaryDirectory(prefix="sealserve-image-") as temporary:
        return look(find_engine(engine), reference, Path(temporary))


image.add_command(build)
image.add_command(render)
