"""Models from elsewhere, kept only if their digest is the pinned one.

The SHA-256 is what is trusted, not the server. Steps:

1. A file that is there already is checked, and never overwritten.
2. What an earlier run left is hashed, and gone on from if the server still has the same file.
3. Bytes are hashed as they come, with a limit on their number and a deadline for every read.
4. With the right digest they are synced and get their name; with another they are deleted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sealserve.errors import NetworkError, UsageError, WrongDigest
from sealserve.models.partial import Partial, open_partial
from sealserve.models.saved_model import MAX_BYTES
from sealserve.models.sources import Source
from sealserve.models.transfer import CHUNK_BYTES, Transfer, open_file_url, open_http_url

# Told the size of what is still to come, gives the function that is told how much has.
Progress = Callable[[int | None], AbstractContextManager[Callable[[int], None]]]


@dataclass(frozen=True)
class Limits:
    """The bytes that a file may have, and the seconds that a server may be silent."""

    size: int = MAX_BYTES
    read_timeout: float = 30.0


@dataclass(frozen=True)
class Fetched:
    """A file with the right digest, and how many of its bytes were there before this run."""

    path: Path
    size: int
    sha256: str
    resumed_at: int


def fetch(source: Source, limits: Limits, progress: Progress) -> Fetched:
    """Have `source.out` hold what `source.url` has, whose SHA-256 must be `source.sha256`.

    Raises WrongDigest, and keeps nothing, if it is another; NetworkError if the transfer breaks
    off, and keeps what has come for the next run; UsageError if the file may not be written.
    """
    try:
        if source.out.exists() or source.out.is_symlink():
            return _there_already(source)
        source.out.parent.mkdir(parents=True, exist_ok=True)
        with open_partial(source.out) as partial:
            return _fetch_into(partial, source, limits, progress)
    except OSError as error:
        raise UsageError(f"cannot write {source.out}: {error.strerror}") from error


def _there_already(source: Source) -> Fetched:
    with source.out.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
        size = stream.tell()
    if found != source.sha256:
        raise UsageError(
            f"{source.out} exists with SHA-256 {found}; expected {source.sha256}",
            hint="it is not overwritten: name another --out, or move it away",
        )
    return Fetched(source.out, size, found, resumed_at=size)


def _fetch_into(partial: Partial, source: Source, limits: Limits, progress: Progress) -> Fetched:
    digest = hashlib.sha256()
    offset = _hash_rest(partial, digest)
    if digest.hexdigest() != source.sha256:  # else the last run ended between step 3 and step 4
        with _open(source, partial, offset, limits) as transfer:
            if transfer.start != offset or offset == 0:
                offset, digest = 0, hashlib.sha256()
                partial.restart(source.url, transfer.etag)
            _receive(transfer, partial, digest, source, limits, progress)
    found = digest.hexdigest()
    if found != source.sha256:
        partial.discard()
        raise WrongDigest(
            f"{source.shown} has SHA-256 {found}; expected {source.sha256}",
            hint=_restart_hint(offset),
        )
    size = partial.stream.tell()
    partial.publish()
    return Fetched(source.out, size, found, resumed_at=offset)


def _hash_rest(partial: Partial, digest: Any) -> int:
    while chunk := partial.stream.read(CHUNK_BYTES):
        digest.update(chunk)
    return partial.stream.tell()


def _open(
    source: Source, partial: Partial, offset: int, limits: Limits
) -> AbstractContextManager[Transfer]:
    if urlsplit(source.url).scheme == "file":
        return open_file_url(source.url)
    etag = partial.etag(source.url)
    return open_http_url(source.url, offset=offset, etag=etag, read_timeout=limits.read_timeout)


def _receive(
    transfer: Transfer,
    partial: Partial,
    digest: Any,
    source: Source,
    limits: Limits,
    progress: Progress,
) -> None:
    """Step 3; the stream stands where the next byte goes."""
    received = transfer.start
    _require_within(transfer.total or 0, source, limits)
    expected = None if transfer.total is None else transfer.total - received
    with progress(expected) as advance:
        for chunk in transfer.chunks:
            received += len(chunk)
            _require_within(received, source, limits)
            partial.stream.write(chunk)
            digest.update(chunk)
            advance(len(chunk))
    if transfer.total is not None and received != transfer.total:
        raise NetworkError(f"{source.shown}: {received} bytes came; expected {transfer.total}")


def _require_within(size: int, source: Source, limits: Limits) -> None:
    if size > limits.size:
        raise UsageError(
            f"{source.shown} has more than the {limits.size} bytes allowed",
            hint="if you expect that much: --max-size BYTES",
        )


def _restart_hint(resumed_at: int) -> str:
    if resumed_at:
        return "nothing was kept; part of it came from an earlier run: run the command once more"
    return "nothing was kept; compare the digest with the publisher's, and the URL with yours"
