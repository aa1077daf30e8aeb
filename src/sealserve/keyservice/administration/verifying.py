"""Whether a log is what its checkpoints say: all of its records are read, and its root computed.

1. The checkpoint is signed by the key that the caller names.
2. Where there is an older checkpoint, the log begins with the log of that one.
3. The records, every one of them and in order, have the root that the checkpoint signs.

Of a log that a service holds, the first record that differs is found by bisection: the service
proves of shorter and shorter beginnings that they are its log's, or cannot. Of a file there is
nothing to ask, and only what checkpoints part can be told apart. Nothing that the service says is
believed but for what it signs and proves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final, NoReturn, Protocol

from sealserve.errors import AuditError, UsageError
from sealserve.keyservice.administration.values import (
    PAGE,
    Consistency,
    Inclusion,
    Query,
    Record,
)
from sealserve.keyservice.store.log import LEAF_LIMIT
from sealserve.transparency.checkpoint import Checkpoint, LogVerifier, read_checkpoint
from sealserve.transparency.proofs import verify_consistency, verify_inclusion
from sealserve.transparency.tree import Frontier, leaf_hash

Advance = Callable[[int], None]
_HINT: Final = "keep this log and the checkpoints: somebody changed one of them"


class Source(Protocol):
    """As much of an `Administration` as is asked here."""

    def checkpoint(self) -> str:
        """The signed note of the log's head."""
        ...

    def records(self, query: Query) -> list[Record]:
        """At most PAGE records."""
        ...

    def consistency(self, old_size: int) -> Consistency:
        """Proof that nothing before `old_size` was touched."""
        ...


@dataclass(frozen=True)
class _Grown:
    """The root over the records so far, and what it was where pages began."""

    frontier: Frontier
    marks: tuple[Frontier, ...]


def verify_log(
    source: Source, verifier: LogVerifier, since: Checkpoint | None, advance: Advance
) -> Checkpoint:
    """The checkpoint that the whole log at `source` was found to have.

    `since` is one that was kept. Raises AuditError, which names the first record that differs.
    """
    head = _head(source, verifier, since)
    grown = _Grown(Frontier.empty(), ())
    marks: list[Frontier] = []
    frontier = Frontier.empty()
    for page in pages(source, head.size):
        marks.append(frontier)
        frontier, _ = frontier.extended(leaf_hash(record.data) for record in page)
        advance(len(page))
    grown = _Grown(frontier, tuple(marks))
    if frontier.root != head.root:
        _locate(source, verifier, head, grown)
    return head


def verify_file(
    stream: BinaryIO, note: str, verifier: LogVerifier, since: Checkpoint | None, advance: Advance
) -> Checkpoint:
    """The same for an exported log, of one record a line, and the checkpoint exported with it.

    `advance` is told of bytes. Raises AuditError.
    """
    head = read_checkpoint(note, verifier)
    if since is not None and since.size > head.size:
        raise _shorter(head.size, since.size)
    frontier = Frontier.empty()
    old_root = None
    for data in lines(stream):
        if since is not None and frontier.size == since.size:
            old_root = frontier.root
        frontier, _ = frontier.extended([leaf_hash(data)])
        advance(len(data) + 1)
    if since is not None and frontier.size == since.size:
        old_root = frontier.root
    if frontier.size < head.size:
        _refuse(
            "audit.truncated",
            f"the file has {frontier.size} records, and the checkpoint speaks for {head.size}:"
            f" from record {frontier.size} on they are missing",
        )
    if frontier.size > head.size:
        _refuse(
            "audit.longer",
            f"the file has {frontier.size} records, and the checkpoint speaks for {head.size}:"
            f" nothing vouches for record {head.size} and those after it",
        )
    if since is not None and old_root != since.root:
        _refuse("audit.fork", f"the first {since.size} records are not those of the older log")
    if frontier.root != head.root:
        where = f"after record {since.size - 1}" if since and since.size else "somewhere"
        _refuse("audit.record", f"a record {where} was changed, removed, added or moved")
    return head


def verify_proof(found: Inclusion, verifier: LogVerifier) -> Checkpoint:
    """The checkpoint under whose root the record stands; raises AuditError."""
    head = read_checkpoint(found.checkpoint, verifier)
    verify_inclusion(leaf_hash(found.data), found.index, head.size, found.proof, head.root)
    return head


def pages(source: Source, size: int) -> Iterator[Sequence[Record]]:
    """The first `size` records, each once and in order; raises AuditError where one is missing."""
    done = 0
    while done < size:
        page = source.records(Query(after=done - 1, limit=min(PAGE, size - done)))
        found = [record.index for record in page]
        for expected, index in enumerate(found or [size], done):
            if index != expected:
                _refuse("audit.missing", f"record {expected} is missing")
        yield page
        done += len(page)


def lines(stream: BinaryIO) -> Iterator[bytes]:
    """The records of an exported log; raises AuditError for a line that cannot be one."""
    number = 0
    while line := stream.readline(LEAF_LIMIT + 1):
        if not line.endswith(b"\n"):
            _refuse("audit.line", f"record {number} is too long, or the file ends within it")
        yield line[:-1]
        number += 1


def _head(source: Source, verifier: LogVerifier, since: Checkpoint | None) -> Checkpoint:
    """Steps 1 and 2."""
    if since is None:
        return read_checkpoint(source.checkpoint(), verifier)
    try:
        found = source.consistency(since.size)
    except UsageError as error:
        if error.code != "no-record":
            raise
        size = read_checkpoint(source.checkpoint(), verifier).size
        raise _shorter(size, since.size) from None
    head = read_checkpoint(found.checkpoint, verifier)
    verify_consistency(since.size, since.root, head.size, head.root, found.proof)
    if head.revision < since.revision:
        _refuse("audit.rolled-back", "what is in force is older than it was")
    return head


def _locate(source: Source, verifier: LogVerifier, head: Checkpoint, grown: _Grown) -> NoReturn:
    """Name the first record that is not the log's."""
    try:
        index = _first_difference(source, verifier, grown)
    except AuditError as error:
        _refuse("audit.record", f"the records do not have the signed root; {error.message}")
    if index is None:
        _refuse("audit.fork", f"the log has signed two heads of which {head.size} is one")
    _refuse("audit.record", f"record {index} is not the one that the log was signed for")


def _first_difference(source: Source, verifier: LogVerifier, grown: _Grown) -> int | None:
    def is_theirs(beginning: Frontier) -> bool:
        found = source.consistency(beginning.size)
        head = read_checkpoint(found.checkpoint, verifier)
        try:
            verify_consistency(beginning.size, beginning.root, head.size, head.root, found.proof)
        except AuditError:
            return False
        return True

    beginnings = [*grown.marks, grown.frontier]
    at = _last(beginnings, is_theirs)
    if at == len(beginnings) - 1:
        return None
    start, stop = beginnings[at], beginnings[at + 1]
    records = source.records(Query(after=start.size - 1, limit=stop.size - start.size))
    within = [start]
    for record in records:
        within.append(within[-1].extended([leaf_hash(record.data)])[0])
    return within[_last(within, is_theirs)].size


def _last(beginnings: Sequence[Frontier], is_theirs: Callable[[Frontier], bool]) -> int:
    """The last of which it is true: it is true of the first, and then of none after a false one."""
    low, high = 0, len(beginnings)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if is_theirs(beginnings[middle]) else (low, middle)
    return low


def _shorter(found: int, before: int) -> AuditError:
    return AuditError(
        f"the log has {found} records, and had {before} before",
        code="audit.rolled-back",
        hint='docs/operations.md, "A database that was put back"',
    )


def _refuse(code: str, problem: str) -> NoReturn:
    raise AuditError(f"the audit log is not what it was: {problem}", code=code, hint=_HINT)
