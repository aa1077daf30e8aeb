"""A secret's row that was put back, removed or added: the whole log says how it has to stand."""

from __future__ import annotations

import pytest

from sealserve.errors import AuditError
from sealserve.keyservice.administration.recorded_states import RecordedStates
from sealserve.keyservice.administration.verifying import verify_log
from sealserve.keyservice.store.secrets import SecretFacts, State, add_version
from stores import NOW, leaf, owner, write


@pytest.fixture
def store(place):
    return place.new()


@pytest.fixture
def it(store):
    found = owner(store)
    for name in ("digits", "faces", "voices"):
        found.add_secret(name, b"one")
    found.rotate_secret("digits", b"two")
    found.rotate_secret("digits", b"three")
    found.retire_secret("digits", 1)
    found.retire_secret("faces")
    found.rotate_secret("faces", b"two")
    write(store, *map(leaf, range(1500)))  # more than a page
    found.retire_secret("voices")
    return found


def _compare(store, it) -> bool:
    states = RecordedStates(it)
    head = verify_log(states, store.log.key.verifier, None, lambda _: None)
    return states.compare(head.revision)


def _rows(place, name, version):
    return place.sql(
        "SELECT document, sealed, mac FROM secrets WHERE name = ? AND version = ?", name, version
    )[0]


def _put_back(place, row, name, version):
    place.sql(
        "UPDATE secrets SET document = ?, sealed = ?, mac = ? WHERE name = ? AND version = ?",
        *row, name, version,
    )  # fmt: skip


def test_secrets_that_only_the_service_changed_are_as_the_log_leaves_them(store, it):
    assert _compare(store, it)


def test_secrets_that_are_changed_meanwhile_are_not_compared(store, it):
    states = RecordedStates(it)
    head = verify_log(states, store.log.key.verifier, None, lambda _: None)
    it.retire_secret("digits")
    assert not states.compare(head.revision)


def test_a_retired_version_that_was_put_back_is_told(place, store, it):
    row = _rows(place, "faces", 2)
    it.retire_secret("faces", 2)
    _put_back(place, row, "faces", 2)
    with pytest.raises(AuditError, match="version 2 of the secret 'faces' is current") as refused:
        _compare(store, it)
    assert refused.value.code == "audit.secrets"


def test_a_rotation_that_was_undone_is_told(place, store, it):
    row = _rows(place, "digits", 3)
    it.rotate_secret("digits", b"four")
    place.sql("DELETE FROM secrets WHERE name = 'digits' AND version = 4")
    _put_back(place, row, "digits", 3)
    with pytest.raises(AuditError, match="version 3 of the secret 'digits' is current"):
        _compare(store, it)


def test_a_version_that_was_removed_is_told(place, store, it):
    place.sql("DELETE FROM secrets WHERE name = 'digits' AND version = 2")
    with pytest.raises(AuditError, match="version 2 of the secret 'digits' is missing"):
        _compare(store, it)


def test_a_version_that_no_record_speaks_of_is_told(store, it):
    with store.database.writing() as connection:
        facts = SecretFacts("quiet", 1, State.CURRENT, 3, NOW, "a", NOW, "a")
        add_version(connection, facts, b"one", store.key)
    with pytest.raises(AuditError, match="not there by the log"):
        _compare(store, it)
