"""The whole store in one file, and back into an empty database of either kind, here or elsewhere.

The file is lines of JSON: a head, a line for each row of each table in the order of
`schema.TABLES`, and an end with the SHA-256 of every byte before it and the data key's MAC of that.
Bytes are base64. It is one consistent view, taken while the service runs. No secret is in it that
is not sealed, and the key-encryption key is not in it at all: keep that elsewhere, for without it a
backup opens nothing. The records of the log are in it as they are: handle it as personal data.

What is restored is checked before it is there: every byte by the digest, and by the MAC that one
of ours wrote them together, so that no row of another backup stands among them; then what the rows
say (`restored`). The restored log goes on with a record that says so. A backup is of its moment:
revocations since then are not in it, and copies that remember a longer log refuse it until they are
told otherwise (docs/operations.md).
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO, Final

from sqlalchemy import Connection, Table, func, insert, select
from sqlalchemy.exc import DataError
from sqlalchemy.exc import IntegrityError as ConstraintError

from sealserve.errors import ConfigError, FormatError, IntegrityError
from sealserve.keyservice.administration.restored import check_restored
from sealserve.keyservice.administration.rows import from_plain, to_plain
from sealserve.keyservice.administration.values import Actor
from sealserve.keyservice.store.database import Database
from sealserve.keyservice.store.log import Head, Leaf, Log
from sealserve.keyservice.store.schema import META, TABLES
from sealserve.keyservice.store.store import Store
from sealserve.keyservice.wrapping import KeyEncryption

FORMAT: Final = "sealserve-keyservice-backup/1"
LINE_LIMIT: Final = 16 << 20  # bytes; the longest is a policy with everything that is revoked
ROWS_AT_ONCE: Final = 100
META_ROWS: Final = 16  # the table is read as a whole before anything is proved

Advance = Callable[[int], None]
Prove = Callable[[Connection, Log, Head], None]


@dataclass(frozen=True)
class Summary:
    """What a backup holds."""

    log_origin: str
    log_size: int
    revision: int
    rows: int


@dataclass(frozen=True)
class _Ends:
    """What the first and the last line say of the lines between them."""

    checkpoint: str
    digest: bytes
    rows: int
    mac: bytes


def write(store: Store, sink: BinaryIO, *, now: datetime, advance: Advance) -> Summary:
    """Write everything; raises StoreError, AuditError. `advance` is told of bytes."""
    digest, rows = hashlib.sha256(), 0

    def put(line: dict[str, Any]) -> None:
        data = json.dumps(line, separators=(",", ":")).encode("ascii") + b"\n"
        if len(data) > LINE_LIMIT:
            raise ConfigError(f"a row makes a line of {len(data)} bytes, and {LINE_LIMIT} are read")
        digest.update(data)
        sink.write(data)
        advance(len(data))

    with store.database.reading() as connection:
        head = store.log.read(connection)
        put({"format": FORMAT, "time": now.isoformat(), "checkpoint": head.note})
        for table in TABLES:
            put({"table": table.name, "columns": [column.name for column in table.columns]})
            for row in _rows(connection, table):
                put({"row": to_plain(row)})
                rows += 1
    mac = base64.b64encode(store.key.mac(digest.digest(), _context(rows))).decode("ascii")
    put({"end": digest.hexdigest(), "rows": rows, "mac": mac})
    return Summary(store.log.key.origin, head.size, head.revision, rows)


def restore(
    database: Database,
    kek: KeyEncryption,
    source: BinaryIO,
    *,
    actor: Actor,
    now: datetime,
    advance: Advance,
    prove: Prove,
) -> Summary:
    """Fill empty tables; all of it or nothing.

    `prove` is shown the log as it was backed up, and may refuse it. Raises FormatError for a file
    that is not whole, IntegrityError where what it holds is not authentic or is under another
    key-encryption key, ConfigError for a database in use.
    """
    with database.writing() as connection:
        if connection.execute(select(func.count()).select_from(META)).scalar_one():
            raise ConfigError(
                f"the database {database.name} is in use: a backup goes into an empty one",
                code="database-in-use",
            )
        ends = _fill(connection, source, advance)
        store = Store.of(database, connection, kek)
        _check_mac(store, ends)
        head = store.log.lock(connection)
        if head.note != ends.checkpoint:
            raise FormatError("the backup's log is not the one that it begins with", code="backup")
        check_restored(connection, store, head)
        prove(connection, store.log, head)
        facts = {
            "what": "restore",
            "by": actor.name,
            "role": actor.role,
            "restored_size": head.size,
            "revision": head.revision + 1,
        }
        leaf = Leaf.of("change", now, facts)
        store.log.append(connection, head, [leaf], revision=head.revision + 1)
    return Summary(store.log.key.origin, head.size, head.revision, ends.rows)


def _fill(connection: Connection, source: BinaryIO, advance: Advance) -> _Ends:
    """Every row into its table, as it stands there; nothing is authentic yet."""
    digest, rows = hashlib.sha256(), 0
    tables = iter(TABLES)
    table: Table | None = None
    waiting: list[dict[str, Any]] = []
    lines = _lines(source, advance)
    first, data = next(lines, ({}, b""))
    if first.get("format") != FORMAT:
        raise FormatError(f"this is no backup of a key service, {FORMAT}", code="backup")
    digest.update(data)
    for line, data in lines:
        if "end" in line:
            _flush(connection, table, waiting)
            if next(tables, None) is not None:
                raise FormatError("the backup lacks a table", code="backup")
            if next(lines, None) is not None:
                raise FormatError("the backup goes on after its end", code="backup")
            return _ends(first, line, digest.digest(), rows)
        digest.update(data)
        if "table" in line:
            _flush(connection, table, waiting)
            table = _table(next(tables, None), line)
        elif table is None or not isinstance(line.get("row"), list):
            raise FormatError("the backup has a line of another kind", code="backup")
        else:
            waiting.append(from_plain(table, line["row"]))
            rows += 1
            if table is META and rows > META_ROWS:
                raise FormatError(f"the backup has too many rows of {META.name}", code="backup")
            if len(waiting) == ROWS_AT_ONCE:
                _flush(connection, table, waiting)
    raise FormatError("the backup ends before its end: it was cut off", code="backup")


def _lines(source: BinaryIO, advance: Advance) -> Iterator[tuple[dict[str, Any], bytes]]:
    while data := source.readline(LINE_LIMIT + 1):
        if len(data) > LINE_LIMIT:
            raise FormatError(f"the backup has a line of over {LINE_LIMIT} bytes", code="backup")
        if not data.endswith(b"\n"):
            raise FormatError("the backup ends within a line: it was cut off", code="backup")
        try:
            line = json.loads(data)
        except (ValueError, RecursionError):
            line = None
        if not isinstance(line, dict):
            raise FormatError("the backup has a line that is no JSON object", code="backup")
        advance(len(data))
        yield line, data


def _table(table: Table | None, line: dict[str, Any]) -> Table:
    """The table that has to come now, if `line` announces it."""
    columns = [] if table is None else [column.name for column in table.columns]
    if table is None or (line["table"], line.get("columns")) != (table.name, columns):
        raise FormatError(
            "the backup has a table of another version, or not in its place", code="backup",
            hint="restore it with the version that wrote it, then bring the tables up to date",
        )  # fmt: skip
    return table


def _ends(first: dict[str, Any], last: dict[str, Any], digest: bytes, rows: int) -> _Ends:
    if (last["end"], last.get("rows")) != (digest.hex(), rows):
        raise FormatError("the backup is not as it was written", code="backup")
    try:
        mac = base64.b64decode(last["mac"], validate=True)
    except (KeyError, TypeError, ValueError):
        raise FormatError("the backup's end has no MAC", code="backup") from None
    return _Ends(str(first.get("checkpoint")), digest, rows, mac)


def _check_mac(store: Store, ends: _Ends) -> None:
    try:
        store.key.check_mac(ends.digest, _context(ends.rows), ends.mac)
    except IntegrityError:
        raise IntegrityError(
            "the backup does not carry the proof of the data key in it: it was altered, or put"
            " together from others",
            code="backup",
            hint="take another backup, and find out who can write to this one",
        ) from None


def _context(rows: int) -> bytes:
    return f"backup {FORMAT} {rows}".encode("ascii")


def _flush(connection: Connection, table: Table | None, waiting: list[dict[str, Any]]) -> None:
    if table is None or not waiting:
        return
    try:
        connection.execute(insert(table), waiting)
    except (ConstraintError, DataError):
        raise FormatError(
            f"the backup has a row of {table.name} twice, or one that no such table takes",
            code="backup",
        ) from None
    waiting.clear()


def _rows(connection: Connection, table: Table) -> Iterator[Any]:
    ordered = select(table).order_by(*table.primary_key.columns)
    yield from connection.execution_options(yield_per=ROWS_AT_ONCE).execute(ordered)
