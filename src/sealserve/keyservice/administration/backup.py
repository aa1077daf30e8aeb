"""The whole store in one file, and back into an empty database of either kind, here or elsewhere.

The file is lines of JSON: a head, a line for each row of each table in the order of
`schema.TABLES`, and an end with the SHA-256 of every byte before it. Bytes are base64. It is one
consistent view, taken while the service runs. No secret is in it that is not sealed, and the
key-encryption key is not in it at all: keep that elsewhere, for without it a backup opens nothing.
The records of the log are in it as they are: handle it as personal data.

What is restored is checked before it is there: every byte by the end's digest, the log by its
signed checkpoint, every row that decides by its MAC. The restored log goes on with a record that
says so. A backup is of its moment: revocations since then are not in it, and copies that remember a
longer log refuse it until they are told otherwise (docs/operations.md).
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO, Final

from sqlalchemy import Connection, LargeBinary, Table, func, insert, select

from sealserve.errors import AuditError, ConfigError, FormatError
from sealserve.keyservice.administration.values import Actor
from sealserve.keyservice.store.database import Database
from sealserve.keyservice.store.log import Head, Leaf
from sealserve.keyservice.store.rules import read_rules
from sealserve.keyservice.store.schema import META, RECORDS, TABLES
from sealserve.keyservice.store.secrets import read_all
from sealserve.keyservice.store.store import Store
from sealserve.keyservice.wrapping import KeyEncryption
from sealserve.transparency.tree import Frontier, leaf_hash

FORMAT: Final = "sealserve-keyservice-backup/1"
LINE_LIMIT: Final = 512 << 10  # bytes; the longest is a policy, or a record in base64
ROWS_AT_ONCE: Final = 1000

Advance = Callable[[int], None]


@dataclass(frozen=True)
class Summary:
    """What a backup holds."""

    log_origin: str
    log_size: int
    revision: int
    rows: int


def write(store: Store, sink: BinaryIO, *, now: datetime, advance: Advance) -> Summary:
    """Write everything; raises StoreError, AuditError. `advance` is told of bytes."""
    digest, rows = hashlib.sha256(), 0

    def put(line: dict[str, Any]) -> None:
        data = json.dumps(line, separators=(",", ":")).encode("ascii") + b"\n"
        digest.update(data)
        sink.write(data)
        advance(len(data))

    with store.database.reading() as connection:
        head = store.log.read(connection)
        put({"format": FORMAT, "time": now.isoformat(), "checkpoint": head.note})
        for table in TABLES:
            columns = [column.name for column in table.columns]
            put({"table": table.name, "columns": columns})
            for row in _rows(connection, table):
                put({"row": [_plain(value) for value in row]})
                rows += 1
    end = json.dumps({"end": digest.hexdigest(), "rows": rows}).encode("ascii") + b"\n"
    sink.write(end)
    return Summary(store.log.key.origin, head.size, head.revision, rows)


def restore(
    database: Database,
    kek: KeyEncryption,
    source: BinaryIO,
    *,
    actor: Actor,
    now: datetime,
    advance: Advance,
) -> Summary:
    """Fill empty tables; all of it or nothing.

    Raises FormatError for a file that is not whole, IntegrityError where what it holds is not
    authentic or is under another key-encryption key, ConfigError for a database in use.
    """
    with database.writing() as connection:
        if connection.execute(select(func.count()).select_from(META)).scalar_one():
            raise ConfigError(
                f"the database {database.name} is in use: a backup goes into an empty one",
                code="database-in-use",
            )
        rows = _fill(connection, source, advance)
        store = Store.of(database, connection, kek)
        head = store.log.lock(connection)
        _verify(connection, store, head)
        facts = {
            "what": "restore",
            "by": actor.name,
            "role": actor.role,
            "restored_size": head.size,
            "revision": head.revision + 1,
        }
        leaf = Leaf.of("change", now, facts)
        head = store.log.append(connection, head, [leaf], revision=head.revision + 1)
    return Summary(store.log.key.origin, head.size, head.revision, rows)


def _fill(connection: Connection, source: BinaryIO, advance: Advance) -> int:
    digest, rows = hashlib.sha256(), 0
    table: Table | None = None
    waiting: list[dict[str, Any]] = []
    known = {each.name: each for each in TABLES}
    lines = _lines(source, advance)
    first, data = next(lines, ({}, b""))
    if first.get("format") != FORMAT:
        raise FormatError("this is no backup of a key service", code="backup")
    digest.update(data)
    for line, data in lines:
        if "end" in line:
            _flush(connection, table, waiting)
            if (line["end"], line.get("rows")) != (digest.hexdigest(), rows):
                raise FormatError("the backup is not as it was written", code="backup")
            return rows
        digest.update(data)
        if "table" in line:
            _flush(connection, table, waiting)
            table = _table(known, line)
        elif table is None or not isinstance(line.get("row"), list):
            raise FormatError("the backup has a line of another kind", code="backup")
        else:
            waiting.append(_row(table, line["row"]))
            rows += 1
            if len(waiting) == ROWS_AT_ONCE:
                _flush(connection, table, waiting)
    raise FormatError("the backup ends before its end: it was cut off", code="backup")


def _lines(source: BinaryIO, advance: Advance) -> Iterator[tuple[dict[str, Any], bytes]]:
    while data := source.readline(LINE_LIMIT + 1):
        try:
            line = json.loads(data) if len(data) <= LINE_LIMIT else None
        except (ValueError, RecursionError):
            line = None
        if not isinstance(line, dict):
            raise FormatError("the backup has a line that is no JSON object", code="backup")
        advance(len(data))
        yield line, data


def _table(known: dict[str, Table], line: dict[str, Any]) -> Table:
    table = known.get(str(line["table"]))
    if table is None or line.get("columns") != [column.name for column in table.columns]:
        raise FormatError(
            "the backup has a table of another version", code="backup",
            hint="restore it with the version that wrote it, then bring the tables up to date",
        )  # fmt: skip
    return table


def _row(table: Table, values: list[Any]) -> dict[str, Any]:
    columns = list(table.columns)
    if len(values) != len(columns):
        raise FormatError(f"the backup has a short row of {table.name}", code="backup")
    try:
        return {
            column.name: base64.b64decode(value, validate=True)
            if isinstance(column.type, LargeBinary) and value is not None
            else value
            for column, value in zip(columns, values, strict=True)
        }
    except (ValueError, TypeError):
        raise FormatError(f"the backup has a damaged row of {table.name}", code="backup") from None


def _flush(connection: Connection, table: Table | None, waiting: list[dict[str, Any]]) -> None:
    if table is not None and waiting:
        connection.execute(insert(table), waiting)
        waiting.clear()


def _rows(connection: Connection, table: Table) -> Iterator[Any]:
    ordered = select(table).order_by(*table.primary_key.columns)
    yield from connection.execution_options(yield_per=ROWS_AT_ONCE).execute(ordered)


def _plain(value: Any) -> Any:
    if isinstance(value, (bytes, memoryview)):
        return base64.b64encode(value).decode("ascii")
    return value


def _verify(connection: Connection, store: Store, head: Head) -> None:
    """Every record, every row that decides."""
    frontier = Frontier.empty()
    wanted = select(RECORDS.c.index, RECORDS.c.leaf_hash, RECORDS.c.record)
    result = connection.execution_options(yield_per=ROWS_AT_ONCE).execute(
        wanted.order_by(RECORDS.c.index)
    )
    for page in result.partitions(ROWS_AT_ONCE):
        for place, (index, kept, record) in enumerate(page, frontier.size):
            if index != place or leaf_hash(bytes(record)) != bytes(kept):
                raise AuditError(f"the backup's record {place} is not as it was written")
        frontier, _ = frontier.extended(bytes(kept) for _, kept, _ in page)
    if frontier != head.frontier:
        raise AuditError("the backup's log is not the one of its checkpoint")
    read_rules(connection, head, store.key)
    for _ in read_all(connection, store.key):
        pass
