"""The model record: which files a model has, and the SHA-256 of the plaintext of each.

A protected file cannot show that somebody put back an older authentic one (see `reader`); its
digest can. A record is of the plaintext, so that it outlives a reseal. Its JSON:

    {"files":[{"path":"1/saved_model.pb","sha256":"<64 hex digits>","size":6755}],
     "format":1,"model":"digits","version":null}

Canonical JSON is that on one line: keys sorted, no spaces, UTF-8 unescaped but for `"`, `\\` and
nothing else (control characters are refused), files by path. The record's digest is the SHA-256 of
it. This module only parses and prints; the owner's tools make records, the server checks files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sealserve.errors import FormatError
from sealserve.sealing.paths import normalize_path

MAX_RECORD_BYTES = 256 << 10
MAX_FILES = 1000
MAX_NAME_BYTES = 255
MAX_VERSION = 2**63 - 1  # TensorFlow Serving's versions are int64
FORMAT = 1

_MAX_SIZE = 2**53 - 1  # every reader of JSON holds this exactly
_DIGEST_BYTES = 32


@dataclass(frozen=True)
class RecordedFile:
    """A file: its path below the model's base folder, and size and SHA-256 of its plaintext."""

    path: str
    size: int
    sha256: bytes

    def __post_init__(self) -> None:
        _check_text("a file's path", self.path)
        normal = normalize_path(self.path)
        if self.path != normal or normal.startswith("/") or normal.split("/")[0] == "..":
            raise _wrong(f"the path {self.path!r} is not relative, inside and normal")
        _check_number(f"the size of {self.path!r}", self.size, _MAX_SIZE)
        if len(self.sha256) != _DIGEST_BYTES:
            raise _wrong(f"the SHA-256 of {self.path!r} has {len(self.sha256)} bytes")


@dataclass(frozen=True)
class ModelRecord:
    """A model's files, by path. With a `version` they are those of that version alone.

    Raises FormatError for what cannot be in a record, or makes one of more than 256 KiB.
    """

    model: str
    version: int | None
    files: tuple[RecordedFile, ...]

    def __post_init__(self) -> None:
        _check_text("the model's name", self.model)
        if len(self.model.encode()) > MAX_NAME_BYTES:
            raise _wrong(f"the model's name has more than {MAX_NAME_BYTES} bytes")
        if self.version is not None:
            _check_number("the version", self.version, MAX_VERSION)
        if not 0 < len(self.files) <= MAX_FILES:
            raise _wrong(f"it names {len(self.files)} files, and may name 1 to {MAX_FILES}")
        paths = [file.path for file in self.files]
        if paths != sorted(set(paths)):
            raise _wrong("its files are not in the order of their paths, each once")
        if len(self.to_json()) > MAX_RECORD_BYTES:
            raise _wrong(f"it is larger than {MAX_RECORD_BYTES} bytes")

    def to_json(self) -> bytes:
        """The canonical JSON; `parse_record` makes the same record of it."""
        files = [
            {"path": file.path, "sha256": file.sha256.hex(), "size": file.size}
            for file in self.files
        ]
        facts = {"files": files, "format": FORMAT, "model": self.model, "version": self.version}
        return json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    @property
    def digest(self) -> bytes:
        """SHA-256 of the canonical JSON."""
        return hashlib.sha256(self.to_json()).digest()


def parse_record(data: bytes) -> ModelRecord:
    """The record in a JSON text, however it is spaced; raises FormatError for anything else.

    Unknown, missing and repeated keys, numbers written as fractions, and records beyond the limits
    are errors.
    """
    if len(data) > MAX_RECORD_BYTES:
        raise _wrong(f"it is larger than {MAX_RECORD_BYTES} bytes")
    try:
        found = json.loads(data.decode(), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise _wrong("it is no JSON in UTF-8, or too deep") from error
    facts = _object("the record", found, ("files", "format", "model", "version"))
    if type(facts["format"]) is not int or facts["format"] != FORMAT:
        raise _wrong(f"its format is {facts['format']!r:.40}; this is written for format {FORMAT}")
    files = facts["files"]
    if not isinstance(files, list) or len(files) > MAX_FILES:
        raise _wrong(f"its files are no list of at most {MAX_FILES}")
    return ModelRecord(facts["model"], facts["version"], tuple(map(_file, files)))


def _file(found: object) -> RecordedFile:
    facts = _object("a file", found, ("path", "sha256", "size"))
    digest = facts["sha256"]
    if not isinstance(digest, str) or set(digest) - set("0123456789abcdef") or len(digest) % 2:
        raise _wrong("a file's sha256 is not in lower-case hexadecimal digits")
    return RecordedFile(facts["path"], facts["size"], bytes.fromhex(digest))


def _object(what: str, found: object, keys: Sequence[str]) -> dict[str, Any]:
    if not isinstance(found, dict) or set(found) != set(keys):
        raise _wrong(f"{what} is no object with exactly the keys {', '.join(keys)}")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _check_text(what: str, found: object) -> None:
    if not isinstance(found, str) or not found:
        raise _wrong(f"{what} is no text")
    if any(
        ord(char) < 0x20 or ord(char) == 0x7F or 0xD800 <= ord(char) <= 0xDFFF for char in found
    ):
        raise _wrong(f"{what} holds a control character, or is no UTF-8")


def _check_number(what: str, found: object, largest: int) -> None:
    if type(found) is not int or not 0 <= found <= largest:
        raise _wrong(f"{what} is no whole number from 0 to {largest}")


def _wrong(what: str) -> FormatError:
    return FormatError(
        f"not a model record: {what}",
        code="model-record",
        hint="`sealserve model record` makes one",
    )
