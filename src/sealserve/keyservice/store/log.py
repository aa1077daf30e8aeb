"""The log in the database: where it ends, how it grows, and that it never shrinks or forks.

Who appends holds the lock on the one row of `head`, and with it the right to the next index:

1. Lock the row, and check it: its checkpoint is signed by the log's key, it is of the frontier
   beside it, and it is not older than what this process has seen.
2. Insert the leaves, and the nodes that they complete.
3. Sign the checkpoint of the longer log, which also names the revision of what decides, and put
   both into the row.

The transaction is the caller's: what it rolls back was never there. The source of the tree and of
the checkpoint's form is in `sealserve.transparency`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, Row, insert, select, update

from sealserve.errors import AuditError, FormatError
from sealserve.keyservice.store.schema import HEAD, NODES, RECORDS
from sealserve.transparency.checkpoint import Checkpoint, LogKey, read_checkpoint, sign
from sealserve.transparency.proofs import Subtrees, consistency_proof, verify_consistency
from sealserve.transparency.tree import Frontier, leaf_hash

LEAF_LIMIT: Final = 64 << 10  # bytes
ROLLED_BACK: Final = "audit.rolled-back"
FORKED: Final = "audit.fork"
_PUT_BACK: Final = 'docs/operations.md, "A database that was put back"'


@dataclass(frozen=True, slots=True)
class Leaf:
    """One record as it stands in the log, and what it is found by."""

    data: bytes
    hash: bytes
    time_us: int
    kind: str
    outcome: str | None = None
    secret: str | None = None
    evidence: bytes | None = None

    @classmethod
    def of(cls, kind: str, now: datetime, facts: Mapping[str, object]) -> Leaf:
        """The record of `kind`; raises AuditError when it is too long to be kept."""
        record = {"kind": kind, "time": now.isoformat(), **facts}
        data = json.dumps(record, separators=(",", ":")).encode("ascii")
        if len(data) > LEAF_LIMIT:
            raise AuditError(f"a record of {len(data)} bytes is over the limit of {LEAF_LIMIT}")
        evidence = facts.get("evidence_sha256")
        outcome, secret = facts.get("outcome"), facts.get("secret")
        return cls(
            data,
            leaf_hash(data),
            int(now.timestamp() * 1_000_000),
            kind,
            None if outcome is None else str(outcome),
            None if secret is None else str(secret),
            None if evidence is None else bytes.fromhex(str(evidence)),
        )


@dataclass(frozen=True, slots=True)
class Head:
    """Where the log ends, and the state of what decides that belongs to it."""

    frontier: Frontier
    revision: int
    """Raised by every change of a secret, the policy or a revocation."""
    rules: int
    """The row of `rules` that is in force."""
    note: str = field(repr=False)
    """The signed checkpoint."""

    @property
    def size(self) -> int:
        """How many records there are."""
        return self.frontier.size


class Log:
    """One log, by its key. Safe to use from several threads, each with its own connection."""

    def __init__(self, key: LogKey, seen: Head | None = None) -> None:
        self._key = key
        self._seen = seen
        self._lock = threading.Lock()

    @property
    def key(self) -> LogKey:
        """The key that signs its checkpoints."""
        return self._key

    @property
    def revision(self) -> int:
        """The newest revision that this process has seen; -1 for none."""
        seen = self._seen
        return -1 if seen is None else seen.revision

    def begin(self, connection: Connection) -> Head:
        """The head of an empty log, put into an empty table."""
        head = self._signed(Frontier.empty(), 0, 0)
        connection.execute(insert(HEAD).values(id=1, **_columns(head)))
        return head

    def lock(self, connection: Connection) -> Head:
        """The head, locked until the transaction ends; raises AuditError when it is not sound."""
        seen = self._seen
        return self._checked(connection.execute(_LOCKED).one_or_none(), seen)

    def read(self, connection: Connection) -> Head:
        """The head as of this transaction's view; raises AuditError when it is not sound."""
        seen = self._seen  # before it is read: another thread may see a longer log at any moment
        return self._checked(connection.execute(_HEAD).one_or_none(), seen)

    def append(
        self,
        connection: Connection,
        head: Head,
        leaves: Sequence[Leaf],
        *,
        revision: int | None = None,
        rules: int | None = None,
    ) -> Head:
        """The log with `leaves` at its end, in a transaction that holds `head` locked."""
        frontier, nodes = head.frontier.extended(leaf.hash for leaf in leaves)
        longer = self._signed(
            frontier,
            head.revision if revision is None else revision,
            head.rules if rules is None else rules,
        )
        connection.execute(_INSERT_RECORD, list(_rows(head.size, leaves)))
        if nodes:
            rows = [{"level": each.level, "index": each.index, "hash": each.hash} for each in nodes]
            connection.execute(_INSERT_NODE, rows)
        connection.execute(_UPDATE_HEAD, _columns(longer))
        return longer

    def touch(self, connection: Connection, head: Head) -> None:
        """Write the head as it is: whether that can be made durable, the commit will tell."""
        connection.execute(_UPDATE_HEAD, _columns(head))

    def saw(self, head: Head) -> None:
        """Remember a head that is durable: nothing older is accepted from now on."""
        with self._lock:
            if self._seen is None or head.size > self._seen.size:
                self._seen = head

    def checkpoint(self, note: str) -> Checkpoint:
        """What a signed checkpoint of this log says; raises AuditError."""
        return read_checkpoint(note, self._key.verifier)

    def _signed(self, frontier: Frontier, revision: int, rules: int) -> Head:
        verifier = self._key.verifier
        said = Checkpoint(verifier.origin, frontier.size, frontier.root, revision, rules)
        return Head(frontier, revision, rules, sign(said, self._key))

    def _checked(self, row: Row[int, bytes, str] | None, seen: Head | None) -> Head:
        if row is None:
            raise AuditError("the database has no log", hint="restore it from a backup")
        size, peaks, note = row
        if seen is not None and note == seen.note:
            return seen
        said = self.checkpoint(note)
        try:
            frontier = Frontier.from_bytes(size, bytes(peaks))
        except FormatError as error:
            raise AuditError(f"the log's head is not sound: {error.message}") from error
        if (said.size, said.root) != (frontier.size, frontier.root):
            raise AuditError("the log's head is not the one that its checkpoint was signed for")
        head = Head(frontier, said.revision, said.rules, note)
        if seen is not None:
            _check_newer(seen, head)
            if head.size == seen.size:  # and another note
                raise _forked(head, seen)
        return head


def check_grown(connection: Connection, old: Checkpoint, head: Head) -> None:
    """Raise AuditError unless the log at `head` begins with the log of the checkpoint `old`."""
    _check_newer(old, head)
    proof = consistency_proof(old.size, head.size, subtrees(connection))
    try:
        verify_consistency(old.size, old.root, head.size, head.frontier.root, proof)
    except AuditError as error:
        raise _forked(head, old) from error


def subtrees(connection: Connection) -> Subtrees:
    """The log's stored hashes, for proofs."""

    def read(level: int, start: int, stop: int) -> Sequence[bytes]:
        table, column = (NODES, NODES.c.hash) if level else (RECORDS, RECORDS.c.leaf_hash)
        wanted = select(column).where(table.c.index >= start, table.c.index < stop)
        if level:
            wanted = wanted.where(NODES.c.level == level)
        return [
            bytes(each) for each in connection.execute(wanted.order_by(table.c.index)).scalars()
        ]

    return Subtrees(read)


def _check_newer(old: Checkpoint | Head, new: Head) -> None:
    """Raise AuditError where `new` cannot come after `old`, whatever proofs may say.

    Each number alone tells: a log that was put back and then grew past its old end is longer than
    `old`, and what decides under it is older all the same.
    """
    if new.size < old.size or new.revision < old.revision or new.rules < old.rules:
        raise AuditError(
            f"the log has {new.size} records, revision {new.revision} and rules {new.rules}, and"
            f" had {old.size}, {old.revision} and {old.rules} before: the database was put back to"
            " an older state, and revocations with it",
            code=ROLLED_BACK,
            hint=_PUT_BACK,
        )


def _forked(new: Head, old: Checkpoint | Head) -> AuditError:
    return AuditError(
        f"the log of {new.size} records does not begin with the {old.size} that it had before: the"
        " database was put back and grew anew, or was changed",
        code=FORKED,
        hint=_PUT_BACK,
    )


def _rows(start: int, leaves: Sequence[Leaf]) -> Iterator[dict[str, object]]:
    for index, leaf in enumerate(leaves, start):
        yield {
            "index": index,
            "leaf_hash": leaf.hash,
            "record": leaf.data,
            "time_us": leaf.time_us,
            "kind": leaf.kind,
            "outcome": leaf.outcome,
            "secret": leaf.secret,
            "evidence": leaf.evidence,
        }


def _columns(head: Head) -> dict[str, object]:
    return {"size": head.size, "frontier": head.frontier.to_bytes(), "checkpoint": head.note}


_HEAD: Final = select(HEAD.c.size, HEAD.c.frontier, HEAD.c.checkpoint).where(HEAD.c.id == 1)
_LOCKED: Final = _HEAD.with_for_update()
_INSERT_RECORD: Final = insert(RECORDS)
_INSERT_NODE: Final = insert(NODES)
_UPDATE_HEAD: Final = update(HEAD).where(HEAD.c.id == 1)
