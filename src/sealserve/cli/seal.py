"""`sealserve seal` and `sealserve unseal`: Gramine protected files, from and to disk.

`-w`, `-i`, `-o` and `-V` mean what they mean to Gramine's `gramine-sgx-pf-crypt`.
"""

from __future__ import annotations

from pathlib import Path

import click

from sealserve.cli.interruption import clean_end
from sealserve.cli.key import load_wrap_key
from sealserve.cli.output import json_option, note, print_json, progress
from sealserve.folders import Done, find_tree, require_key_apart, seal_tree, unseal_tree

_path = click.Path(path_type=Path)
wrap_key_option = click.option(
    "-w", "--wrap-key", type=_path, required=True, help="The file with the 16-byte wrap key."
)
input_option = click.option(
    "-i", "--input", "source", type=_path, required=True, help="A file, or a folder with all in it."
)
output_option = click.option(
    "-o", "--output", "target", type=_path, required=True, help="Where it goes."
)


@click.command()
@wrap_key_option
@input_option
@output_option
@click.option(
    "--format",
    "format_name",
    type=click.Choice(["v1", "v2"]),
    default="v2",
    show_default=True,
    help="v2 is read by Gramine from 1.9, v1 by every Gramine.",
)
@click.option(
    "--embed-path",
    metavar="PATH",
    help="Seal for this path instead of that of the output.",
)
@json_option
def seal(
    wrap_key: Path,
    source: Path,
    target: Path,
    format_name: str,
    embed_path: str | None,
    as_json: bool,
) -> None:
    """Encrypt a file, or a folder with all in it, into Gramine protected files.

    Gramine opens a protected file only under the path that is embedded in it, which is the path of
    the output as it is given here, with `./`, `//` and `..` folded: seal from where the enclave
    will run, or name that path with --embed-path. Of a folder, each file is sealed for the folder's
    path and the way to the file from there.

    A file is replaced once its new content is complete; a folder must not exist yet, and appears
    when it is complete. After an error or an interruption nothing has changed; after a kill -9 a
    hidden .part folder may stay.

    \b
    Example:
      sealserve seal -w wrap.key -i plain/digits -o models/digits
      sealserve seal -w wrap.key -i ssl.cfg -o sealed/ssl.cfg --embed-path ssl.cfg
    """
    key = load_wrap_key(wrap_key)
    tree = find_tree(source)
    require_key_apart(tree, target, wrap_key)
    with clean_end(), progress(f"sealing {source}", tree.size) as advance:
        done = seal_tree(
            tree, target, key, version=int(format_name[1:]), embed_path=embed_path, advance=advance
        )
    _report("sealed", done, as_json)


@click.command()
@wrap_key_option
@input_option
@output_option
@click.option(
    "-V",
    "--verify-path",
    is_flag=True,
    help="Only accept a file whose embedded path is the input's, as it is given here.",
)
@json_option
def unseal(wrap_key: Path, source: Path, target: Path, verify_path: bool, as_json: bool) -> None:
    """Decrypt a Gramine protected file, version 1 or 2, or a folder of them.

    The output is for its owner alone. A file is replaced once its new content is complete and
    authentic; a folder must not exist yet, and appears when it is complete. After an error or an
    interruption nothing has changed; after a kill -9 a hidden .part folder may stay, with what was
    unsealed. Exit code 5 says that a file is not authentic, and the message which one and why.

    \b
    Example:
      sealserve unseal -w wrap.key -i models/digits -o plain/digits --verify-path
    """
    key = load_wrap_key(wrap_key)
    tree = find_tree(source)
    require_key_apart(tree, target, wrap_key)
    with clean_end(), progress(f"unsealing {source}", tree.size) as advance:
        done = unseal_tree(tree, target, key, verify_path=verify_path, advance=advance)
    _report("unsealed", done, as_json)


def _report(verb: str, done: list[Done], as_json: bool) -> None:
    if as_json:
        print_json({"files": [_facts(file) for file in done]})
        return
    for file in done:
        note(f"{verb} {file.source} -> {file.target} (embedded path {file.header.path!r})")


def _facts(file: Done) -> dict[str, object]:
    return {
        "input": str(file.source),
        "output": str(file.target),
        "embedded_path": file.header.path,
        "bytes": file.header.size,
        "format": f"v{file.header.version}",
    }
