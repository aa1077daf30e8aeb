"""Records are found by what they are about, a page at a time, and proved to whoever has a note."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256

import pytest

from sealserve.keyservice.administration.values import Query, Record
from sealserve.keyservice.store.log import Leaf
from sealserve.transparency.checkpoint import LogVerifier, read_checkpoint
from sealserve.transparency.proofs import verify_consistency, verify_inclusion
from sealserve.transparency.tree import leaf_hash
from stores import NOW, audited, owner, write

EVIDENCE = [sha256(bytes([number])).hexdigest() for number in range(3)]
OUTCOMES = ("released", "denied")
TOKYO = timezone(timedelta(hours=9))


def _leaf(number: int) -> Leaf:
    facts = {
        "number": number,
        "outcome": OUTCOMES[number % 2],
        "secret": "digits" if number % 2 == 0 else None,
        "evidence_sha256": EVIDENCE[number % 3],
    }
    return Leaf.of("decision", NOW + timedelta(seconds=number), facts)


@pytest.fixture
def it(place):
    store = place.new()
    write(store, *map(_leaf, range(20)))
    return owner(store)


def _numbers(records: list[Record]) -> list[int]:
    return [json.loads(record.data)["number"] for record in records]


def _at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


FOUND = {
    "everything": (Query(), range(20)),
    "the first": (Query(limit=3), range(3)),
    "what comes after": (Query(after=16), range(17, 20)),
    "nothing after the end": (Query(after=19), []),
    "nothing after a large number": (Query(after=(1 << 63) - 1), []),
    "the newest": (Query(newest_first=True, limit=2), [19, 18]),
    "older than": (Query(newest_first=True, after=2), [1, 0]),
    "nothing older than the first": (Query(newest_first=True, after=0), []),
    "of an outcome": (Query(outcome="denied"), range(1, 20, 2)),
    "of a secret": (Query(secret="digits"), range(0, 20, 2)),
    "of no such secret": (Query(secret="faces"), []),
    "of a kind": (Query(kind="change"), []),
    "of evidence": (Query(evidence=EVIDENCE[1]), range(1, 20, 3)),
    "of evidence in capitals": (Query(evidence=EVIDENCE[1].upper()), range(1, 20, 3)),
    "since": (Query(since=_at(17)), range(17, 20)),
    "until, and not at": (Query(until=_at(3)), range(3)),
    "of one microsecond": (Query(since=_at(5), until=_at(5.000001)), [5]),
    "in another zone": (Query(since=_at(17).astimezone(TOKYO)), range(17, 20)),
    "long before": (Query(until=datetime(1, 1, 2, tzinfo=UTC)), []),
    "all of it at once": (
        Query(outcome="released", secret="digits", evidence=EVIDENCE[0], since=_at(1)), [6, 12, 18],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("query", "numbers"), FOUND.values(), ids=FOUND)
def test_records_are_found(it, query, numbers):
    assert _numbers(it.records(query)) == list(numbers)


def test_pages_one_after_the_other_are_the_whole_log(it):
    found, after = [], -1
    while page := it.records(Query(after=after, limit=7)):
        found += page
        after = page[-1].index
    assert [record.index for record in found] == list(range(20))


def test_a_record_is_the_very_bytes_that_were_hashed(place, it):
    audited(place)
    (record,) = it.records(Query(after=6, limit=1))
    assert record.index == 7
    assert record.data == _leaf(7).data


def test_every_record_is_proved_under_the_checkpoint_that_comes_with_it(it):
    for index in range(20):
        said = it.inclusion(index)
        head = _head(it, said.checkpoint)
        verify_inclusion(leaf_hash(said.data), index, head.size, said.proof, head.root)
        assert said.data == _leaf(index).data


def test_every_older_log_is_proved_to_be_the_beginning(place):
    store = place.new()
    it = owner(store)
    notes = [it.checkpoint()]
    for number in range(9):
        write(store, _leaf(number))
        notes.append(it.checkpoint())
    for note in notes:
        old = _head(it, note)
        said = it.consistency(old.size)
        new = _head(it, said.checkpoint)
        verify_consistency(old.size, old.root, new.size, new.root, said.proof)
        assert new.size == 9


def test_what_somebody_wrote_past_the_end_of_the_log_is_no_record(place, it):
    place.sql(
        'INSERT INTO records ("index", leaf_hash, record, time_us, kind)'
        " SELECT \"index\" + 1000, leaf_hash, record, time_us, 'decision' FROM records"
    )
    assert len(it.records(Query())) == 20
    assert it.records(Query(newest_first=True, limit=1))[0].index == 19
    assert sum(it.try_policy("version = 2").counts.values()) == 20


def _head(it, note):
    return read_checkpoint(note, LogVerifier.parse(it.log_key()))
