"""`sealserve migrate`: from the published solution's folder to a description and a policy."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from sealserve.cli.key import load_wrap_key
from sealserve.cli.output import json_option, note, print_json
from sealserve.cli.weaknesses import counted, print_weaknesses
from sealserve.deploy.migration.migrating import Migration, write
from sealserve.deploy.migration.migrating import migrate as read_folder


@click.command()
@click.option(
    "--from",
    "folder",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder of the published solution, as it is in use; nothing in it is changed.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder to make; it must not exist.",
)
@click.option(
    "--secret",
    default="wrap-key",
    show_default=True,
    help="The name of the key in the key service.",
)
@click.option(
    "-w",
    "--wrap-key",
    "wrap_keys",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="A wrap key, to be told what it opens and for which paths; several times for several.",
)
@json_option
def migrate(
    folder: Path, out: Path, secret: str, wrap_keys: tuple[Path, ...], as_json: bool
) -> None:
    """Make a description and a policy of a TensorFlow Serving Cluster PPML folder.

    Finds ra_config.json, the manifest template, Dockerfiles, scripts, Kubernetes files, keys,
    certificates, models.config and models by name, and lists their faults: where, what follows,
    what to do. What is guessed for sealserve.toml is said. Keys are neither printed nor copied.
    Where ra_config.json cannot be carried over, policy.toml denies everything.

    A description has one key. With --wrap-key, the models that one key opens are described, and of
    the others it is said what to do; without, no key is opened, and all models are described.

    The exit code is 0 when both files are written, whatever the faults.

    \b
    Example:
      sealserve migrate --from tensorflow-serving-cluster --out service
      sealserve migrate --from old --out service --wrap-key wrap-key
    """
    keys = {str(path): load_wrap_key(path) for path in wrap_keys}
    found = read_folder(folder, secret, datetime.now(UTC), keys)
    written = [str(path) for path in write(found, out)]
    number = counted(found.faults)
    if as_json:
        print_json(
            {
                "written": written,
                "recognised": list(found.recognised),
                "enclaves": found.enclaves,
                "policy_from": found.policy_source,
                **number,
                "faults": [each.as_dict() for each in found.faults],
                "guesses": [
                    {"key": each.key, "value": each.value, "source": each.source}
                    for each in found.guesses
                ],
            }
        )
        return
    print_weaknesses(str(folder), found.faults)
    _print_rest(found)
    summary = ", ".join(f"{name} {count}" for name, count in number.items())
    click.echo(f"{', '.join(written)}: written; {summary} in {folder}")
    if found.enclaves:
        note("the policy names the old enclaves; add the new one: sealserve policy add-measurement")
    note("read both files before they are in force: sealserve deploy check, sealserve policy check")


def _print_rest(found: Migration) -> None:
    width = max(len(each.key) for each in found.guesses)
    click.secho("guessed", bold=True)
    for each in found.guesses:
        click.echo(f"  {each.key:<{width}}  {each.value}  ({each.source})")
    if found.policy_source is None:
        click.echo("policy: denies everything, for want of a sound ra_config.json")
    else:
        click.echo(f"policy: enclaves {found.enclaves}, from {found.policy_source}")
