"""Rollback memory: the highest evaluation data numbers that were ever verified, kept on disk.

Intel numbers its TCB recoveries. Whoever serves collateral could serve what was said before the
last recovery as long as that is valid, and an outdated platform would be up to date again. So the
numbers that were seen once, in collateral that was verified, are written down before it is used,
and what is older is refused from then on (`sealserve.verifier.check_not_rolled_back`).

    DIR/<SHA-256 of the trust root>/evaluations.json

A row is what was seen with one kind of platform. TCB info is of that kind alone; the QE identity is
of the TEE, so the highest number in any of its rows holds for all of them.

There is no way to lower a number but to forget a row or to delete this file, which are an
operator's acts (docs/operations.md). A file that cannot be read is an error for that reason, and
not an empty memory.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Final, TypeAlias

from sealserve.collateral.key import CollateralKey
from sealserve.collateral.private_folder import locked
from sealserve.endorsements.pccs import Update
from sealserve.endorsements.signed_json import Members, read_object
from sealserve.errors import CollateralError, ConfigError, FormatError, UsageError
from sealserve.files import read_file, write_file
from sealserve.logline import line
from sealserve.verifier import Evaluations, Tee

FILE_NAME: Final = "evaluations.json"
FORMAT: Final = "sealserve evaluations 1"
LOCK_TIMEOUT: Final = 10.0  # seconds; the lock is held to write one small file
_MAX_NUMBER = 0xFFFFFFFF
_MAX_ROWS = 65536
_LIMIT = 16 << 20  # bytes

Subject: TypeAlias = tuple[Tee, bytes, Update]
"""What Intel numbers together: one kind of TEE on one kind of platform, in one edition."""

log = logging.getLogger(__name__)


class EvaluationMemory:
    """The memory in one folder. Safe to share between threads and processes."""

    def __init__(self, folder: Path) -> None:
        """`folder` is there, and private."""
        self.path = folder / FILE_NAME
        self._lock = folder / f"{FILE_NAME}.lock"

    def highest(self, key: CollateralKey) -> Evaluations:
        """The highest numbers seen, 0 where none was; raises CollateralError."""
        return _highest(self._read(), _subject(key))

    def remember(self, key: CollateralKey, found: Evaluations, source: str) -> None:
        """Make numbers durable that were verified; raises CollateralError when that failed.

        `source` is where they came from, in words: a number that rises is logged with it.
        """
        subject = _subject(key)
        row = self._read().get(subject)
        if row is not None and _higher(row, found) == row:
            return
        with locked(self._lock, timeout=LOCK_TIMEOUT):
            rows = self._read()
            before = _highest(rows, subject)
            rows[subject] = _higher(rows.get(subject, found), found)
            self._write(rows)
        _log_raised(key, before, found, source)

    def forget(self, key: CollateralKey) -> Evaluations | None:
        """Give up the row of `key`, an operator's act: what it was, or None; raises as `remember`.

        A QE identity's number that other rows have is still the highest.
        """
        with locked(self._lock, timeout=LOCK_TIMEOUT):
            rows = self._read()
            forgotten = rows.pop(_subject(key), None)
            if forgotten is not None:
                self._write(rows)
            return forgotten

    def _write(self, rows: dict[Subject, Evaluations]) -> None:
        try:
            write_file(self.path, _encode(rows))
        except (OSError, UsageError) as error:
            raise CollateralError(f"cannot write {self.path}: {error}") from error

    def _read(self) -> dict[Subject, Evaluations]:
        if not self.path.exists():
            return {}
        try:
            return _decode(read_file(self.path, limit=_LIMIT))
        except (ConfigError, FormatError) as error:
            raise CollateralError(
                f"the memory of evaluation data numbers in {self.path} cannot be read: "
                f"{error.message}",
                hint="restore it from a copy; without the file, older collateral than was seen "
                "is accepted again",
            ) from error


def _highest(rows: dict[Subject, Evaluations], subject: Subject) -> Evaluations:
    tee, _, update = subject
    identities = [row.qe_identity for (a, _, b), row in rows.items() if (a, b) == (tee, update)]
    own = rows.get(subject, Evaluations(0, 0))
    return Evaluations(own.tcb_info, max(identities, default=0))


def _log_raised(key: CollateralKey, before: Evaluations, found: Evaluations, source: str) -> None:
    """From now on older data is refused: an operator must be able to tell since when, and why."""
    for what, old, new in (
        ("TCB info", before.tcb_info, found.tcb_info),
        ("QE identity", before.qe_identity, found.qe_identity),
    ):
        if 0 < old < new:
            facts: dict[str, object] = {"of": what, "old": old, "new": new, "source": source}
            log.warning(line("evaluation_number_raised", key=key.name, **facts))


def _higher(one: Evaluations, other: Evaluations) -> Evaluations:
    return Evaluations(max(one.tcb_info, other.tcb_info), max(one.qe_identity, other.qe_identity))


def _subject(key: CollateralKey) -> Subject:
    return key.tee, key.fmspc, key.update


def _encode(rows: dict[Subject, Evaluations]) -> bytes:
    highest = [
        {
            "tee": tee,
            "fmspc": fmspc.hex(),
            "update": update,
            "tcb_info": found.tcb_info,
            "qe_identity": found.qe_identity,
        }
        for (tee, fmspc, update), found in sorted(rows.items())
    ]
    return json.dumps({"format": FORMAT, "highest": highest}, indent=1).encode() + b"\n"


def _decode(data: bytes) -> dict[Subject, Evaluations]:
    members = read_object(data, FILE_NAME)
    if members.text("format") != FORMAT:
        raise FormatError(f"expected the format {FORMAT!r}")
    return dict(_row(row) for row in members.tables("highest", _MAX_ROWS))


def _row(row: Members) -> tuple[Subject, Evaluations]:
    # A key of any CA spells and checks all three.
    name = f"{row.text('tee')}-{row.text('fmspc')}-platform-{row.text('update')}"
    key = CollateralKey.parse(name)
    if key is None:
        raise FormatError(f"{name} is no kind of platform")
    numbers = Evaluations(
        row.number("tcb_info", _MAX_NUMBER), row.number("qe_identity", _MAX_NUMBER)
    )
    return _subject(key), numbers
