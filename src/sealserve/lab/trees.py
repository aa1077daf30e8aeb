"""What lies in folders: the SHA-256 of every file, and whether any of it has changed since.

A file is known by its signature: device, inode, size and times. Its change time cannot be set back
without the administrator's rights, so an equal signature means equal content; digests are kept by
it, and measuring the same thing again costs one `stat` a file.

`__pycache__` is left out: an enclave is started so that it never looks there.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sealserve.errors import UsageError

MISSING = "missing"  # stands in place of a digest for a path that leads nowhere
MAX_FILES = 250_000
MAX_DEPTH = 48
_IGNORED = "__pycache__"
_THREADS = min(8, os.cpu_count() or 1)
_BATCH = 64  # files for one thread at a time
_READ_WHOLE_BYTES = 256 << 10
_MAX_DIGESTS = 4 * MAX_FILES
# The clock of file times ticks every few milliseconds. Within one tick a file could change twice
# and show one signature, so a digest is taken only when the last change is longer ago than that.
_SETTLE_NS = 20_000_000


class Signature(NamedTuple):
    """What tells two states of a file or folder apart without reading it."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int


class FolderState(NamedTuple):
    """A folder and the names in it; a new signature with the same names is no change."""

    signature: Signature | None
    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything that was measured, by absolute path, as it was then (None: nothing was there)."""

    files: Mapping[str, Signature | None]
    folders: Mapping[str, FolderState]

    def __or__(self, other: Seen) -> Seen:
        """Both together."""
        return Seen({**self.files, **other.files}, {**self.folders, **other.folders})

    def changed(self) -> str | None:
        """The path of something that is not as it was, or None."""
        for path, signature in self.files.items():
            if _signature(path) != signature:
                return path
        for path, state in self.folders.items():
            if _signature(path) != state.signature and _entries(path).keys() != state.names:
                return path
        return None


class Digests:
    """Measures files, and remembers their digests by signature. Threads may share one."""

    def __init__(self) -> None:
        self._known: dict[Signature, str] = {}

    def measure(
        self, paths: Iterable[Path], *, leave_out: frozenset[str] = frozenset()
    ) -> tuple[list[dict[str, str]], Seen]:
        """For each path the digests of its files by relative name, and what was looked at.

        A path that is a file has one entry under the empty name. Symbolic links are followed, as
        imports do. `leave_out` are names at the top of a path that are not looked at. Raises
        UsageError (`lab.unmeasurable`) for what cannot be read, is no file or folder, or changes.
        """
        listings = [_Listing.of(path, leave_out) for path in paths]
        files = [file for listing in listings for file in listing.files]
        if len(files) > MAX_FILES:
            raise _unmeasurable(f"there are {len(files)} files; at most {MAX_FILES} are measured")
        batches = [files[start : start + _BATCH] for start in range(0, len(files), _BATCH)]
        found: dict[str, tuple[str, Signature | None]] = {}
        with ThreadPoolExecutor(_THREADS) as pool:  # hashing releases the interpreter lock
            for batch, digests in zip(batches, pool.map(self._digest_all, batches), strict=True):
                found.update(zip(batch, digests, strict=True))
        trees = [
            {name: found[file][0] for file, name in listing.files.items()} for listing in listings
        ]
        folders = {path: state for listing in listings for path, state in listing.folders.items()}
        return trees, Seen({file: signature for file, (_, signature) in found.items()}, folders)

    def _digest_all(self, files: list[str]) -> list[tuple[str, Signature | None]]:
        return [self._digest(file) for file in files]

    def _digest(self, file: str) -> tuple[str, Signature | None]:
        signature = _signature(file)
        if signature is None:
            return MISSING, None
        if (known := self._known.get(signature)) is not None:
            return known, signature
        digest, signature = _read_digest(file)
        if len(self._known) >= _MAX_DIGESTS:
            self._known.clear()
        self._known[signature] = digest
        return digest, signature


@dataclass(frozen=True, slots=True)
class _Listing:
    """What is under one path: absolute path -> relative name, and the folders' states."""

    files: dict[str, str]
    folders: dict[str, FolderState]

    @classmethod
    def of(cls, path: Path, leave_out: frozenset[str]) -> _Listing:
        listing = cls({}, {})
        if path.is_dir():
            listing._add_folder(str(path), "", leave_out, depth=0)
        else:
            listing.files[str(path)] = ""
        return listing

    def _add_folder(self, path: str, name: str, leave_out: frozenset[str], depth: int) -> None:
        if depth > MAX_DEPTH:
            raise _unmeasurable(f"{path} is nested too deeply, or is a loop of links")
        signature, entries = _signature(path), _entries(path)
        self.folders[path] = FolderState(signature, frozenset(entries))
        for entry, is_folder in entries.items():
            inner, relative = f"{path}/{entry}", f"{name}{entry}"
            if entry in leave_out:
                continue
            if is_folder:
                self._add_folder(inner, f"{relative}/", frozenset(), depth + 1)
            else:
                self.files[inner] = relative


def _signature(path: str) -> Signature | None:
    try:
        return _of_stat(os.stat(path))  # noqa: PTH116  (called for every file at every quote)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:  # a loop of links, a folder that is closed to us
        raise _unmeasurable(f"{path}: {error.strerror}") from error


def _of_stat(result: os.stat_result) -> Signature:
    return Signature(
        result.st_dev, result.st_ino, result.st_size, result.st_mtime_ns, result.st_ctime_ns
    )


def _entries(path: str) -> dict[str, bool]:
    """The names in a folder, and whether each leads to a folder."""
    try:
        with os.scandir(path) as entries:
            return {entry.name: entry.is_dir() for entry in entries if entry.name != _IGNORED}
    except OSError as error:
        raise _unmeasurable(f"{path}: {error.strerror}") from error


def _read_digest(path: str) -> tuple[str, Signature]:
    """Digest and signature of a regular file that stayed the same while it was read."""
    try:
        # O_NONBLOCK: a pipe must not hold the measuring up.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as stream:
            state = os.fstat(stream.fileno())
            if not stat.S_ISREG(state.st_mode):
                raise _unmeasurable(f"{path} is neither a file nor a folder")
            settled = state.st_ctime_ns + _SETTLE_NS - time.time_ns()
            time.sleep(min(max(settled, 0), _SETTLE_NS) / 1e9)
            # Most files are small; `file_digest` would clear a large buffer for each.
            small = state.st_size <= _READ_WHOLE_BYTES
            digest = (
                hashlib.sha256(stream.read()) if small else hashlib.file_digest(stream, "sha256")
            )
            signature = _of_stat(os.fstat(stream.fileno()))
    except OSError as error:
        raise _unmeasurable(f"{path}: {error.strerror}") from error
    if signature != _of_stat(state):
        raise _unmeasurable(f"{path} changes while it is measured")
    return digest.hexdigest(), signature


def _unmeasurable(message: str) -> UsageError:
    return UsageError(
        f"cannot be measured: {message}",
        code="lab.unmeasurable",
        hint="an enclave needs files that can be read and stay as they are",
    )
