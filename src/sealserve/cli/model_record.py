"""`sealserve model record` and `sealserve model check-record`."""

from __future__ import annotations

from pathlib import Path

import click

from sealserve.cli.interruption import clean_end
from sealserve.cli.key import load_wrap_key
from sealserve.cli.output import json_option, note, print_json, progress
from sealserve.errors import FormatError, UsageError
from sealserve.files import PUBLIC, read_file, write_file
from sealserve.folders import require_key_apart
from sealserve.models.record import check_record as check_folder
from sealserve.models.record import find_model, make_record
from sealserve.sealing import ModelRecord, parse_record
from sealserve.sealing.record import MAX_RECORD_BYTES, MAX_VERSION

FilePath = click.Path(dir_okay=False, path_type=Path)
folder_argument = click.argument(
    "folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path)
)
key_option = click.option(
    "-w", "--wrap-key", type=FilePath, help="The wrap key that the files are sealed under, if any."
)


@click.command()
@folder_argument
@click.option("--name", required=True, help="The model's name.")
@click.option(
    "--version",
    type=click.IntRange(0, MAX_VERSION),
    help="Record this version alone; by default, all that is in the folder.",
)
@click.option("--out", required=True, type=FilePath, help="The record to write; replaced if there.")
@key_option
@json_option
@clean_end()
def record(
    folder: Path, name: str, version: int | None, out: Path, wrap_key: Path | None, as_json: bool
) -> None:
    """Record a model's files: path, size and SHA-256 of the plaintext of each.

    DIR is the model's base folder, with 1, 2, ... in it. The record is of the plaintext, so a plain
    folder, the same sealed and the same resealed have one record. A server that is given it refuses
    an older file that somebody put back, which a protected file alone does not show.

    \b
    Example:
      sealserve model record models/digits -w wrap.key --name digits --out digits.record.json
    """
    tree = find_model(folder)
    if out.resolve().is_relative_to(folder.resolve()):
        raise UsageError(
            f"the output {out} is in the model's folder", hint="a record would not name itself"
        )
    if wrap_key is not None:
        require_key_apart(tree, out, wrap_key)
    key = None if wrap_key is None else load_wrap_key(wrap_key)
    with progress(f"recording {folder}", tree.size) as advance:
        made = make_record(tree, model=name, version=version, key=key, advance=advance)
    write_file(out, made.to_json(), mode=PUBLIC)
    note(f"{out} has the SHA-256 {made.digest.hex()}")
    if as_json:
        _print(made)


@click.command("check-record")
@folder_argument
@click.option("--record", "file", required=True, type=FilePath, help="The record to check against.")
@key_option
@json_option
@clean_end()
def check_record(folder: Path, file: Path, wrap_key: Path | None, as_json: bool) -> None:
    """Check a model's files against its record; exit code 5 names the first that differs.

    A file that is missing, one that is not in the record, and one whose plaintext has another size
    or SHA-256 all differ.

    \b
    Example:
      sealserve model check-record models/digits -w wrap.key --record digits.record.json
    """
    found = _read(file)
    tree = find_model(folder)
    key = None if wrap_key is None else load_wrap_key(wrap_key)
    with progress(f"checking {folder}", tree.size) as advance:
        check_folder(tree, found, key=key, advance=advance)
    note(f"{folder} holds the {len(found.files)} files of the record of {found.model!r}")
    if as_json:
        _print(found)


def _read(file: Path) -> ModelRecord:
    try:
        return parse_record(read_file(file, limit=MAX_RECORD_BYTES))
    except FormatError as error:
        error.about(file)
        raise


def _print(record: ModelRecord) -> None:
    print_json(
        {
            "model": record.model,
            "version": record.version,
            "digest": record.digest,
            "files": [
                {"path": each.path, "bytes": each.size, "sha256": each.sha256}
                for each in record.files
            ],
        }
    )
