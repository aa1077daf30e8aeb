"""Make the record of a model folder, and check a folder against one: the owner's side.

The files are streamed: sealed ones through the wrap key, plain ones as they are. As in the server,
with a key every file must be sealed under it, and without one every file must be plain: a record
is of plaintext, and a file of the wrong kind would make one that no server can meet. The paths
embedded in sealed files are not looked at. The value itself is `sealserve.sealing.record`.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from pathlib import Path

from sealserve.errors import FormatError, IntegrityError, UsageError
from sealserve.folders import Tree, find_tree, naming, os_errors
from sealserve.sealing import MAGIC, ModelRecord, RecordedFile, open_sealed
from sealserve.sealing.record import MAX_FILES

CHUNK_BYTES = 1 << 20

Advance = Callable[[int], None]


def find_model(folder: Path) -> Tree:
    """The files of a model's base folder; UsageError for what is none."""
    tree = find_tree(folder)
    if not tree.is_folder:
        raise UsageError(f"{folder} is a file; name the model's base folder, with 1, 2, ... in it")
    return tree


def make_record(
    tree: Tree,
    *,
    model: str,
    version: int | None,
    key: bytes | None,
    advance: Advance = lambda _count: None,
) -> ModelRecord:
    """The record of a model's files, or of one version's.

    Raises UsageError for a folder without files or with too many, IntegrityError for a file that
    is not sealed under the key, both naming it, and FormatError for a name that no record holds.
    """
    paths = _paths(tree, version)
    if not 0 < len(paths) <= MAX_FILES:
        which = "" if version is None else f" of version {version}"
        raise UsageError(
            f"{tree.root} holds {len(paths)} files{which}, and a record names 1 to {MAX_FILES}"
        )
    files = [_record_file(path, file, key, advance) for path, file in sorted(paths.items())]
    return ModelRecord(model, version, tuple(files))


def check_record(
    tree: Tree,
    record: ModelRecord,
    *,
    key: bytes | None,
    advance: Advance = lambda _count: None,
) -> None:
    """Raise IntegrityError naming the first file that is missing, extra, or another one.

    What is there is compared before any file is read through. A record of one version says nothing
    of the others.
    """
    paths = _paths(tree, record.version)
    recorded = {file.path: file for file in record.files}
    for path in sorted(recorded.keys() | paths.keys()):
        if path not in paths:
            raise _differs(tree.root / path, "is in the record, and not there")
        if path not in recorded:
            raise _differs(paths[path], "is there, and not in the record")
    for path, wanted in recorded.items():
        found = _record_file(path, paths[path], key, advance)
        if found.size != wanted.size:
            raise _differs(
                paths[path], f"has {found.size} bytes of plaintext, and {wanted.size} in the record"
            )
        if found.sha256 != wanted.sha256:
            raise _differs(
                paths[path],
                f"has the SHA-256 {found.sha256.hex()}, and {wanted.sha256.hex()} in the record",
            )


def _paths(tree: Tree, version: int | None) -> Mapping[str, Path]:
    """The files that count, by their path in the record."""
    inside = "" if version is None else f"{version}/"
    return {
        file.as_posix(): tree.root / file
        for file in tree.files
        if file.as_posix().startswith(inside)
    }


def _record_file(path: str, file: Path, key: bytes | None, advance: Advance) -> RecordedFile:
    with naming(file), os_errors(), file.open("rb") as stream:
        if key is not None:
            with open_sealed(stream, key) as plain:
                return _digest(path, plain, advance)
        if stream.peek(len(MAGIC)).startswith(MAGIC):
            raise UsageError(
                "it is sealed, and a record is of the plaintext",
                hint="name the wrap key with -w",
            )
        return _digest(path, stream, advance)


def _digest(path: str, stream: io.RawIOBase | io.BufferedReader, advance: Advance) -> RecordedFile:
    digest, size = hashlib.sha256(), 0
    view = memoryview(bytearray(CHUNK_BYTES))
    while count := stream.readinto(view):
        digest.update(view[:count])
        size += count
        advance(count)
    try:
        return RecordedFile(path, size, digest.digest())
    except FormatError as error:
        raise UsageError(f"it cannot be recorded: {error.message}") from error


def _differs(file: Path, what: str) -> IntegrityError:
    return IntegrityError(
        f"{file} {what}",
        code="integrity.record",
        hint="put back the files that were recorded, or record what is there now",
    )
