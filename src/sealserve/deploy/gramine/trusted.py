"""Trusted files of a manifest, each with the SHA-256 of the file of that name on this machine.

A folder stands for all files in it that can be read, sorted, links to folders left aside, as
`gramine-manifest` takes them: which files there are is part of the measurement. Below another root
than `/`, links lead nowhere out of it. Nothing is written.
Source: Gramine 1.5 to 1.9, `python/graminelibos/manifest.py`, expand_all_trusted_files.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from sealserve.errors import ConfigError

FILES_LIMIT: Final = 500_000
_LINKS: Final = 40  # as Linux follows, path_resolution(7)
_NAMED: Final = re.compile(r'[^"\\\x00-\x1f\x7f-\x9f\ud800-\udfff]+')  # as TOML's texts have it
_SCHEME: Final = "file:"


@dataclass(frozen=True, slots=True)
class Root:
    """Where paths of a manifest are looked up: absolute ones in `system`, others in `folder`."""

    system: Path
    folder: Path

    def find(self, path: str) -> Path:
        """The file or folder behind `path`, every link followed; OSError for a loop of them."""
        if not path.startswith("/"):
            return self.folder / path
        return self.system / path.lstrip("/") if self.system == Path("/") else self._inside(path)

    def _inside(self, path: str) -> Path:
        waiting = list(reversed(PurePosixPath(path).parts[1:]))
        found: list[str] = []
        links = 0
        while waiting:
            part = waiting.pop()
            if part == "..":
                found = found[:-1]
                continue
            here = self.system.joinpath(*found, part)
            if not here.is_symlink():
                found.append(part)
                continue
            links += 1
            if links > _LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            target = PurePosixPath(here.readlink())
            if target.is_absolute():
                found = []
            waiting += reversed(target.parts[target.is_absolute() :])
        return self.system.joinpath(*found)

    def is_folder(self, path: str) -> bool:
        """Whether there is a folder of that name."""
        try:
            return self.find(path).is_dir()
        except OSError:
            return False

    def libraries(self, folder: str) -> tuple[str, ...]:
        """The shared libraries right in a folder, as `*.so*` finds them, links among them."""
        try:
            names = sorted(each.name for each in self.find(folder).iterdir())
        except OSError:
            return ()
        paths = [f"{folder.rstrip('/')}/{name}" for name in names if ".so" in name]
        return tuple(path for path in paths if _NAMED.fullmatch(path) and self._is_file(path))

    def _is_file(self, path: str) -> bool:
        try:
            return self.find(path).is_file()
        except OSError:
            return False


def trusted_files(uris: Iterable[str], root: Root) -> dict[str, str | None]:
    """URI -> SHA-256 in hex, in the order of the manifest; None for what is not there.

    Raises ConfigError for a URI that is no file's, and for more than FILES_LIMIT files.
    """
    found: dict[str, str | None] = {}
    known: dict[tuple[int, int], str | None] = {}  # where /lib is a link to /usr/lib, read once
    for uri in uris:
        if not uri.startswith(_SCHEME):
            raise ConfigError(f"{uri!r:.80} is no trusted file: it does not begin with file:")
        path = uri.removeprefix(_SCHEME)
        names = _below(PurePosixPath(path), root) if path.endswith("/") else iter([path])
        for name in names:
            if len(found) >= FILES_LIMIT:
                raise ConfigError(f"there are more than {FILES_LIMIT} trusted files")
            key = f"{_SCHEME}{name}"
            if key not in found:
                found[key] = _digest(name, root, known)
        if path.endswith("/") and not root.is_folder(path):
            found[uri] = None
    return found


def digest_of(path: Path) -> str | None:
    """The SHA-256 of a regular file, in hex; None for what is none, or cannot be read."""
    try:
        # A pipe among the files must not hold us.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                return None
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return None


def _below(folder: PurePosixPath, root: Root) -> Iterator[str]:
    try:
        names = sorted(each.name for each in root.find(str(folder)).iterdir())
    except OSError:
        return
    for name in names:
        path = folder / name
        try:
            here = root.find(str(path))
            kind = here.stat().st_mode
        except OSError:
            continue
        if not os.access(here, os.R_OK):
            continue
        if stat.S_ISREG(kind):
            yield str(path)
        elif stat.S_ISDIR(kind) and not _is_link(folder, name, root):
            yield from _below(path, root)


def _is_link(folder: PurePosixPath, name: str, root: Root) -> bool:
    return (root.find(str(folder)) / name).is_symlink()


def _digest(name: str, root: Root, known: dict[tuple[int, int], str | None]) -> str | None:
    try:
        path = root.find(name)
        here = path.stat()
    except OSError:
        return None
    file = (here.st_dev, here.st_ino)
    if file not in known:
        known[file] = digest_of(path)
    return known[file]
