"""Somebody writes to the database past the service: what notices it, and when.

Three things may: the service, which then refuses to decide; a proof, where somebody holds a
checkpoint from before; and only whoever reads the whole log and computes it anew (an audit). The
name of each test says which.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from sqlalchemy import URL

from sealserve.errors import AuditError, IntegrityError, SealServeError
from sealserve.keyservice.administration.values import Target, TargetKind
from sealserve.keyservice.store.log import FORKED, ROLLED_BACK, subtrees
from sealserve.keyservice.store.memory import forget
from sealserve.keyservice.store.snapshot import REVOKED, Found, Missing
from sealserve.keyservice.store.store import Store
from sealserve.transparency.proofs import verify_inclusion
from sealserve.transparency.tree import leaf_hash
from stores import KEK, Place, Watching, append, appending, audited, leaf, owner, write

RECORDS = 300  # past the first node that is stored
REASON = "for a test"


@dataclass
class Grown:
    """A store with secrets, rules and a log, and what one copy remembered of it on the way."""

    place: Place
    store: Store

    @property
    def last(self) -> int:
        (row,) = self.place.sql('SELECT max("index") FROM records')
        return row[0]

    def restart(self) -> Store:
        """As the service starts: the keys, the memory, what decides."""
        store = self.place.reopen()
        memory = self.place.memory(store)
        memory.recall()
        with store.database.reading() as connection:
            memory.settle(connection, store.log.read(connection))
        store.refresh()
        return store


@pytest.fixture
def grown(place) -> Grown:
    store = place.new()
    memory = place.memory(store)
    administration = owner(store, memory=memory)
    administration.add_secret("digits", b"one of digits")
    administration.add_secret("faces", b"one of faces")
    administration.rotate_secret("digits", b"two of digits")
    administration.revoke(Target(TargetKind.PLATFORM, "00" * 16), REASON)
    administration.revoke(Target(TargetKind.PLATFORM, "11" * 16), REASON)
    write(store, *map(leaf, range(RECORDS - 20)))
    memory.keep(store.refresh().head)
    write(store, *map(leaf, range(20)))
    assert len(audited(place)) == RECORDS + 5
    return Grown(place, store)


def test_what_nobody_touched_goes_on_after_a_restart(grown):
    store = grown.restart()
    with appending(grown.place, store) as appender:
        (receipt,) = append(appender, leaf(1), revision=5)
    assert receipt.index == RECORDS + 5
    found = store.snapshot.secret("digits")
    assert isinstance(found, Found)
    assert [each.reveal() for each in found.open(store.key)] == [b"two of digits", b"one of digits"]


def _set(statement: str, *values: object) -> Callable[[Grown], object]:
    return lambda grown: grown.place.sql(statement, *values)


def _cut(grown: Grown) -> None:
    grown.place.sql('DELETE FROM records WHERE "index" > ?', grown.last - 5)


def _flip(table: str, column: str, where: str) -> Callable[[Grown], object]:
    """One bit of the first byte."""

    def flip(grown: Grown) -> None:
        ((value,),) = grown.place.sql(f"SELECT {column} FROM {table} WHERE {where}")
        altered = bytes([value[0] ^ 1]) + bytes(value[1:])
        grown.place.sql(f"UPDATE {table} SET {column} = ? WHERE {where}", altered)

    return flip


def _other_log(grown: Grown) -> None:
    ((note,),) = grown.place.sql("SELECT checkpoint FROM head")
    grown.place.sql("UPDATE head SET checkpoint = ?", note.replace("revision 5", "revision 4"))


def _older_rules(grown: Grown) -> None:
    ((document, mac),) = grown.place.sql("SELECT document, mac FROM rules WHERE number = 1")
    grown.place.sql("UPDATE rules SET document = ?, mac = ? WHERE number = 2", document, mac)


def _none_revoked(grown: Grown) -> None:
    ((document,),) = grown.place.sql("SELECT document FROM rules WHERE number = 2")
    edited = bytes(document).replace(b"11" * 16, b"22" * 16)
    assert edited != bytes(document)
    grown.place.sql("UPDATE rules SET document = ? WHERE number = 2", edited)


REFUSED_AT_START = {
    "the frontier is altered": _flip("head", "frontier", "id = 1"),
    "the frontier is cut": _set("UPDATE head SET frontier = ?", b""),
    "the size is another": _set("UPDATE head SET size = size - 1"),
    "the checkpoint says another revision": _other_log,
    "the checkpoint is no note": _set("UPDATE head SET checkpoint = 'nothing'"),
    "the head is gone": _set("DELETE FROM head"),
    "newer rules are replaced by older ones": _older_rules,
    "a revocation is edited out of the rules": _none_revoked,
    "the proof of the rules is altered": _flip("rules", "mac", "number = 2"),
    "the rules are gone": _set("DELETE FROM rules WHERE number = 2"),
    "the data key is altered": _flip("meta", "value", "name = 'data_key'"),
    "the log key is altered": _flip("meta", "value", "name = 'log_key'"),
    "the log has another name": _set(
        "UPDATE meta SET value = ? WHERE name = 'log_origin'", b"keys.example.com/other"
    ),
}


@pytest.mark.parametrize("tamper", REFUSED_AT_START.values(), ids=REFUSED_AT_START)
def test_a_copy_does_not_start_when(grown, tamper):
    tamper(grown)
    with pytest.raises(IntegrityError):
        grown.restart()


REFUSED_BY_PROOF = {
    "the last records are removed": (_cut, "audit.tree"),
    "a record's hash is altered": (
        _flip("records", "leaf_hash", f'"index" = {RECORDS + 1}'), FORKED,
    ),
    "a node is removed": (_set("DELETE FROM nodes"), "audit.tree"),
    "a node is altered": (_flip("nodes", "hash", '"index" = 0'), FORKED),
}  # fmt: skip


@pytest.mark.parametrize(("tamper", "code"), REFUSED_BY_PROOF.values(), ids=REFUSED_BY_PROOF)
def test_the_proof_at_the_start_of_a_copy_that_remembers_fails_when(grown, tamper, code):
    tamper(grown)
    with pytest.raises(AuditError) as refused:
        grown.restart()
    assert refused.value.code == code


def _swap(grown: Grown) -> None:
    rows = grown.place.sql("SELECT name, document, sealed, mac FROM secrets WHERE version = 1")
    (one, *ones), (other, *others) = rows
    for name, values in ((one, others), (other, ones)):
        grown.place.sql(
            "UPDATE secrets SET document = ?, sealed = ?, mac = ? WHERE name = ? AND version = 1",
            *values, name,
        )  # fmt: skip


def _renamed(grown: Grown) -> None:
    grown.place.sql("DELETE FROM secrets WHERE name = 'digits'")
    grown.place.sql("UPDATE secrets SET name = 'digits' WHERE name = 'faces'")


def _other_version(grown: Grown) -> None:
    grown.place.sql("DELETE FROM secrets WHERE name = 'digits' AND version = 2")
    grown.place.sql("UPDATE secrets SET version = 2 WHERE name = 'digits'")


def _state(grown: Grown) -> None:
    ((document,),) = grown.place.sql(
        "SELECT document FROM secrets WHERE name = 'digits' AND version = 1"
    )
    edited = bytes(document).replace(b'"usable"', b'"current"')
    assert edited != bytes(document)
    grown.place.sql("UPDATE secrets SET document = ? WHERE name = 'digits' AND version = 1", edited)


REFUSED_WHEN_ASKED_FOR = {
    "two secrets are exchanged": _swap,
    "another secret takes the name": _renamed,
    "an older version takes the number of a newer one": _other_version,
    "its state is set back": _state,
    "its value is altered": _flip("secrets", "sealed", "name = 'digits' AND version = 1"),
    "its proof is altered": _flip("secrets", "mac", "name = 'digits' AND version = 2"),
    "its proof is cut": _set("UPDATE secrets SET mac = ?", b""),
}


@pytest.mark.parametrize("tamper", REFUSED_WHEN_ASKED_FOR.values(), ids=REFUSED_WHEN_ASKED_FOR)
def test_a_secret_is_not_released_when(grown, tamper):
    tamper(grown)
    with pytest.raises(IntegrityError) as refused:
        grown.restart().snapshot.secret("digits")
    assert refused.value.code == "datakey.mac"


def test_rules_of_another_store_are_refused_though_its_keys_are_wrapped_alike(grown, tmp_path):
    other = Place(URL.create("sqlite", database=str(tmp_path / "other.db")), tmp_path)
    their = other.new()
    for number in range(3):
        owner(their).revoke(Target(TargetKind.SIGNER, f"{number:064x}"), REASON)
    ((document, mac),) = other.sql("SELECT document, mac FROM rules WHERE number = 2")
    their.close()

    grown.place.sql("UPDATE rules SET document = ?, mac = ? WHERE number = 2", document, mac)
    with pytest.raises(IntegrityError) as refused:
        grown.restart()
    assert refused.value.code == "datakey.mac"


def test_another_store_in_its_place_is_refused_by_the_memory(grown):
    """Genuine keys, wrapped by the same key-encryption key, and a log that verifies."""
    put_away = grown.place.keep()
    for table in ("meta", "rules", "secrets", "records", "nodes", "head"):
        grown.place.sql(f'DELETE FROM "{table}"')
    Store.initialise(grown.place.database(), KEK, origin="keys.example.com/test")
    with pytest.raises(AuditError) as refused:
        grown.restart()
    assert refused.value.code == "audit.checkpoint"
    with appending(grown.place, grown.store) as appender, pytest.raises(AuditError):
        append(appender, leaf(1))
    put_away()


def test_a_running_copy_refuses_a_head_that_its_key_did_not_sign_and_goes_on_after(grown):
    ((note,),) = grown.place.sql("SELECT checkpoint FROM head")
    _other_log(grown)
    with appending(grown.place, grown.store) as appender:
        with pytest.raises(AuditError):
            append(appender, leaf(1))
        grown.place.sql("UPDATE head SET checkpoint = ?", note)
        append(appender, leaf(2))
    assert len(audited(grown.place)) == RECORDS + 6


ONLY_BY_AN_AUDIT = {
    "a record is edited": _flip("records", "record", '"index" = 17'),
    "two records change places": lambda grown: [
        grown.place.sql('UPDATE records SET "index" = ? WHERE "index" = ?', to, old)
        for old, to in ((17, 9999), (18, 17), (9999, 18))
    ],
}


@pytest.mark.parametrize("tamper", ONLY_BY_AN_AUDIT.values(), ids=ONLY_BY_AN_AUDIT)
def test_only_an_audit_or_the_proof_of_that_record_tells_that(grown, tamper):
    tamper(grown)
    store = grown.restart()  # nothing is noticed

    with pytest.raises(AssertionError):
        audited(grown.place)
    said = owner(store).inclusion(17)
    head = store.log.checkpoint(said.checkpoint)
    with pytest.raises(AuditError):
        verify_inclusion(leaf_hash(said.data), 17, head.size, said.proof, head.root)


def test_a_record_that_is_gone_is_named_by_who_asks_for_it(grown):
    grown.place.sql('DELETE FROM records WHERE "index" = 17')
    with pytest.raises(AuditError) as refused:
        owner(grown.store).inclusion(17)
    assert refused.value.code == "audit.tree"
    with pytest.raises(AssertionError):
        audited(grown.place)


def test_only_an_audit_tells_that_a_genuine_older_row_of_a_secret_was_put_back(grown):
    """Which is why what must not come back is revoked, and not only retired."""
    row = grown.place.sql("SELECT document, sealed, mac FROM secrets WHERE name = 'faces'")[0]
    administration = owner(grown.store)
    administration.retire_secret("faces")
    grown.place.sql(
        "UPDATE secrets SET document = ?, sealed = ?, mac = ? WHERE name = 'faces'", *row
    )
    assert isinstance(grown.restart().snapshot.secret("faces"), Found)

    record = audited(grown.place)[-1]
    assert (record["what"], record["secret"], record["versions"]) == ("secret.retire", "faces", [1])
    (facts,) = administration.secret("faces")
    assert facts.state == "current"  # and the log says retired


@pytest.mark.parametrize("revoked", ["faces", "faces@1"])
def test_no_older_row_brings_back_what_is_revoked(grown, revoked):
    row = grown.place.sql("SELECT document, sealed, mac FROM secrets WHERE name = 'faces'")[0]
    administration = owner(grown.store)
    administration.revoke(Target(TargetKind.SECRET, revoked), REASON)
    administration.retire_secret("faces")
    grown.place.sql(
        "UPDATE secrets SET document = ?, sealed = ?, mac = ? WHERE name = 'faces'", *row
    )
    assert grown.restart().snapshot.secret("faces") == Missing(REVOKED)


def test_no_older_version_takes_the_place_of_one_that_was_revoked_and_removed(grown):
    row = grown.place.sql("SELECT document, sealed, mac FROM secrets WHERE name = 'faces'")[0]
    administration = owner(grown.store)
    administration.rotate_secret("faces", b"two of faces")
    administration.revoke(Target(TargetKind.SECRET, "faces@2"), REASON)
    grown.place.sql("DELETE FROM secrets WHERE name = 'faces' AND version = 2")
    grown.place.sql(
        "UPDATE secrets SET document = ?, sealed = ?, mac = ? WHERE name = 'faces'", *row
    )
    assert grown.restart().snapshot.secret("faces") == Missing(REVOKED)


@dataclass
class PutBack:
    """A database that was put back to before a revocation."""

    grown: Grown
    put_back: Callable[[], None]


@pytest.fixture
def rolled(grown) -> PutBack:
    put_back = grown.place.keep()
    memory = grown.place.memory(grown.store)
    owner(grown.store, memory=memory).revoke(Target(TargetKind.SECRET, "digits"), REASON)
    return PutBack(grown, put_back)


def test_a_running_copy_refuses_a_database_that_was_put_back_at_its_next_batch(rolled):
    watching = Watching()
    with appending(rolled.grown.place, rolled.grown.store, watching) as appender:
        append(appender, leaf(1))
        rolled.put_back()
        with pytest.raises(AuditError) as refused:
            append(appender, leaf(2))
        assert appender.failing == ROLLED_BACK
    assert refused.value.code == ROLLED_BACK
    assert watching.rollbacks == 1
    with pytest.raises(AuditError):
        rolled.grown.store.refresh()


def test_a_restarted_copy_refuses_a_database_that_was_put_back(rolled):
    rolled.put_back()
    with pytest.raises(AuditError) as refused:
        rolled.grown.restart()
    assert refused.value.code == ROLLED_BACK


def test_a_change_is_refused_on_a_database_that_was_put_back(rolled):
    rolled.put_back()
    store = rolled.grown.place.reopen()
    with pytest.raises(AuditError) as refused:
        owner(store, memory=rolled.grown.place.memory(store)).retire_secret("digits")
    assert refused.value.code == ROLLED_BACK
    assert rolled.grown.place.sql("SELECT size FROM head") == [(RECORDS + 5,)]


def test_a_log_that_was_put_back_and_grew_past_its_end_is_refused_by_its_revision(rolled):
    """Longer than before, but what decides is older: a running copy needs no proof to tell."""
    rolled.put_back()
    write(rolled.grown.place.reopen(), *map(leaf, range(10)))
    with pytest.raises(AuditError) as refused:
        rolled.grown.store.refresh()
    assert refused.value.code == ROLLED_BACK
    with pytest.raises(AuditError) as refused:
        rolled.grown.restart()
    assert refused.value.code == ROLLED_BACK


def test_the_other_branch_of_a_fork_is_refused_at_a_start_and_while_running(rolled):
    """Two copies of one database grew apart, each with genuine keys."""
    grown = rolled.grown
    with appending(grown.place, grown.store) as appender:
        append(appender, leaf(1))
        rolled.put_back()
        other = grown.place.reopen()
        for platform in ("aa", "bb"):
            owner(other).revoke(Target(TargetKind.PLATFORM, platform * 16), REASON)
        write(other, *map(leaf, range(10)))
        with pytest.raises(AuditError) as running:
            append(appender, leaf(2), revision=7)
    assert running.value.code == FORKED
    with pytest.raises(AuditError) as starting:
        grown.restart()
    assert starting.value.code == FORKED
    assert len(audited(grown.place)) == RECORDS + 17  # each branch is sound by itself


def test_a_fork_of_the_same_length_is_refused_without_a_proof(grown):
    put_back = grown.place.keep()
    write(grown.store, leaf(1))
    put_back()
    write(grown.place.reopen(), leaf(2))
    with pytest.raises(AuditError) as refused:
        grown.store.refresh()
    assert refused.value.code == FORKED


def test_whoever_accepts_an_older_log_says_so_by_forgetting(rolled):
    rolled.put_back()
    forget(rolled.grown.place.folder / "state")
    assert rolled.grown.restart().snapshot.head.revision == 5


def test_a_proof_reads_the_nodes_as_an_auditor_gets_them(grown):
    store = grown.restart()
    for index in (0, 5, 255, 256, RECORDS + 4):
        said = owner(store).inclusion(index)
        head = store.log.checkpoint(said.checkpoint)
        verify_inclusion(leaf_hash(said.data), index, head.size, said.proof, head.root)
    with store.database.reading() as connection:
        assert subtrees(connection).root(8, 0)
    assert json.loads(said.data)["kind"] == "decision"
    with pytest.raises(SealServeError):
        owner(store).inclusion(RECORDS + 5)
