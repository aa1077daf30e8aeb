"""What of a secret may be released, and what a flood of names costs."""

from __future__ import annotations

import tracemalloc

import pytest

from sealserve.keyservice.store.secrets import SecretFacts, State, StoredSecret, add_version
from sealserve.keyservice.store.snapshot import (
    KEPT,
    RETIRED,
    REVOKED,
    UNKNOWN,
    Found,
    Missing,
    usable,
)
from stores import NOW, owner

C, U, R = State.CURRENT, State.USABLE, State.RETIRED


def _version(number: int, state: State, name: str = "digits") -> StoredSecret:
    return StoredSecret(SecretFacts(name, number, state, 5, NOW, "a", NOW, "a"), b"")


CASES = {
    "nothing": ([], [], UNKNOWN),
    "one": ([C], [], [1]),
    "several": ([C, U, U], [], [3, 2, 1]),
    "an older one is retired": ([C, R, U], [], [3, 1]),
    "the newest is retired": ([R, U], [], RETIRED),
    "all are retired": ([R, R], [], RETIRED),
    "the name is revoked": ([C, U], ["digits"], REVOKED),
    "the name is revoked and retired": ([R], ["digits"], REVOKED),
    "the newest is revoked": ([C, U], ["digits@2"], REVOKED),
    "an older one is revoked": ([C, U], ["digits@1"], [2]),
    "a newer one than there is was revoked": ([C, U], ["digits@3"], REVOKED),
    "another name is revoked": ([C], ["digit", "digits2@1", "digits2", "igits@1"], [1]),
    "a number that only begins alike": ([C] + [U] * 10, ["digits@1"], list(range(11, 1, -1))),
}


@pytest.mark.parametrize(("states", "revoked", "expected"), CASES.values(), ids=CASES)
def test_what_may_be_released_of(states, revoked, expected):
    versions = [_version(len(states) - n, state) for n, state in enumerate(states)]
    found = usable(versions, frozenset(revoked))
    if isinstance(expected, str):
        assert found == Missing(expected)
    else:
        assert isinstance(found, Found)
        assert [each.facts.version for each in found.versions] == expected


def test_a_snapshot_keeps_saying_what_was_in_force_until_it_is_refreshed(place):
    store = place.new()
    administration = owner(store)
    administration.add_secret("digits", b"one")
    before = store.refresh()
    assert before.has("digits")
    administration.retire_secret("digits")
    assert before.has("digits")
    after = store.refresh()
    assert after.secret("digits") == Missing(RETIRED)
    assert after.head.revision == before.head.revision + 1


def test_whoever_made_a_change_sees_it_at_the_next_refresh(place):
    store = place.new()
    for number in range(20):
        owner(store).add_secret(f"s{number}", b"value")
        assert store.refresh().head.revision == number + 1


@pytest.mark.parametrize(
    "name", ["", "\0", "\ud800", "ü", "a\n", "x" * 129, "x" * 100_000, "'; --"], ids=lambda n: n[:5]
)
def test_a_name_that_no_secret_has_is_unknown_whatever_it_is(place, name):
    store = place.new()
    assert store.refresh().secret(name) == Missing(UNKNOWN)


def test_a_flood_of_unknown_names_is_not_kept(sqlite_place):
    store = sqlite_place.new()
    owner(store).add_secret("digits", b"value")
    snapshot = store.refresh()
    asked = 0
    store._versions = lambda name: []  # what the database says of them; the rest is as it runs
    object.__setattr__(snapshot, "_read", store._versions)
    tracemalloc.start()
    try:
        for asked in range(KEPT):
            snapshot.secret(f"{asked:0128d}")
        full, _ = tracemalloc.get_traced_memory()
        for asked in range(KEPT, 3 * KEPT):
            snapshot.secret(f"{asked:0128d}")
            assert len(snapshot._kept) <= KEPT
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < full * 1.3
    assert after < 16 << 20


@pytest.mark.timeout(300)
def test_ten_thousand_secrets_are_all_found_and_the_first_ones_again(place):
    store = place.new()
    with store.database.writing() as connection:
        for number in range(10_000):
            facts = SecretFacts(f"s{number}", 1, State.CURRENT, 4, NOW, "a", NOW, "a")
            add_version(connection, facts, f"{number:04d}".encode(), store.key)
    snapshot = store.refresh()
    for number in [*range(0, 10_000, 7), 0, 7, 9_999]:
        found = snapshot.secret(f"s{number}")
        assert isinstance(found, Found)
        assert found.open(store.key)[0].reveal() == f"{number:04d}".encode()
    assert owner(store).status().secrets == 10_000
    assert len(owner(store).secrets()) == 10_000
