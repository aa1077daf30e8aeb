"""`sealserve image build` and `render`: images from the recipe, or what a build of them needs."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from sealserve import __version__
from sealserve.cli.image_facts import image_facts
from sealserve.cli.output import json_option, note, print_json
from sealserve.deploy.description.reading import load_description
from sealserve.deploy.images import building
from sealserve.deploy.images.building import Order
from sealserve.deploy.images.engine import NAMES, find_engine
from sealserve.deploy.images.families import FAMILIES, find_family
from sealserve.deploy.images.roles import ROLES, find_role
from sealserve.deploy.images.wheels import source_folder
from sealserve.errors import UsageError

Command = TypeVar("Command", bound=Callable[..., None])
FOLDER = click.Path(path_type=Path, file_okay=False)
DEFAULT_FAMILY = "debian"

engine_option = click.option(
    "--with",
    "engine",
    type=click.Choice(NAMES),
    help="What has, or builds, images.  [default: the first that is installed]",
)
tag_option = click.option("--tag", default=__version__, show_default=True, help="The image's tag.")


def _values(_context: click.Context, _option: click.Parameter, given: tuple[str, ...]) -> Any:
    values = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or name in values:
            raise click.BadParameter(f"{each!r}: expected NAME=VALUE, each name once")
        values[name] = value
    return values


_ORDER = (
    click.option(
        "--from",
        "file",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="DESCRIPTION",
        help="Label images with the digest of this description; an enclave is made from it.",
    ),
    click.option(
        "--on",
        "family",
        type=click.Choice(list(FAMILIES)),
        help="The system.  [default: that of the description's cloud, or debian]",
    ),
    click.option("--base", metavar="IMAGE", help="The system's image, by digest."),
    click.option(
        "--arg",
        "arguments",
        multiple=True,
        callback=_values,
        metavar="NAME=VALUE",
        help="A value for one of the recipe's arguments; may be given again.",
    ),
    click.option("--gramine", is_flag=True, help="The server in an SGX enclave, by Gramine."),
    click.option(
        "--keyrings", type=FOLDER, help="The keys of package sources: see docs/images.md."
    ),
    click.option("--signed", type=FOLDER, help="What was signed for the image that waits for it."),
    click.option("--source", type=FOLDER, help="A checkout of SealServe.  [default: this one's]"),
    click.option("--source-url", metavar="URL", help="Where it is published, for a label."),
    tag_option,
)


def _orders(command: Command) -> Command:
    """The options of what is wanted, which reach the command as `order`."""

    @functools.wraps(command)
    def ordered(
        file: Path | None,
        family: str | None,
        base: str | None,
        arguments: Mapping[str, str],
        source: Path | None,
        **words: Any,
    ) -> None:
        names = ("gramine", "keyrings", "signed", "source_url", "tag")
        given = {name: words.pop(name) for name in names}
        description = None if file is None else load_description(file)
        cloud = DEFAULT_FAMILY if description is None else description.cloud
        chosen = family or (cloud if cloud in FAMILIES else DEFAULT_FAMILY)
        order = Order(
            find_family(chosen),
            source or source_folder(),
            description=description,
            arguments={**arguments, **({} if base is None else {"BASE": base})},
            **given,
        )
        command(order=order, **words)

    decorated: Any = ordered
    for option in reversed(_ORDER):
        decorated = option(decorated)
    result: Command = decorated
    return result


@click.command()
@click.argument("roles", nargs=-1, required=True, metavar="ROLE...", type=click.Choice(list(ROLES)))
@_orders
@engine_option
@click.option("--out", type=FOLDER, help="Write the SBOM of each image into this folder.")
@click.option(
    "--build-option",
    "options",
    multiple=True,
    metavar="OPTION",
    help="Pass an option to what builds, such as --build-option=--network=host.",
)
@json_option
def build(
    roles: tuple[str, ...],
    order: Order,
    engine: str | None,
    out: Path | None,
    options: tuple[str, ...],
    as_json: bool,
) -> None:
    """Build images, one for each ROLE, from the recipe that `render` writes.

    Packages of Python come as wheels that pip fetches here, by hash; those of the system from its
    own signed sources. Nothing secret goes in. The same sources, versions and base give the same
    image.

    \b
    Example:
      sealserve image build server client --base debian@sha256:DIGEST
      sealserve image build tensorflow --from sealserve.toml --keyrings keyrings \\
        --base debian@sha256:DIGEST --arg TFSERVING=tensorflow/serving@sha256:DIGEST
    """
    program = find_engine(engine)
    made = []
    for name in dict.fromkeys(roles):
        role = find_role(name)
        note(f"{role.name}: {program.name} builds")
        with tempfile.TemporaryDirectory(prefix="sealserve-log-") as temporary:
            log = Path(temporary) / "log"
            built = building.build(order, role, program, log, options)
        facts = image_facts(built)
        if out is not None:
            facts["sbom"] = str(building.write_sbom(built, out, role))
        made.append(facts)
        if not as_json:
            number = sum(facts["packages"].values())
            click.echo(f"{facts['image']}  {facts['size_mib']} MiB, {number} packages")
            click.echo(f"  {facts['id']}")
    if as_json:
        print_json({"images": made})


@click.command()
@click.argument("role", type=click.Choice(list(ROLES)))
@_orders
@click.option(
    "--recipe-only", is_flag=True, help="Without wheels; arguments may be left to the build."
)
@click.option("--out", required=True, type=FOLDER, help="The folder to write into.")
@json_option
def render(role: str, order: Order, recipe_only: bool, out: Path, as_json: bool) -> None:
    """Write the recipe of ROLE's image and all that it copies, for a build with any tool.

    The same request gives the same bytes.

    \b
    Example:
      sealserve image render proxy --recipe-only --out proxy
      sealserve image render client --base debian@sha256:DIGEST --out client
    """
    if out.exists() and any(out.iterdir()):
        raise UsageError(f"{out} is not empty", hint="name another folder")
    request = building.write_context(out, order, find_role(role), complete=not recipe_only)
    written = sorted(str(path) for path in out.rglob("*") if path.is_file())
    reference = order.reference(request)
    if as_json:
        print_json({"image": reference, "files": written})
        return
    for path in written:
        click.echo(f"written  {path}")
    note(f"build it with: podman build --tag {reference} {out}")
