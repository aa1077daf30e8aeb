"""The audit log as `sealserve audit export` writes it: one record a line, in its order.

Nothing is verified here: whether the file is the whole log, as it was written, `sealserve audit
verify` says of the log and its proofs. Read line by line, whatever its size.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from sealserve.errors import AuditError, ConfigError

LINE_LIMIT = 64 << 10  # bytes


def exported_records(
    path: Path, advance: Callable[[int], None]
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Each record and its index, from 0; `advance` is told how many bytes were read for it.

    Raises ConfigError for a file that cannot be read, AuditError at a line that is no record.
    """
    try:
        with path.open("rb") as stream:
            for index, line in enumerate(_lines(stream, path)):
                advance(len(line))
                yield index, _record(path, index, line)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error


def _lines(stream: BinaryIO, path: Path) -> Iterator[bytes]:
    index = 0
    while line := stream.readline(LINE_LIMIT + 1):
        if len(line) > LINE_LIMIT:
            raise _no_record(path, index, f"it is longer than {LINE_LIMIT} bytes")
        yield line
        index += 1


def _record(path: Path, index: int, line: bytes) -> Mapping[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        raise _no_record(path, index, "it is not JSON") from None
    if not isinstance(record, dict):
        raise _no_record(path, index, "it is no JSON object")
    return record


def _no_record(path: Path, index: int, reason: str) -> AuditError:
    return AuditError(
        f"{path}: line {index + 1} is no record: {reason}",
        hint="export the log again: sealserve audit export",
    )
