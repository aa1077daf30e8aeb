"""Attempts to fetch one collateral, as the processes that want it tell one another.

After a failure nobody asks again for a while, which grows with each failure in a row: a service in
trouble is not asked once for each process and request. What is told here saves work and is trusted
with nothing else; what cannot be read is forgotten.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sealserve.endorsements.signed_json import read_object
from sealserve.errors import (
    CollateralError,
    FormatError,
    NetworkError,
    RejectedError,
    SealServeError,
    VerificationError,
)

FIRST_PAUSE: Final = timedelta(seconds=5)
LONGEST_PAUSE: Final = timedelta(seconds=60)
TIME_FORMAT: Final = "%Y-%m-%dT%H:%M:%SZ"
_TEXT_LIMIT = 1000  # characters
_RECORD_LIMIT = 16 << 10  # bytes


@dataclass(frozen=True, slots=True)
class Failure:
    """The last attempt, which failed."""

    source: str
    at: datetime
    in_a_row: int
    rejected: bool
    """Something came, and did not verify; otherwise nothing came."""
    code: str
    message: str
    hint: str | None

    @classmethod
    def of(
        cls, source: str, at: datetime, error: RejectedError | NetworkError, in_a_row: int = 1
    ) -> Failure:
        """The failure that ended in `error`."""
        rejected = isinstance(error, RejectedError)
        return cls(source, at, in_a_row, rejected, error.code, error.message, error.hint)

    @property
    def retry_at(self) -> datetime:
        """When to ask again."""
        pause = FIRST_PAUSE * (1 << min(self.in_a_row - 1, 16))
        return self.at + min(pause, LONGEST_PAUSE)

    def error(self) -> SealServeError:
        """The error of that attempt, also for those who come before the next."""
        kind = VerificationError if self.rejected else CollateralError
        return kind(self.message, code=self.code, hint=self.hint)


class Attempts:
    """The record in a locked file: of the last attempt, if it failed."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def failure(self, source: str, now: datetime) -> Failure | None:
        """The failure after which `source` is not asked again yet at `now`."""
        last = self._read()
        if last is None or last.source != source:
            return None
        # Of the future is a record from before the clock was set back.
        return last if last.at <= now < last.retry_at else None

    def failed(self, source: str, now: datetime, error: RejectedError | NetworkError) -> Failure:
        """Put a failure on record."""
        last = self._read()
        in_a_row = last.in_a_row + 1 if last is not None and last.source == source else 1
        failure = Failure.of(source, now, error, in_a_row)
        self._write(_encode(failure))
        return failure

    def succeeded(self) -> None:
        """Forget what failed."""
        self._write(b"")

    def _read(self) -> Failure | None:
        try:
            data = os.pread(self._handle, _RECORD_LIMIT, 0)
            return _decode(data) if data else None
        except (FormatError, OSError):
            return None

    def _write(self, data: bytes) -> None:
        with suppress(OSError):  # on a full disk each process asks for itself
            os.ftruncate(self._handle, 0)
            os.pwrite(self._handle, data, 0)


def _encode(failure: Failure) -> bytes:
    record = {
        "source": failure.source,
        "at": failure.at.astimezone(UTC).strftime(TIME_FORMAT),
        "in_a_row": failure.in_a_row,
        "kind": "rejected" if failure.rejected else "failed",
        "code": failure.code,
        "message": failure.message[:_TEXT_LIMIT],
        "hint": (failure.hint or "")[:_TEXT_LIMIT],
    }
    return json.dumps(record).encode()


def _decode(data: bytes) -> Failure:
    members = read_object(data, "attempt")
    return Failure(
        source=members.text("source", _RECORD_LIMIT),
        at=members.date("at"),
        in_a_row=max(1, members.number("in_a_row", 0xFFFFFFFF)),
        rejected=members.text("kind") == "rejected",
        code=members.text("code"),
        message=members.text("message", _TEXT_LIMIT),
        hint=members.text("hint", _TEXT_LIMIT) or None,
    )
