"""Seal, unseal and reseal files and whole folders on disk: all of it appears, or nothing does.

A file is written beside its target and renamed over it (`sealserve.files`). A folder is built under
a temporary name beside its target and renamed as a whole, so its target must not exist yet. What is
sealed may be read by everybody, what is unsealed by its owner alone.

A folder keeps its layout, empty folders included. A link in it is followed if it stays inside the
folder, and refused if it leads out, nowhere or in a circle; so is what is neither file nor folder.
The path embedded in a file of a folder is that of the folder, as it was given, and the way to the
file from there: what `gramine-sgx-pf-crypt` does with `-i` and `-o`. Resealing a folder in place is
another matter, and another module: `resealing`.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from os.path import samestat
from pathlib import Path
from typing import BinaryIO

from sealserve.errors import SealServeError, UsageError
from sealserve.files import PRIVATE, PUBLIC, atomic_file, sync_folder
from sealserve.sealing import Header, open_sealed_under, reseal, seal, unseal

MAX_ENTRIES = 100_000  # files and folders; links among a few folders can make any number of ways

Advance = Callable[[int], None]
_Opener = Callable[[Path], AbstractContextManager[BinaryIO]]


@dataclass(frozen=True)
class Tree:
    """A file, or a folder with all that is in it; `folders` and `files` are relative to `root`.

    For a file, `files` is the empty path alone.
    """

    root: Path
    folders: tuple[Path, ...]
    files: tuple[Path, ...]
    size: int

    @property
    def is_folder(self) -> bool:
        return self.files != (Path(),)


@dataclass(frozen=True)
class Done:
    """One file that was sealed or unsealed, and what its header says."""

    source: Path
    target: Path
    header: Header


def find_tree(root: Path) -> Tree:
    """What is at `root`; raises UsageError for nothing, or for what cannot be sealed."""
    with os_errors():
        if root.is_file():
            return Tree(root, (), (Path(),), root.stat().st_size)
        if not root.is_dir():
            raise UsageError(f"{root} is neither a file nor a folder")
        folders, files = _walk(root)
        size = sum((root / file).stat().st_size for file in files)
        return Tree(root, tuple(folders), tuple(files), size)


def require_key_apart(tree: Tree, target: Path, wrap_key: Path) -> None:
    """UsageError if the output would replace the wrap key, or the input holds it.

    What is sealed under a key that is lost, or sealed with it, is lost as well.
    """
    with os_errors():
        key = wrap_key.stat()
        if target.exists() and target.samefile(wrap_key):
            raise UsageError(f"the output {target} is the wrap key", hint="name another output")
        for file in tree.files:
            if samestat((tree.root / file).stat(), key):
                raise UsageError(
                    f"the input {tree.root / file} is the wrap key",
                    hint="keep the key elsewhere: who has the files must not have it too",
                )


def seal_tree(
    tree: Tree,
    target: Path,
    key: bytes,
    *,
    version: int = 2,
    embed_path: str | None = None,
    advance: Advance = lambda _count: None,
) -> list[Done]:
    """Seal all files of a tree under `target`; `embed_path` replaces `target` in what is embedded.

    Raises UsageError, also for what the system refuses, or UnsupportedVersion; `target` is then as
    it was.
    """
    embedded = target if embed_path is None else Path(embed_path)

    def convert(source: Path, sink: BinaryIO, file: Path) -> Header:
        path = str(embedded / file)
        with source.open("rb") as stream:
            return seal(stream, sink, key, path=path, version=version, advance=advance)

    return _convert(tree, target, PUBLIC, convert)


def unseal_tree(
    tree: Tree,
    target: Path,
    key: bytes,
    *,
    verify_path: bool = False,
    advance: Advance = lambda _count: None,
) -> list[Done]:
    """Unseal all files of a tree under `target`, readable by their owner alone.

    With `verify_path` a file's embedded path has to be the one it is read from, as the tree's root
    was given. Raises UsageError, or IntegrityError naming the file; `target` is then as it was.
    """

    def convert(source: Path, sink: BinaryIO, _file: Path) -> Header:
        expected = str(source) if verify_path else None
        with source.open("rb") as stream:
            return unseal(stream, sink, key, expected_path=expected, advance=advance)

    return _convert(tree, target, PRIVATE, convert)


def reseal_tree(
    tree: Tree,
    target: Path,
    old_key: bytes,
    new_key: bytes,
    *,
    version: int | None = None,
    embed_path: str | None = None,
    advance: Advance = lambda _count: None,
) -> list[Done]:
    """Seal all files of a tree anew under `target`, with `new_key`; each may be under either key.

    Paths are embedded as `seal_tree` does; the format version stays unless given. Raises as
    `unseal_tree` does.
    """
    embedded = target if embed_path is None else Path(embed_path)

    def convert(source: Path, sink: BinaryIO, file: Path) -> Header:
        keys, path = (old_key, new_key), str(embedded / file)
        with source.open("rb") as stream:
            found, _ = open_sealed_under(stream, keys)
            return reseal(
                stream, sink, keys[found], new_key, path=path, version=version, advance=advance
            )

    return _convert(tree, target, PUBLIC, convert)


def _convert(
    tree: Tree, target: Path, mode: int, convert: Callable[[Path, BinaryIO, Path], Header]
) -> list[Done]:
    _check_target(tree.root, target)
    done = []
    with os_errors(), _new_tree(tree, target, mode) as open_file:
        for file in tree.files:
            source = tree.root / file
            with naming(source), open_file(file) as sink:
                done.append(Done(source, target / file, convert(source, sink, file)))
    return done


@contextmanager
def _new_tree(tree: Tree, target: Path, mode: int) -> Iterator[_Opener]:
    """A function that opens the tree's files for writing; they appear at `target` at the end."""
    if not tree.is_folder:
        if target.is_dir():
            raise UsageError(f"{target} is a folder; name the file to write")
        yield lambda _file: atomic_file(target, mode=mode)
        return
    if target.exists() or target.is_symlink():
        raise UsageError(
            f"{target} exists, and a whole folder is only written where nothing is",
            hint="name another folder, or move this one away",
        )
    folder_mode = mode | (mode & 0o444) >> 2  # who may read a folder's files may enter it
    place = target.resolve()
    temporary = Path(tempfile.mkdtemp(prefix=f".{place.name}.", suffix=".part", dir=place.parent))
    try:
        for folder in tree.folders:
            (temporary / folder).mkdir()
        yield lambda file: atomic_file(temporary / file, mode=mode)
        for folder in reversed((Path(), *tree.folders)):
            (temporary / folder).chmod(folder_mode)
            sync_folder(temporary / folder)
        temporary.rename(place)
        sync_folder(place.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _walk(root: Path) -> tuple[list[Path], list[Path]]:
    """Folders (each before what is in it) and files under `root`, relative to it, by name."""
    real_root = root.resolve(strict=True)
    folders: list[Path] = []
    files: list[Path] = []
    waiting = [(Path(), frozenset({real_root}))]
    while waiting:
        folder, above = waiting.pop()
        for path in sorted((root / folder).iterdir()):
            if len(files) + len(folders) == MAX_ENTRIES:
                raise UsageError(f"{root} holds more than {MAX_ENTRIES} files and folders")
            entry = folder / path.name
            real = _resolve(path, real_root)
            if real.is_file():
                files.append(entry)
            elif not real.is_dir():
                raise UsageError(f"{path} is neither a file nor a folder")
            elif real in above:
                raise UsageError(f"{path} is a link to a folder that it is in")
            else:
                folders.append(entry)
                waiting.append((entry, above | {real}))
    return folders, sorted(files)


def _resolve(path: Path, root: Path) -> Path:
    try:
        real = path.resolve(strict=True)
    except FileNotFoundError as error:
        raise UsageError(f"{path} is a link to nothing") from error
    if not real.is_relative_to(root):
        raise UsageError(
            f"{path} is a link that leads out of the folder, to {real}",
            hint="copy what it points to into the folder, or remove the link",
        )
    return real


def _check_target(source: Path, target: Path) -> None:
    if not target.parent.is_dir():
        raise UsageError(
            f"there is no folder {target.parent} to put {target.name} in",
            hint=f"mkdir -p {target.parent}",
        )
    if target.resolve().is_relative_to(source.resolve()):
        what = "is the input itself" if target.resolve() == source.resolve() else "is in the input"
        raise UsageError(f"the output {target} {what}", hint="name an output apart from it")


@contextmanager
def naming(file: Path) -> Iterator[None]:
    """Let an error of ours say which file it is about."""
    try:
        yield
    except SealServeError as error:
        error.about(file)
        raise


@contextmanager
def os_errors() -> Iterator[None]:
    """Let what the system refuses be a UsageError."""
    try:
        yield
    except OSError as error:
        name = f"{error.filename}: " if error.filename is not None else ""
        raise UsageError(f"{name}{error.strerror or error}", code="os") from error
