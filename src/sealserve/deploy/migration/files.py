"""The files of the published solution, found by name anywhere in a folder.

Limits hold for how many files there are, how deep, and how large each may be that is read. Symbolic
links are not followed, and only regular files are opened. A wrap key is never opened; what is read
of a private key stays in memory and is told by its path alone.
Source of the names: the guide of *TensorFlow Serving Cluster PPML* (Confidential Computing Zoo).
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from io import BufferedReader
from pathlib import Path
from typing import Final

from sealserve.deploy.migration.fault import printable
from sealserve.errors import ConfigError, UsageError

ENTRIES: Final = 20_000  # files and folders
DEPTH: Final = 16
TEXT_LIMIT: Final = 256 << 10  # bytes
_SKIPPED: Final = frozenset({".git", ".venv", "node_modules", "__pycache__"})


class Kind(Enum):
    """What a file is; the value is the pattern of its name."""

    RA_CONFIG = r"ra_config.*\.json"
    MANIFEST = r".+\.manifest(\.template)?"
    QCNL = r"sgx_default_qcnl.*\.conf"
    IMAGE = r"(.+\.)?dockerfile(\..+)?"
    CLUSTER = r"(deploy|ingress|coredns).*\.ya?ml"
    SCRIPT = r".+\.sh"
    REQUIREMENTS = r"requirements.*\.txt"
    WRAP_KEY = r"wrap[-_]key"
    MODELS_CONFIG = r"(.+[-_.])?models?([-_.].+)?\.(config|pbtxt)"
    TLS_CONFIG = r"ssl.*\.cfg"
    PEM = r".+\.(pem|key|crt)"


_NAMES: Final = {kind: re.compile(kind.value, re.IGNORECASE) for kind in Kind}


@dataclass(frozen=True, slots=True)
class Item:
    """One file: its path within the folder, and its content where that is read."""

    kind: Kind
    path: str
    data: bytes = field(default=b"", repr=False)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def shown(self) -> str:
        """The path as it is printed."""
        return printable(self.path)

    @property
    def text(self) -> str:
        """The content as text; what is no UTF-8 is replaced."""
        return self.data.decode(errors="replace")


@dataclass(frozen=True, slots=True)
class Skipped:
    """What was not looked at, and why."""

    path: str
    reason: str


@dataclass(slots=True)
class Version:
    """The files of one version of a model, by their paths, and their bytes in all."""

    size: int = 0
    files: list[str] = field(default_factory=list)


Versions = dict[str, dict[str, Version]]
"""By folder, then by the number that is the name of the version's folder."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """What was found, by path, in `folder`; `versions` may be of a model, or only look like it."""

    folder: Path
    items: tuple[Item, ...]
    skipped: tuple[Skipped, ...]
    versions: Versions

    def of(self, kind: Kind) -> tuple[Item, ...]:
        """The files of that kind."""
        return tuple(each for each in self.items if each.kind is kind)


def gather(folder: Path) -> Gathered:
    """Everything recognisable in `folder`; UsageError for no folder, nothing in it or too much."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder")
    items: list[Item] = []
    skipped: list[Skipped] = []
    versions: Versions = {}
    for entry, path in _walk(folder, skipped):
        _count(path, entry, versions)
        kind = next((kind for kind in Kind if _NAMES[kind].fullmatch(entry.name)), None)
        if kind is None:
            continue
        if kind is Kind.WRAP_KEY:
            items.append(Item(kind, path))
            continue
        try:
            items.append(Item(kind, path, _read(entry.path)))
        except ConfigError as error:
            skipped.append(Skipped(printable(path), error.message))
    if not items and not skipped and not any(map(below_models, versions)):
        raise UsageError(
            f"nothing of the published solution is in {folder}",
            hint="name the folder that has ra_config.json, the manifest template or deploy.yaml",
        )
    items.sort(key=lambda each: (each.path.count("/"), each.path))
    return Gathered(folder, tuple(items), tuple(skipped), versions)


def below_models(path: str) -> str | None:
    """What of the path follows its first folder `models`; None where that is nothing."""
    _, separator, rest = f"/{path}".partition("/models/")
    return rest if separator and rest else None


def _walk(folder: Path, skipped: list[Skipped]) -> Iterator[tuple[os.DirEntry[str], str]]:
    """Each regular file and its path; links and what is too deep go into `skipped`."""
    waiting = [(str(folder), "", 0)]
    seen = 0
    while waiting:
        place, prefix, depth = waiting.pop()
        for entry in _listed(place, printable(prefix), skipped):
            seen += 1
            if seen > ENTRIES:
                raise UsageError(
                    f"more than {ENTRIES} files are in {folder}",
                    hint="name the solution's own folder, not one around it",
                )
            path = prefix + entry.name
            if entry.is_symlink():
                if any(pattern.fullmatch(entry.name) for pattern in _NAMES.values()):
                    skipped.append(Skipped(printable(path), "a symbolic link"))
            elif entry.is_dir(follow_symlinks=False):
                if depth >= DEPTH:
                    skipped.append(Skipped(printable(path), f"more than {DEPTH} folders deep"))
                elif entry.name not in _SKIPPED:
                    waiting.append((entry.path, f"{path}/", depth + 1))
            elif entry.is_file(follow_symlinks=False):
                yield entry, path


def _listed(place: str, shown: str, skipped: list[Skipped]) -> list[os.DirEntry[str]]:
    """What is in the folder, no more than one beyond the limit."""
    found: list[os.DirEntry[str]] = []
    try:
        with os.scandir(place) as entries:
            for entry in entries:
                found.append(entry)
                if len(found) > ENTRIES:
                    break
    except OSError as error:
        skipped.append(Skipped(shown or ".", f"cannot be listed: {error.strerror}"))
    return sorted(found, key=lambda each: each.name)


def _count(path: str, entry: os.DirEntry[str], versions: Versions) -> None:
    """Add a file of `FOLDER/VERSION/…`, where VERSION is a number."""
    *parts, _ = path.split("/")
    for at, part in enumerate(parts[1:], start=1):
        if part.isascii() and part.isdigit():
            of_folder = versions.setdefault("/".join(parts[:at]), {})
            version = of_folder.setdefault(part, Version())
            version.size += _size(entry)
            version.files.append(path)
            return


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except OSError:
        return 0


def _read(path: str) -> bytes:
    """The content of a regular file; ConfigError for all else, and for a large one."""
    with open_regular(path) as stream:
        try:
            data = stream.read(TEXT_LIMIT + 1)
        except OSError as error:
            raise ConfigError(f"cannot be read: {error.strerror}") from error
    if len(data) > TEXT_LIMIT:
        raise ConfigError(f"larger than {TEXT_LIMIT} bytes")
    return data


def open_regular(path: str | Path) -> BufferedReader:
    """The regular file at `path`, open for reading; ConfigError for a link and for all else."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise ConfigError("no regular file")
    return os.fdopen(handle, "rb")
