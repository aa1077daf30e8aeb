"""A policy is tried on the evidence on record, and applied only on what it was tried on."""

from __future__ import annotations

import pytest

from made_claims import claims, sgx_enclave
from sealserve.errors import UsageError
from sealserve.keyservice.administration import dry_run
from sealserve.keyservice.administration.values import Target, TargetKind
from sealserve.keyservice.store.log import Leaf
from stores import NOW, leaf, owner, write

REASON = "for a test"
KNOWN, NEW = b"\x01" * 32, b"\x02" * 32


def _policy(*measurements: bytes, secret: str = "digits") -> str:
    listed = ", ".join(f'"{each.hex()}"' for each in measurements)
    return (
        f'version = 2\n[[identities]]\nname = "a"\nmr_enclave = [{listed}]\n'
        f'[[rules]]\nname = "r"\nidentities = ["a"]\nsecret = "{secret}"\n'
    )


def _decision(measurement: bytes, outcome: str, **facts: object) -> Leaf:
    found = claims(sgx_enclave(mr_enclave=measurement))
    granted = {"secret": "digits", "code": "policy.granted"} if outcome == "released" else {}
    said = {"code": "policy.no-rule", "asked_for": None, "asked_secret": None, **granted, **facts}
    return Leaf.of("decision", NOW, {"claims": found.as_dict(), "outcome": outcome, **said})


@pytest.fixture
def store(place):
    return place.new()


@pytest.fixture
def it(store):
    found = owner(store, clock=lambda: NOW)
    found.add_secret("digits", b"value")
    return found


def test_it_counts_what_would_be_decided_otherwise_and_shows_it(store, it):
    write(
        store,
        *[_decision(KNOWN, "released")] * 3,
        *[_decision(NEW, "denied")] * 2,
        Leaf.of("decision", NOW, {"outcome": "rejected", "code": "format", "claims": None}),
    )
    same = it.try_policy(_policy(KNOWN))
    assert same.counts["same"] == 6 - same.counts["not decidable"]
    assert same.counts["now allowed"] == same.counts["now denied"] == 0
    assert same.changed == ()

    other = it.try_policy(_policy(NEW))
    assert (other.counts["now allowed"], other.counts["now denied"]) == (2, 3)
    assert len(other.changed) == 5
    assert other.changed[0].startswith("record ")

    renamed = it.try_policy(_policy(KNOWN, secret="faces"))
    assert renamed.counts["another secret"] == 3


def test_it_looks_at_the_newest_decisions_and_shows_the_first_of_them(store, it, monkeypatch):
    monkeypatch.setattr(dry_run, "DECISIONS", 50)
    write(store, *[_decision(KNOWN, "released")] * 60, *[_decision(NEW, "denied")] * 40)
    found = it.try_policy(_policy(NEW))
    assert (found.counts["now allowed"], found.counts["now denied"]) == (40, 10)
    assert len(found.changed) == dry_run.SHOWN


def test_records_that_it_cannot_read_are_counted_and_not_its_end(store, it):
    write(store, leaf(1), Leaf.of("decision", NOW, {"outcome": "denied", "claims": {"a": [1]}}))
    assert sum(it.try_policy(_policy(KNOWN)).counts.values()) == 2


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"null", b"\xff", b"[" * 50_000, b'{"outcome": []}', b'{"claims": 1}'],
    ids=lambda data: ascii(data[:20]),
)
def test_records_that_somebody_edited_are_counted_and_not_its_end(place, store, it, data):
    write(store, leaf(1))
    place.sql('UPDATE records SET record = ? WHERE "index" = 1', data)
    assert it.try_policy(_policy(KNOWN)).counts["not decidable"] == 1


def test_it_names_the_secrets_that_are_granted_and_missing(it):
    assert it.try_policy(_policy(KNOWN)).missing_secrets == ()
    assert it.try_policy(_policy(KNOWN, secret="faces")).missing_secrets == ("faces",)


def test_it_changes_nothing(store, it):
    before = it.status()
    it.try_policy(_policy(KNOWN))
    assert it.status() == before


def test_records_of_decisions_do_not_outdate_it(store, it):
    tried = it.try_policy(_policy(KNOWN))
    write(store, _decision(KNOWN, "denied"))
    assert it.apply_policy(_policy(KNOWN), tried.token).revision == tried.revision + 1


CHANGES = {
    "a secret is added": lambda it: it.add_secret("faces", b"value"),
    "a secret is rotated": lambda it: it.rotate_secret("digits", b"newer"),
    "a secret is retired": lambda it: it.retire_secret("digits"),
    "something is revoked": lambda it: it.revoke(Target(TargetKind.SIGNER, "00" * 32), REASON),
    "a revocation is lifted": lambda it: it.lift(Target(TargetKind.PLATFORM, "00" * 16), REASON),
    "the same policy is applied": lambda it: it.apply_policy(
        _policy(KNOWN), it.try_policy(_policy(KNOWN)).token
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_its_token_is_refused_after(it, change):
    it.revoke(Target(TargetKind.PLATFORM, "00" * 16), REASON)
    token = it.try_policy(_policy(KNOWN)).token
    change(it)
    with pytest.raises(UsageError) as refused:
        it.apply_policy(_policy(KNOWN), token)
    assert refused.value.code == "dry-run-outdated"


def test_its_token_is_of_that_policy_and_no_other(it):
    token = it.try_policy(_policy(KNOWN)).token
    for text in (_policy(NEW), _policy(KNOWN) + "\n", _policy(KNOWN, secret="faces")):
        with pytest.raises(UsageError):
            it.apply_policy(text, token)


def test_its_token_is_of_that_store_and_no_other(it, tmp_path, sqlite_place):
    other = type(sqlite_place)(sqlite_place.url.set(database=str(tmp_path / "o.db")), tmp_path)
    elsewhere = other.new()
    owner(elsewhere).add_secret("digits", b"value")
    token = owner(elsewhere).try_policy(_policy(KNOWN)).token
    elsewhere.close()
    with pytest.raises(UsageError):
        it.apply_policy(_policy(KNOWN), token)
