"""Truncation, edit, reorder and fork of a log are each found, and the first difference is named."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grown_log import GrownLog
from sealserve.errors import AuditError, SealServeError, UsageError
from sealserve.keyservice.administration import verifying
from sealserve.keyservice.administration.values import Consistency, Inclusion, Query, Record
from sealserve.keyservice.administration.verifying import verify_file, verify_log, verify_proof
from sealserve.transparency.checkpoint import Checkpoint, LogKey, read_checkpoint, sign
from sealserve.transparency.proofs import consistency_proof, inclusion_proof

KEY = LogKey.from_seed("keys.example.com/audit", bytes(range(32)))
OTHER_KEY = LogKey.from_seed("keys.example.com/audit", bytes(32))
PAGE = 8


def record(number: int) -> bytes:
    return b'{"number":%d}' % number


RECORDS = [record(number) for number in range(100)]


class Held:
    """A log as a service holds it: the tree of `records`, and what it gives out for them."""

    def __init__(self, records: Sequence[bytes], given: Sequence[bytes | None] | None = None):
        self.grown = GrownLog(records)
        self.given = list(records if given is None else given)
        self.key = KEY
        self.asked = 0

    def note(self, size: int | None = None, revision: int = 7) -> str:
        size = len(self.grown.leaves) if size is None else size
        return sign(Checkpoint(KEY.origin, size, self.grown.root(size), revision, 1), self.key)

    def checkpoint(self) -> str:
        return self.note()

    def records(self, query: Query) -> list[Record]:
        self.asked += 1
        start = query.after + 1
        found = [
            Record(index, data)
            for index, data in enumerate(self.given)
            if index >= start and data is not None
        ]
        return found[: query.limit]

    def consistency(self, old_size: int) -> Consistency:
        self.asked += 1
        size = len(self.grown.leaves)
        if old_size > size:
            raise UsageError("there is no such log", code="no-record")
        proof = consistency_proof(old_size, size, self.grown.subtrees)
        return Consistency(old_size, proof, self.note())


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifying, "PAGE", PAGE)


def checkpoint(records: Sequence[bytes], revision: int = 7) -> Checkpoint:
    return read_checkpoint(Held(records).note(revision=revision), KEY.verifier)


def verified(log: Held, since: Checkpoint | None = None) -> Checkpoint:
    counted: list[int] = []
    head = verify_log(log, KEY.verifier, since, counted.append)
    assert sum(counted) == head.size
    return head


@pytest.mark.parametrize("size", [0, 1, PAGE - 1, PAGE, PAGE + 1, 100])
@pytest.mark.parametrize("old", [None, 0, 1, PAGE, 100])
def test_a_log_that_is_as_it_was_verifies_since_any_checkpoint(size: int, old: int | None) -> None:
    if old is not None and old > size:
        return
    since = None if old is None else checkpoint(RECORDS[:old])
    assert verified(Held(RECORDS[:size]), since).size == size


def swapped(records: Sequence[bytes], one: int, two: int) -> list[bytes]:
    found = list(records)
    found[one], found[two] = found[two], found[one]
    return found


@pytest.mark.parametrize(
    ("given", "code", "text"),
    [
        ([*RECORDS[:40], b"{}", *RECORDS[41:]], "audit.record", "record 40 is not"),
        ([b"{}", *RECORDS[1:]], "audit.record", "record 0 is not"),
        ([*RECORDS[:99], b"{}"], "audit.record", "record 99 is not"),
        (swapped(RECORDS, 17, 64), "audit.record", "record 17 is not"),
        (RECORDS[:30] + RECORDS[31:] + [b"{}"], "audit.record", "record 30 is not"),
        (RECORDS[:70], "audit.missing", "record 70 is missing"),
        ([*RECORDS[:55], None, *RECORDS[56:]], "audit.missing", "record 55 is missing"),
        ([None, *RECORDS[1:]], "audit.missing", "record 0 is missing"),
        ([], "audit.missing", "record 0 is missing"),
    ],
    ids=[
        "one edited",
        "the first edited",
        "the last edited",
        "two reordered",
        "one taken out and the rest moved up",
        "the end cut off",
        "one deleted",
        "the first deleted",
        "all deleted",
    ],
)
def test_what_a_service_gives_out_otherwise_is_found_and_named(
    given: list[bytes | None], code: str, text: str
) -> None:
    with pytest.raises(AuditError, match=text) as found:
        verified(Held(RECORDS, given))
    assert found.value.code == code


@given(st.integers(1, 100), st.data())
def test_the_first_record_that_differs_is_named_wherever_it_is(
    size: int, data: st.DataObject
) -> None:
    first = data.draw(st.integers(0, size - 1))
    others = data.draw(st.sets(st.integers(first, size - 1)))
    given = [
        b"{}" if index == first or index in others else each
        for index, each in enumerate(RECORDS[:size])
    ]
    log = Held(RECORDS[:size], given)
    with pytest.raises(AuditError, match=f"record {first} is not"):
        verified(log)
    assert log.asked < size // PAGE + 20


def rewritten(log: Held) -> Held:
    """The same number of records, and a tree to match, signed by the same key."""
    return Held([b"{}", *RECORDS[1 : len(log.grown.leaves)]])


@pytest.mark.parametrize(
    ("log", "since", "code"),
    [
        (Held(RECORDS[:60]), checkpoint(RECORDS[:80]), "audit.rolled-back"),
        (Held(RECORDS[:60]), checkpoint(RECORDS[:60], revision=9), "audit.rolled-back"),
        (rewritten(Held(RECORDS)), checkpoint(RECORDS[:50]), "audit.consistency"),
        (rewritten(Held(RECORDS)), checkpoint(RECORDS), "audit.consistency"),
    ],
    ids=[
        "truncated, tree and all",
        "an older state of what decides",
        "a fork that went on",
        "a fork of the same size",
    ],
)
def test_what_was_done_to_the_log_with_its_key_shows_beside_an_older_checkpoint(
    log: Held, since: Checkpoint, code: str
) -> None:
    verified(log)  # by itself it is sound
    with pytest.raises(AuditError) as found:
        verified(log, since)
    assert found.value.code == code


def test_a_head_of_another_key_is_refused() -> None:
    log = Held(RECORDS)
    log.key = OTHER_KEY
    with pytest.raises(AuditError) as found:
        verified(log)
    assert found.value.code == "audit.checkpoint"


# In a file


def exported(records: Sequence[bytes]) -> io.BytesIO:
    return io.BytesIO(b"".join(each + b"\n" for each in records))


def in_file(
    records: Sequence[bytes],
    note: str | None = None,
    since: Checkpoint | None = None,
    log: Callable[[Sequence[bytes]], io.BytesIO] = exported,
) -> Checkpoint:
    note = Held(RECORDS).note() if note is None else note
    stream, counted = log(records), [0]
    head = verify_file(stream, note, KEY.verifier, since, counted.append)
    assert sum(counted) == len(stream.getvalue())
    return head


@pytest.mark.parametrize("old", [None, 0, 1, 64, 100])
def test_an_export_verifies_offline(old: int | None) -> None:
    since = None if old is None else checkpoint(RECORDS[:old])
    assert in_file(RECORDS, since=since).size == 100
    assert in_file([], Held([]).note()).size == 0


@pytest.mark.parametrize(
    ("records", "since", "code", "text"),
    [
        (RECORDS[:99], None, "audit.truncated", "from record 99 on"),
        ([], None, "audit.truncated", "from record 0 on"),
        ([*RECORDS, b"{}"], None, "audit.longer", "record 100 and those after"),
        ([b"{}", *RECORDS[1:]], None, "audit.record", "somewhere"),
        (swapped(RECORDS, 1, 2), None, "audit.record", "somewhere"),
        ([b"{}", *RECORDS[1:]], 50, "audit.fork", "the first 50 records"),
        ([*RECORDS[:99], b"{}"], 50, "audit.record", "after record 49"),
        (RECORDS, 120, "audit.rolled-back", "had 120 before"),
        ([b"x" * (64 << 10) + b"x", *RECORDS[1:]], None, "audit.line", "record 0 is too long"),
    ],
    ids=[
        "truncated",
        "empty",
        "longer",
        "edited",
        "reordered",
        "edited before the older checkpoint",
        "edited after the older checkpoint",
        "shorter than it was",
        "a line without end",
    ],
)
def test_a_file_that_is_not_the_log_is_found(
    records: Sequence[bytes], since: int | None, code: str, text: str
) -> None:
    longer = [record(number) for number in range(150)]
    kept = None if since is None else checkpoint(longer[:since])
    with pytest.raises(AuditError, match=text) as found:
        in_file(records, since=kept)
    assert found.value.code == code


def test_a_last_line_that_was_cut_is_found() -> None:
    stream = io.BytesIO(exported(RECORDS).getvalue()[:-1])
    with pytest.raises(AuditError) as found:
        in_file(RECORDS, log=lambda _: stream)
    assert found.value.code == "audit.line"


@given(st.binary(max_size=300), st.text(max_size=200))
def test_whatever_is_in_the_files_only_our_errors_come_out(data: bytes, note: str) -> None:
    for text in (note, Held(RECORDS[:3]).note()):
        try:
            verify_file(io.BytesIO(data), text, KEY.verifier, None, lambda _: None)
        except SealServeError:
            continue


# One record


def proof_of(index: int) -> Inclusion:
    log = Held(RECORDS)
    proof = inclusion_proof(index, 100, log.grown.subtrees)
    return Inclusion(index, RECORDS[index], proof, log.note())


def test_a_proof_holds_for_its_record_at_its_place_and_for_no_other() -> None:
    good = proof_of(17)
    assert verify_proof(good, KEY.verifier).size == 100
    for bad in (
        Inclusion(17, RECORDS[18], good.proof, good.checkpoint),
        Inclusion(18, good.data, good.proof, good.checkpoint),
        Inclusion(17, good.data, good.proof[:-1], good.checkpoint),
        Inclusion(17, good.data, good.proof, Held(RECORDS[:99]).note()),
    ):
        with pytest.raises(AuditError):
            verify_proof(bad, KEY.verifier)
    with pytest.raises(AuditError):
        verify_proof(good, OTHER_KEY.verifier)
