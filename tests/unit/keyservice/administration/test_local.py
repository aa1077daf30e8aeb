"""What is done to a key service: each operation, what goes on record of it, and what is refused."""

from __future__ import annotations

import json
import threading

import pytest
from sqlalchemy import select

from sealserve.errors import ConfigError, FormatError, SealServeError, StoreError, UsageError
from sealserve.keyservice.administration import targets
from sealserve.keyservice.administration.values import Actor, Query, Role, Target, TargetKind
from sealserve.keyservice.store.rules import KEPT
from sealserve.keyservice.store.schema import RULES
from sealserve.keyservice.store.secrets import VALUE_LIMIT, VERSIONS_LIMIT, SecretFacts, State
from sealserve.keyservice.store.secrets import add_version as put_version
from sealserve.keyservice.store.snapshot import RETIRED, REVOKED, Found, Missing, NotAtHand
from sealserve.verifier import INTEL_SGX_ROOT_CA_SHA256
from stores import KEK, NOW, audited, owner

REASON = "for a test"
PLATFORM = Target(TargetKind.PLATFORM, "ab" * 16)


@pytest.fixture
def store(place):
    return place.new()


@pytest.fixture
def it(store):
    return owner(store, clock=lambda: NOW)


def _versions(store, name="digits"):
    found = store.refresh().secret(name)
    assert isinstance(found, Found)
    return [(each.version, each.reveal()) for each in found.open(store.key)]


def _changes(place):
    """What is on record, without what every change says."""
    return [
        {
            name: value
            for name, value in record.items()
            if name not in ("kind", "time", "by", "role", "request_id")
        }
        for record in audited(place)
    ]


def _policy(secret="digits", root=None, measurement="00" * 32):
    return (
        "version = 2\n"
        + (f'trust_root = "{root}"\n' if root else "")
        + f'[[identities]]\nname = "a"\nmr_enclave = ["{measurement}"]\n'
        f'[[rules]]\nname = "r"\nidentities = ["a"]\nsecret = "{secret}"\n'
    )


def test_a_new_service_has_nothing_in_force(it):
    status = it.status()
    assert (status.log_size, status.revision, status.secrets) == (0, 0, 0)
    assert status.policy_sha256 is None
    assert it.policy().text is None
    assert it.secrets() == it.revocations() == it.records(Query()) == []


def test_every_change_says_who_made_it_in_what_role_and_for_which_request(place, store):
    actor = Actor("alice.example.com", Role.OWNER, "request-7")
    it = owner(store, actor=actor, clock=lambda: NOW)
    it.add_secret("digits", b"value")
    it.revoke(PLATFORM, REASON)
    for record in audited(place):
        assert record["kind"] == "change"
        assert record["time"] == NOW.isoformat()
        assert (record["by"], record["role"]) == ("alice.example.com", "owner")
        assert record["request_id"] == "request-7"


def test_the_life_of_a_secret_is_on_record_step_by_step(place, it):
    it.add_secret("digits", b"one")
    it.rotate_secret("digits", b"two")
    it.rotate_secret("digits", b"three")
    it.retire_secret("digits", 1)
    it.retire_secret("digits")
    assert _changes(place) == [
        {"revision": 1, "what": "secret.add", "secret": "digits", "version": 1},
        {"revision": 2, "what": "secret.rotate", "secret": "digits", "version": 2},
        {"revision": 3, "what": "secret.rotate", "secret": "digits", "version": 3},
        {"revision": 4, "what": "secret.retire", "secret": "digits", "versions": [1]},
        {"revision": 5, "what": "secret.retire", "secret": "digits", "versions": [3, 2]},
    ]
    assert it.status().revision == 5


def test_no_value_is_on_record(place, it):
    it.add_secret("digits", b"a-value-to-look-for")
    it.rotate_secret("digits", b"another-value-to-look-for")
    text = json.dumps(audited(place))
    for value in (b"a-value-to-look-for", b"another-value-to-look-for"):
        assert value.decode() not in text and value.hex() not in text


def test_rotation_makes_a_new_current_version_and_leaves_the_one_before_in_use(store, it):
    first = it.add_secret("digits", b"one")
    second = it.rotate_secret("digits", b"two")
    assert (first.state, second.state) == (State.CURRENT, State.CURRENT)
    assert (second.version, second.size) == (2, 3)
    assert _versions(store) == [(2, b"two"), (1, b"one")]
    assert [facts.state for facts in it.secret("digits")] == [State.CURRENT, State.USABLE]


def test_rotation_after_retirement_brings_the_name_back_but_not_what_was_retired(store, it):
    it.add_secret("digits", b"one")
    it.retire_secret("digits")
    assert store.refresh().secret("digits") == Missing(RETIRED)
    it.rotate_secret("digits", b"two")
    assert _versions(store) == [(2, b"two")]


def test_a_retired_version_is_not_released_and_the_others_are(store, it):
    it.add_secret("digits", b"one")
    it.rotate_secret("digits", b"two")
    (facts,) = it.retire_secret("digits", 1)
    assert (facts.version, facts.state) == (1, State.RETIRED)
    assert _versions(store) == [(2, b"two")]


def test_where_the_current_version_is_retired_no_older_one_takes_its_place(store, it):
    it.add_secret("digits", b"one")
    it.rotate_secret("digits", b"two")
    it.retire_secret("digits", 2)
    assert store.refresh().secret("digits") == Missing(RETIRED)


def test_retiring_again_changes_nothing(it):
    it.add_secret("digits", b"one")
    it.retire_secret("digits")
    assert it.retire_secret("digits") == []


@pytest.mark.parametrize("value", ["digits", "digits@2"])
def test_what_is_revoked_is_not_released_until_it_is_lifted(store, it, value):
    it.add_secret("digits", b"one")
    it.rotate_secret("digits", b"two")
    target = Target(TargetKind.SECRET, value)
    it.revoke(target, REASON)
    assert store.refresh().secret("digits") == Missing(REVOKED)
    it.lift(target, REASON)
    assert _versions(store) == [(2, b"two"), (1, b"one")]


def test_a_newer_version_ends_the_revocation_of_one_and_not_of_a_name(store, it):
    it.add_secret("digits", b"one")
    it.revoke(Target(TargetKind.SECRET, "digits@1"), REASON)
    it.rotate_secret("digits", b"two")
    assert _versions(store) == [(2, b"two")]
    it.revoke(Target(TargetKind.SECRET, "digits"), REASON)
    it.rotate_secret("digits", b"three")
    assert store.refresh().secret("digits") == Missing(REVOKED)


def test_revocations_are_listed_in_order_and_on_record_with_their_reason(place, it):
    it.add_secret("digits", b"one")
    revoked = [
        Target(TargetKind.SECRET, "digits"),
        Target(TargetKind.MEASUREMENT, "cd" * 32),
        Target(TargetKind.MEASUREMENT, "cd" * 48),
        Target(TargetKind.SIGNER, "ef" * 32),
        PLATFORM,
    ]
    for target in revoked:
        it.revoke(target, f"because of {target.kind}")
    assert it.revocations() == sorted(revoked)
    it.lift(PLATFORM, "a mistake")
    assert it.revocations() == sorted(set(revoked) - {PLATFORM})
    assert _changes(place)[-2:] == [
        {
            "revision": 6,
            "what": "revocation.add",
            "target": f"platform:{PLATFORM.value}",
            "reason": "because of platform",
        },
        {
            "revision": 7,
            "what": "revocation.lift",
            "target": f"platform:{PLATFORM.value}",
            "reason": "a mistake",
        },
    ]


def test_a_policy_is_in_force_once_it_was_tried(place, it):
    text = _policy()
    tried = it.try_policy(text)
    assert it.policy().text is None
    facts = it.apply_policy(text, tried.token)
    assert (facts.text, facts.sha256, facts.revision) == (text, tried.policy_sha256, 1)
    assert (facts.applied_at, facts.applied_by) == (NOW, "local:alice")
    assert _changes(place) == [
        {"revision": 1, "what": "policy.apply", "policy_sha256": tried.policy_sha256}
    ]


def test_a_policy_leaves_what_is_revoked_as_it_is(it):
    it.revoke(PLATFORM, REASON)
    it.apply_policy(_policy(), it.try_policy(_policy()).token)
    assert it.revocations() == [PLATFORM]
    assert it.policy().text == _policy()
    it.revoke(Target(TargetKind.SIGNER, "11" * 32), REASON)
    assert it.policy().text == _policy()


REFUSED = {
    "a name that is there": (lambda it: it.add_secret("digits", b"x"), "secret-exists"),
    "a name with a slash": (lambda it: it.add_secret("a/b", b"x"), "usage"),
    "a name with an at sign": (lambda it: it.add_secret("a@1", b"x"), "usage"),
    "a name with a line": (lambda it: it.add_secret("a\n", b"x"), "usage"),
    "an empty name": (lambda it: it.add_secret("", b"x"), "usage"),
    "a name that is too long": (lambda it: it.add_secret("x" * 129, b"x"), "usage"),
    "a name that is no text": (lambda it: it.add_secret("\ud800", b"x"), "usage"),
    "an empty value": (lambda it: it.add_secret("new", b""), "usage"),
    "a value that is too long": (lambda it: it.add_secret("new", bytes(VALUE_LIMIT + 1)), "usage"),
    "a record that is none": (lambda it: it.add_secret("new", b"x", b"{"), None),
    "the value of now": (lambda it: it.rotate_secret("digits", b"two"), "usage"),
    "a value of before": (lambda it: it.rotate_secret("digits", b"one"), "usage"),
    "rotating what is not there": (lambda it: it.rotate_secret("faces", b"x"), "no-secret"),
    "retiring what is not there": (lambda it: it.retire_secret("faces"), "no-secret"),
    "retiring no version": (lambda it: it.retire_secret("digits", 3), "no-version"),
    "retiring a large number": (lambda it: it.retire_secret("digits", 10**30), "no-version"),
    "showing what is not there": (lambda it: it.secret("faces"), "no-secret"),
    "showing what is no name": (lambda it: it.secret("\0"), "no-secret"),
    "revoking a name that is not there": (
        lambda it: it.revoke(Target(TargetKind.SECRET, "digit"), REASON), "no-secret",
    ),
    "revoking a version that is not there": (
        lambda it: it.revoke(Target(TargetKind.SECRET, "digits@3"), REASON), "no-version",
    ),
    "revoking without a reason": (lambda it: it.revoke(PLATFORM, " \n"), "usage"),
    "revoking with a long reason": (lambda it: it.revoke(PLATFORM, "x" * 401), "usage"),
    "lifting what is not revoked": (lambda it: it.lift(PLATFORM, REASON), "not-revoked"),
    "lifting without a reason": (lambda it: it.lift(PLATFORM, ""), "usage"),
    "a policy that is none": (lambda it: it.try_policy("version = 3"), "config"),
    "a policy that is no text": (lambda it: it.try_policy("version = 2 # \ud800"), "config"),
    "applying it untried": (lambda it: it.apply_policy(_policy(), "00" * 32), "dry-run-outdated"),
    "a token that is none": (lambda it: it.apply_policy(_policy(), "zz"), "dry-run-outdated"),
    "an empty token": (lambda it: it.apply_policy(_policy(), ""), "dry-run-outdated"),
    "a token that is no text": (lambda it: it.apply_policy(_policy(), "ü"), "dry-run-outdated"),
    "no records": (lambda it: it.records(Query(limit=0)), "usage"),
    "too many records": (lambda it: it.records(Query(limit=1001)), "usage"),
    "records after no number": (lambda it: it.records(Query(after=-2)), "usage"),
    "records after a large number": (lambda it: it.records(Query(after=1 << 63)), "usage"),
    "no digest": (lambda it: it.records(Query(evidence="00")), "usage"),
    "no word": (lambda it: it.records(Query(secret="\0")), "usage"),
    "half a surrogate pair": (lambda it: it.records(Query(outcome="\ud800")), "usage"),
    "a proof of no record": (lambda it: it.inclusion(2), "no-record"),
    "a proof of a negative one": (lambda it: it.inclusion(-1), "no-record"),
    "a log that is longer": (lambda it: it.consistency(3), "no-record"),
    "a log of negative length": (lambda it: it.consistency(-1), "no-record"),
}  # fmt: skip


@pytest.mark.parametrize(("use", "code"), REFUSED.values(), ids=REFUSED)
def test_refused_with_nothing_changed_and_nothing_on_record(place, it, use, code):
    it.add_secret("digits", b"one")
    it.rotate_secret("digits", b"two")
    before = it.status()
    with pytest.raises((UsageError, FormatError)) as refused:
        use(it)
    assert code is None or refused.value.code == code
    assert it.status() == before
    assert len(audited(place)) == 2


def test_names_and_values_at_the_limit_are_kept(store, it):
    name, value = "x" * 128, b"\xff" * VALUE_LIMIT
    it.add_secret(name, value)
    assert _versions(store, name) == [(1, value)]


def test_a_name_has_at_most_so_many_versions(store, it):
    with store.database.writing() as connection:
        for version in range(1, VERSIONS_LIMIT + 1):
            facts = SecretFacts("digits", version, State.CURRENT, 3, NOW, "a", NOW, "a")
            put_version(connection, facts, b"one", store.key)
    with pytest.raises(UsageError, match="1000 versions"):
        it.rotate_secret("digits", b"two")


def test_so_many_of_a_kind_can_be_revoked_and_one_of_them_again(it, monkeypatch):
    monkeypatch.setattr(targets, "LIMIT", 2)
    for digit in "ab":
        it.revoke(Target(TargetKind.PLATFORM, digit * 32), REASON)
    with pytest.raises(UsageError, match="the most there can be"):
        it.revoke(Target(TargetKind.PLATFORM, "c" * 32), REASON)
    it.revoke(Target(TargetKind.PLATFORM, "a" * 32), "again")
    it.revoke(Target(TargetKind.SIGNER, "a" * 64), REASON)


def test_a_policy_for_another_trust_root_is_refused_before_it_is_tried(store):
    ours = "11" * 32
    it = owner(store, trust_root_sha256=ours)
    for text in (_policy(), _policy(root="22" * 32)):
        for use in (it.try_policy, lambda text: it.apply_policy(text, "00")):
            with pytest.raises(ConfigError, match="trust root"):
                use(text)
    assert it.try_policy(_policy(root=ours)).token
    intel = owner(store, trust_root_sha256=INTEL_SGX_ROOT_CA_SHA256.hex())
    assert intel.try_policy(_policy()).token


def test_two_who_rotate_one_secret_at_once_make_two_versions(place, store):
    owner(store).add_secret("digits", b"start")
    stores = [place.reopen(), place.reopen()]
    made, faults = [], []

    def rotate(which: int) -> None:
        for number in range(10):
            try:
                value = f"{which} {number}".encode()
                made.append(owner(stores[which]).rotate_secret("digits", value).version)
            except SealServeError as error:
                faults.append(error)

    threads = [threading.Thread(target=rotate, args=(which,)) for which in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert sorted(made) == list(range(2, 22))
    states = [facts.state for facts in owner(store).secret("digits")]
    assert states == [State.CURRENT] + [State.USABLE] * 20
    assert [record["revision"] for record in audited(place)] == list(range(1, 22))


def test_two_who_add_one_name_at_once_add_it_once(place, store):
    outcomes = []
    start = threading.Barrier(2)

    def add(value: bytes) -> None:
        mine = owner(place.reopen())
        start.wait()
        try:
            outcomes.append(mine.add_secret("digits", value))
        except (UsageError, StoreError) as error:
            outcomes.append(error)

    threads = [threading.Thread(target=add, args=(value,)) for value in (b"one", b"two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (refused,) = [each for each in outcomes if isinstance(each, Exception)]
    assert refused.code == "secret-exists"
    assert len(audited(place)) == 1


def test_of_two_who_apply_a_policy_one_is_told_to_try_it_again(it):
    one, two = _policy("digits"), _policy("faces")
    tokens = [it.try_policy(text).token for text in (one, two)]
    it.apply_policy(one, tokens[0])
    with pytest.raises(UsageError) as refused:
        it.apply_policy(two, tokens[1])
    assert refused.value.code == "dry-run-outdated"
    assert it.policy().text == one


def test_another_key_encryption_key_is_on_record(place, it):
    it.rewrap(KEK)
    (change,) = _changes(place)
    assert (change["what"], change["wrapping"]) == ("wrapping.change", "file")


def test_of_rules_that_were_in_force_only_the_newest_are_kept(store, it):
    for number in range(KEPT + 5):
        it.revoke(Target(TargetKind.PLATFORM, f"{number:032x}"), REASON)
    with store.database.reading() as connection:
        numbers = connection.execute(select(RULES.c.number).order_by(RULES.c.number)).scalars()
        assert list(numbers) == list(range(6, KEPT + 6))
    assert len(it.revocations()) == KEPT + 5


def test_what_was_read_is_kept_until_something_changes(store, it):
    it.add_secret("digits", bytes(16))
    first = store.refresh()
    assert first.has("digits")
    assert store.refresh().at_hand("digits") == first.secret("digits")
    it.add_secret("more", bytes(range(16)))
    with pytest.raises(NotAtHand):
        store.refresh().at_hand("digits")
