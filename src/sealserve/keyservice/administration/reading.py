"""Records and proofs out of the log."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import Connection, Select, select

from sealserve.errors import AuditError, UsageError
from sealserve.keyservice.administration.values import (
    PAGE,
    Consistency,
    Inclusion,
    Query,
    Record,
)
from sealserve.keyservice.store.log import Head, subtrees
from sealserve.keyservice.store.schema import RECORDS
from sealserve.transparency.proofs import consistency_proof, inclusion_proof
from sealserve.transparency.tree import SIZE_LIMIT

WORD: Final = 200  # characters


def records(connection: Connection, head: Head, query: Query) -> list[Record]:
    """At most PAGE records of the log at `head`, in the order asked for; raises UsageError."""
    if not 0 < query.limit <= PAGE:
        raise UsageError(f"a limit of {query.limit}: expected 1 to {PAGE}")
    if not -1 <= query.after < SIZE_LIMIT:
        raise UsageError(f"records after {query.after!s:.40}: expected -1 to 2**63 - 1")
    wanted = _where(query).where(RECORDS.c.index < head.size)  # nothing vouches for others
    rows = connection.execute(wanted.limit(query.limit))
    return [Record(index, bytes(data)) for index, data in rows]


def inclusion(connection: Connection, head: Head, index: int) -> Inclusion:
    """The record at `index` and its proof under `head`; raises UsageError."""
    if not 0 <= index < head.size:
        raise UsageError(f"there is no record {index}: the log has {head.size}", code="no-record")
    wanted = select(RECORDS.c.record).where(RECORDS.c.index == index)
    data = connection.execute(wanted).scalar_one_or_none()
    proof = inclusion_proof(index, head.size, subtrees(connection))
    if data is None:
        raise AuditError(
            f"the log has {head.size} records, and the database lacks the record {index}",
            code="audit.tree",
            hint="somebody removed it: restore a backup",
        )
    return Inclusion(index, bytes(data), proof, head.note)


def consistency(connection: Connection, head: Head, old_size: int) -> Consistency:
    """Proof that the log at `head` begins with its first `old_size` records; UsageError."""
    if not 0 <= old_size <= head.size:
        raise UsageError(
            f"there is no log of {old_size} records: it has {head.size}", code="no-record"
        )
    proof = consistency_proof(old_size, head.size, subtrees(connection))
    return Consistency(old_size, proof, head.note)


def _where(query: Query) -> Select[int, bytes]:
    wanted = select(RECORDS.c.index, RECORDS.c.record)
    if query.newest_first:
        wanted = wanted.order_by(RECORDS.c.index.desc())
        if query.after >= 0:
            wanted = wanted.where(RECORDS.c.index < query.after)
    else:
        wanted = wanted.order_by(RECORDS.c.index).where(RECORDS.c.index > query.after)
    for column, value in (
        (RECORDS.c.kind, _word(query.kind)),
        (RECORDS.c.outcome, _word(query.outcome)),
        (RECORDS.c.secret, _word(query.secret)),
        (RECORDS.c.evidence, None if query.evidence is None else _digest(query.evidence)),
    ):
        if value is not None:
            wanted = wanted.where(column == value)
    if query.since is not None:
        wanted = wanted.where(RECORDS.c.time_us >= _microseconds(query.since))
    if query.until is not None:
        wanted = wanted.where(RECORDS.c.time_us < _microseconds(query.until))
    return wanted


def _word(text: str | None) -> str | None:
    """All words by which records are found are such; not every database takes others."""
    if text is not None and not (text.isascii() and text.isprintable() and len(text) <= WORD):
        raise UsageError(f"{text!a:.140} is on no record: expected up to {WORD} ASCII characters")
    return text


def _digest(text: str) -> bytes:
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != 32:
        raise UsageError(f"{text!r:.100} is no digest: expected 64 hex digits")
    return value


def _microseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)
