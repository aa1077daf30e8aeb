"""The cache folder: collateral as it was received, one file for each key, shared by processes.

    DIR/<SHA-256 of the trust root>/collateral/KEY.json   one entry                         0600
                                    locks/KEY             held while its collateral is fetched;
                                                          says when fetching last failed    0600

A file is written whole or not at all (`sealserve.files`), so a reader needs no lock; the lock only
makes one fetch of many. Nothing read from here is believed: an entry that is torn, damaged or
another's is none, and what is whole must still be verified. Each trust root has a folder of its
own, so that a lab's world and Intel's never meet.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sealserve.collateral.attempts import TIME_FORMAT, Attempts
from sealserve.collateral.key import CollateralKey
from sealserve.collateral.private_folder import locked, make_private
from sealserve.endorsements.collateral import FILE_NAMES, PART_LIMIT, Collateral
from sealserve.endorsements.signed_json import Members, read_object
from sealserve.errors import CollateralError, ConfigError, FormatError, UsageError
from sealserve.files import read_file, write_file

MAX_ENTRIES: Final = 256  # of one trust root; those not written for longest go first
FORMAT: Final = "sealserve collateral 1"
_PART_TEXT: Final = PART_LIMIT * 4 // 3 + 4  # base64
ENTRY_LIMIT: Final = len(FILE_NAMES) * _PART_TEXT + 4096  # bytes
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_ABANDONED: Final = 3600.0  # seconds after which a half-written file is nobody's any more


def default_folder() -> Path:
    """Where the command line keeps collateral: the XDG Base Directory Specification's cache."""
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    base = named if named.is_absolute() else Path.home() / ".cache"
    return base / "sealserve" / "collateral"


def roots(path: Path) -> list[bytes]:
    """The fingerprints of the trust roots that a cache folder has entries of."""
    if not path.is_dir():
        return []
    names = sorted(each.name for each in path.iterdir())
    return [bytes.fromhex(name) for name in names if _FINGERPRINT.fullmatch(name)]


@dataclass(frozen=True, slots=True)
class Entry:
    """Collateral as it came, when, and from where (in words, for people)."""

    collateral: Collateral
    fetched_at: datetime
    source: str


class CacheFolder:
    """The entries of one trust root. Safe to share between threads and processes."""

    def __init__(self, path: Path, root_sha256: bytes) -> None:
        """Nothing is made or read yet."""
        self.path = path / root_sha256.hex()
        self._parent = path
        self._entries = self.path / "collateral"
        self._locks = self.path / "locks"

    def make(self) -> None:
        """Make the folders; raises ConfigError when they are not this user's alone."""
        for folder in (self._parent, self.path, self._entries, self._locks):
            make_private(folder)

    def read(self, key: CollateralKey) -> Entry | None:
        """The entry, not verified, or None; raises FormatError for what is torn or another's."""
        path = self._file(key)
        if not path.exists():
            return None
        try:
            return decode(read_file(path, limit=ENTRY_LIMIT), key)
        except ConfigError as error:
            raise FormatError(error.message) from error

    def write(self, key: CollateralKey, entry: Entry) -> None:
        """Put `entry` in the place of what is there; raises CollateralError."""
        try:
            write_file(self._file(key), encode(key, entry))
            self._forget_surplus()
        except (OSError, UsageError) as error:
            raise CollateralError(f"cannot keep collateral in {self._entries}: {error}") from error

    def forget(self, key: CollateralKey) -> bool:
        """Drop the entry; whether there was one. Raises CollateralError."""
        try:
            self._file(key).unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise CollateralError(f"cannot delete {self._file(key)}: {error.strerror}") from error
        return True

    def kept(self) -> list[CollateralKey]:
        """The keys of the entries, in order."""
        found = (CollateralKey.parse(path.stem) for path in self._entries.glob("*.json"))
        return sorted(key for key in found if key is not None)

    @contextmanager
    def locked(self, key: CollateralKey, *, timeout: float) -> Iterator[Attempts]:
        """What is known of attempts to fetch `key`, while no other process makes one.

        Raises CollateralError when the lock is not to be had within `timeout` seconds.
        """
        with locked(self._locks / key.name, timeout=timeout) as handle:
            yield Attempts(handle)

    def _file(self, key: CollateralKey) -> Path:
        return self._entries / f"{key.name}.json"

    def _forget_surplus(self) -> None:
        """Keep the folder in bounds. Others may do so at the same time: what is gone is gone."""
        ages: list[tuple[float, CollateralKey]] = []
        for path in self._entries.iterdir():
            key = CollateralKey.parse(path.stem)
            age = time.time() - _modified(path)
            if key is not None and path.suffix == ".json":
                ages.append((age, key))
            elif path.suffix == ".part" and age > _ABANDONED:
                path.unlink(missing_ok=True)
        for _, key in sorted(ages)[MAX_ENTRIES:]:
            self._file(key).unlink(missing_ok=True)
            # Whoever waits for this lock may now fetch beside another: once more, no worse.
            (self._locks / key.name).unlink(missing_ok=True)


def encode(key: CollateralKey, entry: Entry) -> bytes:
    """An entry as the bytes of its file."""
    parts = {
        part: base64.b64encode(getattr(entry.collateral, part)).decode() for part in FILE_NAMES
    }
    head = {
        "format": FORMAT,
        "key": key.name,
        "fetched_at": entry.fetched_at.astimezone(UTC).strftime(TIME_FORMAT),
        "source": entry.source,
    }
    return json.dumps(head | {"parts": parts}, indent=1).encode() + b"\n"


def decode(data: bytes, key: CollateralKey) -> Entry:
    """The entry of `key` in the bytes of a file; raises FormatError."""
    members = read_object(data, "entry")
    if (members.text("format"), members.text("key")) != (FORMAT, key.name):
        raise FormatError(f"entry: expected {FORMAT!r} for {key.name}")
    parts = members.nested("parts")
    return Entry(
        Collateral(**{part: _part(parts, part) for part in FILE_NAMES}),
        members.date("fetched_at"),
        members.text("source", 4096),
    )


def _part(parts: Members, name: str) -> bytes:
    try:
        return base64.b64decode(parts.text(name, _PART_TEXT), validate=True)
    except (binascii.Error, ValueError):
        raise FormatError(f"parts.{name}: not base64") from None


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
