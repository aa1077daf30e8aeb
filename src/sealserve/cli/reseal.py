"""`sealserve reseal`: protected files under another wrap key, in place or into another place."""

from __future__ import annotations

from pathlib import Path

import click

from sealserve.cli.interruption import clean_end
from sealserve.cli.key import load_wrap_key
from sealserve.cli.output import json_option, note, print_json, progress
from sealserve.cli.seal import input_option
from sealserve.errors import UsageError
from sealserve.folders import Tree, find_tree, require_key_apart, reseal_tree
from sealserve.resealing import Resealed, reseal_in_place

_path = click.Path(path_type=Path)


@click.command()
@click.option(
    "-w",
    "--wrap-key",
    type=_path,
    required=True,
    help="The file with the old 16-byte wrap key.",
)
@click.option(
    "--new-wrap-key", type=_path, required=True, help="The file with the new 16-byte wrap key."
)
@input_option
@click.option("-o", "--output", "target", type=_path, help="Where it goes, instead of in place.")
@click.option(
    "--format",
    "format_name",
    type=click.Choice(["v1", "v2"]),
    help="The format version to write; by default, each file keeps its own.",
)
@click.option(
    "--embed-path",
    metavar="PATH",
    help="With -o: seal for this path instead of that of the output.",
)
@json_option
def reseal(
    wrap_key: Path,
    new_wrap_key: Path,
    source: Path,
    target: Path | None,
    format_name: str | None,
    embed_path: str | None,
    as_json: bool,
) -> None:
    """Put a protected file, or a folder of them, under another wrap key.

    Each file may be under the old key or the new one; if one opens under neither, or is no
    protected file, nothing is changed. No plaintext is written.

    In place, a file is replaced once its new content is complete and has been read back from the
    disk; embedded path, mode and owner stay. Files that are under the new key are left alone: after
    an interruption, a kill -9 or a full disk, run the same command again. Who has the old file open
    goes on reading it.

    With -o the input stays, and the output is written and its paths embedded as by `seal`: it
    appears when it is complete.

    Keep the old key until nobody reads the old files, and no backup of them is wanted.

    \b
    Example:
      sealserve reseal -w wrap.key --new-wrap-key new.key -i models/digits
      sealserve reseal -w wrap.key --new-wrap-key new.key -i models/digits -o next/digits \\
        --embed-path models/digits
    """
    if embed_path is not None and target is None:
        raise UsageError(
            "--embed-path goes with -o: in place, the embedded path stays",
            hint="name an output, or leave the path as it is",
        )
    tree = find_tree(source)
    keys = _load_keys(wrap_key, new_wrap_key, tree, target)
    version = None if format_name is None else int(format_name[1:])
    with clean_end(), progress(f"resealing {source}", tree.size) as advance:
        if target is None:
            done = reseal_in_place(tree, *keys, version=version, advance=advance)
        else:
            written = reseal_tree(
                tree, target, *keys, version=version, embed_path=embed_path, advance=advance
            )
            done = [Resealed(file.target, file.header, resealed=True) for file in written]
    _report(done, as_json)


def _load_keys(old: Path, new: Path, tree: Tree, target: Path | None) -> tuple[bytes, bytes]:
    """Both keys; refuses the same key twice, and key files that are among the files."""
    keys = load_wrap_key(old), load_wrap_key(new)
    if keys[0] == keys[1]:
        raise UsageError(
            f"{old} and {new} hold the same key", hint="make a new one: sealserve key new FILE"
        )
    for file in (old, new):
        require_key_apart(tree, tree.root if target is None else target, file)
    return keys


def _report(done: list[Resealed], as_json: bool) -> None:
    if as_json:
        print_json({"files": [_facts(each) for each in done]})
        return
    for each in done:
        note(f"{_outcome(each)} {each.file} (embedded path {each.header.path!r})")


def _facts(each: Resealed) -> dict[str, object]:
    return {
        "file": str(each.file),
        "embedded_path": each.header.path,
        "bytes": each.header.size,
        "format": f"v{each.header.version}",
        "outcome": _outcome(each),
    }


def _outcome(each: Resealed) -> str:
    return "resealed" if each.resealed else "skipped"
