"""A release rests on what is in force as it goes on record: not a moment before, in no copy.

Changes are made by a process' own connection to the same database, as the commands make them; no
service is told of any.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from sqlalchemy import Connection

from key_site import MEASUREMENT, SIGNER, Site
from sealserve.attester.named import fetch_named
from sealserve.attester.secrets import fetch_secret
from sealserve.errors import DeniedError, UsageError
from sealserve.evidence.ratls import RatlsEvidence
from sealserve.keyservice.administration.values import Target
from sealserve.keyservice.application import Loaded
from sealserve.keyservice.verification import open_verifier
from sealserve.keyservice.verifiers import Verifier
from sealserve.verifier import Claims

NEW = b"the new key of the digits model!"
NEWEST = b"the key after the new one, still"
OTHER_ENCLAVE = f'mr_enclave = ["{"00" * 32}"]'
WHY = "for a test"


def fetch(running, identity=None, **options):
    return fetch_secret(
        running.servers,
        ca_file=running.site.ca_file,
        identity=identity or running.site.identity(),
        timeout=30,
        **options,
    )


def ask(running, *names, **options):
    return fetch_named(
        running.servers,
        names,
        ca_file=running.site.ca_file,
        identity=running.site.identity(),
        timeout=30,
        **options,
    )


def values(running):
    """Every version of the secret that an ask by name gives, in its order."""
    return tuple(each.value for each in ask(running, "digits").secrets["digits"].versions)


def denied(running, code):
    """The next request gets nothing, and the record says why; returns the record."""
    with pytest.raises(DeniedError, match="without a secret"):
        fetch(running)
    record = running.site.records()[-1]
    assert (record["outcome"], record["code"]) == ("denied", code)
    assert (record["secret"], record["versions"]) == (None, [])
    return record


def revoke(site, kind, value):
    with site.administration() as administration:
        administration.revoke(Target.parse(kind, value), WHY)


def lift(site, kind, value):
    with site.administration() as administration:
        administration.lift(Target.parse(kind, value), WHY)


def platform(site):
    """The platform of the lab, as a record names it."""
    return site.records()[0]["claims"]["ppid"]


@dataclass(frozen=True)
class Withdrawal:
    """A way to take back what was allowed; `code` is on record, `undo` gives it again."""

    do: Callable[[Site], None]
    undo: Callable[[Site], None]
    code: str


def withdrawal(kind, value, code):
    def of(site):
        return value(site) if callable(value) else value

    return pytest.param(
        Withdrawal(
            lambda site: revoke(site, kind, of(site)),
            lambda site: lift(site, kind, of(site)),
            code,
        ),
        id=f"{kind} revoked",
    )


WITHDRAWALS = [
    pytest.param(
        Withdrawal(
            lambda site: site.write_policy(OTHER_ENCLAVE),
            lambda site: site.write_policy(),
            "policy.measurement",
        ),
        id="another policy",
    ),
    withdrawal("secret", "digits", "secret.revoked"),
    withdrawal("measurement", MEASUREMENT.hex(), "policy.revoked"),
    withdrawal("signer", SIGNER.hex(), "policy.revoked"),
    withdrawal("platform", platform, "policy.revoked"),
]


@pytest.mark.parametrize("withdrawn", WITHDRAWALS)
def test_what_is_withdrawn_is_denied_from_the_next_release_on_until_it_is_given_again(
    running, withdrawn
):
    site = running.site
    assert fetch(running) == site.secret
    withdrawn.do(site)
    denied(running, withdrawn.code)
    withdrawn.undo(site)
    assert fetch(running) == site.secret
    revisions = [record["revision"] for record in site.records()]
    assert revisions == [2, 3, 4]
    assert site.check_log() == 7


@pytest.mark.parametrize("withdrawn", WITHDRAWALS)
def test_every_copy_denies_though_none_was_told(site, start, withdrawn):
    """The second has kept what decides from its own release before the change."""
    second = site.write_config("second.toml", state="state-2")
    with start(site) as one, start(site, second) as other:
        assert fetch(one) == fetch(other) == site.secret
        withdrawn.do(site)
        denied(other, withdrawn.code)
        denied(one, withdrawn.code)
        withdrawn.undo(site)
        assert fetch(other) == fetch(one) == site.secret
    assert site.check_log() == 10


@dataclass
class Held:
    """A verifier that waits, once it has verified, until the test lets it go on: once."""

    real: Verifier
    verified: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)

    @property
    def basis(self):
        return self.real.basis

    def claims_at_hand(self, evidence: RatlsEvidence, grace: timedelta) -> Claims | None:
        return None

    async def claims(self, evidence: RatlsEvidence, grace: timedelta) -> Claims:
        claims = await self.real.claims(evidence, grace)
        self.verified.set()
        await asyncio.to_thread(self.go_on.wait, 30)
        return claims

    def renew(self) -> None:
        self.real.renew()

    def close(self) -> None:
        self.go_on.set()
        self.real.close()


@pytest.fixture
def decided_while(site, start) -> Iterator[Callable]:
    """Run `change` while a request is being decided on; what the request then got."""

    def run(change, request=fetch):
        def held(loaded: Loaded) -> Verifier:
            return Held(open_verifier(loaded.verification, loaded.config))

        got: list[object] = []

        def asking() -> None:
            try:
                got.append(request(running))
            except Exception as error:  # noqa: BLE001  (the test looks at it)
                got.append(error)

        with start(site, make_verifier=held) as running:
            thread = threading.Thread(target=asking)
            thread.start()
            try:
                assert running.verifier.verified.wait(30)
                change(site)
            finally:
                running.verifier.go_on.set()
                thread.join()
        (found,) = got
        return found

    return run


@pytest.mark.parametrize("withdrawn", WITHDRAWALS[:4])
def test_what_is_withdrawn_while_a_release_is_decided_is_denied(site, decided_while, withdrawn):
    assert isinstance(decided_while(withdrawn.do), DeniedError)
    (record,) = site.records()
    assert (record["outcome"], record["code"]) == ("denied", withdrawn.code)
    assert record["revision"] == 3  # decided anew by what was in force as it went on record
    assert [each["kind"] for each in site.log()][-2:] == ["change", "decision"]


def test_what_is_rotated_while_a_release_is_decided_is_released_in_its_new_version(
    site, decided_while
):
    def rotate(site):
        with site.administration() as administration:
            administration.rotate_secret("digits", NEW)

    assert decided_while(rotate) == NEW
    (record,) = site.records()
    assert (record["secret"], record["versions"]) == ("digits", [2])


def test_what_is_allowed_while_a_denial_is_decided_is_released(site, decided_while):
    site.write_policy(OTHER_ENCLAVE)
    assert decided_while(lambda site: site.write_policy()) == site.secret
    (record,) = site.records()
    assert record["outcome"] == "released"


def test_a_release_that_waits_for_the_lock_of_a_change_is_decided_by_it(site, start):
    """The change holds the database while the release, decided before, wants to go on record."""
    with start(site) as running, site.administration() as administration:
        fetch(running)
        got: list[object] = []
        decided = threading.Event()
        put_on_record = running.service._put_on_record

        async def announced(ask, judgement):
            decided.set()
            return await put_on_record(ask, judgement)

        running.service._put_on_record = announced

        def asking() -> None:
            try:
                got.append(fetch(running))
            except DeniedError as error:
                got.append(error)

        thread = threading.Thread(target=asking)
        locked_by_change = administration._store.log.append

        def slowly(*arguments, **options):
            thread.start()
            assert decided.wait(30)
            return locked_by_change(*arguments, **options)

        administration._store.log.append = slowly
        administration.revoke(Target.parse("secret", "digits"), WHY)
        thread.join()
    assert isinstance(got[0], DeniedError)
    first, second = site.records()
    assert (first["outcome"], second["code"]) == ("released", "secret.revoked")
    assert [each["kind"] for each in site.log()] == ["change"] * 2 + [
        "decision",
        "change",
        "decision",
    ]


# The life of a key


def rotated(site, *values):
    with site.administration() as administration:
        for value in values:
            administration.rotate_secret("digits", value)


def test_after_a_rotation_gramines_client_gets_the_new_version_and_a_named_ask_all_in_use(
    running,
):
    site = running.site
    rotated(site, NEW, NEWEST)
    assert fetch(running) == NEWEST
    assert values(running) == (NEWEST, NEW, site.secret)
    assert [record["versions"] for record in site.records()] == [[3], [3, 2, 1]]


def test_a_retired_version_is_released_no_more_and_the_others_go_on(running):
    site = running.site
    rotated(site, NEW)
    with site.administration() as administration:
        administration.retire_secret("digits", 1)
    assert values(running) == (NEW,)
    with site.administration() as administration:
        administration.retire_secret("digits")
    denied(running, "secret.retired")
    rotated(site, NEWEST)
    assert values(running) == (NEWEST,)


def test_an_older_version_that_is_revoked_is_left_out(running):
    rotated(running.site, NEW)
    revoke(running.site, "secret", "digits@1")
    assert values(running) == (NEW,)


def test_where_the_current_version_is_revoked_nothing_is_released_until_there_is_a_newer_one(
    running,
):
    """An older key in its place would open files that its owner no longer stands behind."""
    rotated(running.site, NEW)
    revoke(running.site, "secret", "digits@2")
    denied(running, "secret.revoked")
    assert ask(running, "digits", required=()).denied == ("digits",)
    rotated(running.site, NEWEST)
    assert fetch(running) == NEWEST


def test_a_revoked_secret_comes_back_by_no_rotation(running):
    revoke(running.site, "secret", "digits")
    rotated(running.site, NEW)
    denied(running, "secret.revoked")


def test_a_value_that_was_there_before_is_no_rotation(site):
    rotated(site, NEW)
    with pytest.raises(UsageError, match="already"):
        rotated(site, site.secret)
    assert site.check_log() == 3


# What must not stand in the way of a change


def test_to_revoke_something_waits_for_no_collateral(running):
    site = running.site
    assert fetch(running) == site.secret
    (site.folder / "lab" / "collateral" / "pck.crl").unlink()
    revoke(site, "secret", "digits")
    denied(running, "secret.revoked")


@dataclass
class Overtaken:
    """A connection whose first answer is no longer the newest when it arrives."""

    real: Connection
    meanwhile: Callable[[], None]

    def execute(self, statement):
        answer = self.real.execute(statement)
        self.meanwhile()
        return answer


def test_a_head_that_another_thread_overtakes_while_it_is_read_is_no_older_database(running):
    store, before = running.loaded.store, running.loaded.store.refresh().head

    def release() -> None:
        fetch(running)
        assert store.refresh().head.size == before.size + 1

    with store.database.reading() as connection:
        assert store.log.read(Overtaken(connection, release)).size == before.size
