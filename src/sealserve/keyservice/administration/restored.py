"""Whether what a backup filled the tables with is sound, before any of it is durable.

A backup is as its service wrote it; whether somebody had altered the database before, its MAC
cannot tell. So everything that is derived is computed anew: the tree over the records and the nodes
that are stored of it, what records are found by, and every MAC of what decides.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, func, select

from sealserve.errors import AuditError
from sealserve.keyservice.store.log import Head, Leaf
from sealserve.keyservice.store.rules import read_rules
from sealserve.keyservice.store.schema import NODES, RECORDS, RULES
from sealserve.keyservice.store.secrets import read_all
from sealserve.keyservice.store.store import Store
from sealserve.transparency.tree import Frontier, Node, leaf_hash

PAGE: Final = 100  # records


def check_restored(connection: Connection, store: Store, head: Head) -> None:
    """Raise IntegrityError unless every record and every row that decides belongs to `head`."""
    frontier, nodes = _check_records(connection)
    if frontier != head.frontier:
        raise AuditError("the backup's log is not the one of its checkpoint")
    if connection.execute(select(func.count()).select_from(NODES)).scalar_one() != nodes:
        raise AuditError("the backup has other nodes than those of its log's tree")
    read_rules(connection, head, store.key)
    newest = connection.execute(select(func.max(RULES.c.number))).scalar_one()
    if newest != head.rules:
        raise AuditError(f"the backup has rules {newest}, and its log names {head.rules}")
    for _ in read_all(connection, store.key):
        pass


def _check_records(connection: Connection) -> tuple[Frontier, int]:
    """The tree over all records, and how many nodes of it are stored; raises AuditError."""
    frontier, nodes = Frontier.empty(), 0
    while page := _page(connection, frontier.size):
        for place, row in enumerate(page, frontier.size):
            _check_record(place, row)
        frontier, complete = frontier.extended(bytes(row.leaf_hash) for row in page)
        _check_nodes(connection, complete)
        nodes += len(complete)
    return frontier, nodes


def _page(connection: Connection, start: int) -> Sequence[Row[*tuple[Any, ...]]]:
    wanted = select(RECORDS).where(RECORDS.c.index >= start).order_by(RECORDS.c.index).limit(PAGE)
    return connection.execute(wanted).all()


def _check_record(place: int, row: Row[*tuple[Any, ...]]) -> None:
    index, hashed, record, *found = row
    if index != place or leaf_hash(record) != hashed:
        raise AuditError(f"the backup's record {place} is not as it was written")
    try:
        facts = json.loads(record)
        kind, time = facts.pop("kind"), datetime.fromisoformat(facts.pop("time"))
        leaf = Leaf.of(kind, time, facts)
    except (
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        ArithmeticError,
        RecursionError,
    ) as error:
        raise AuditError(f"the backup's record {place} is none of this version's") from error
    if found != [leaf.time_us, leaf.kind, leaf.outcome, leaf.secret, leaf.evidence]:
        raise AuditError(f"the backup's record {place} would be found by what it does not say")


def _check_nodes(connection: Connection, complete: list[Node]) -> None:
    for node in complete:
        here = (NODES.c.level == node.level) & (NODES.c.index == node.index)
        if connection.execute(select(NODES.c.hash).where(here)).scalar_one_or_none() != node.hash:
            raise AuditError("the backup has other nodes than those of its log's tree")
