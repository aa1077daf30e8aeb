"""Group commit on real databases: what becomes durable together, and what is refused."""

from __future__ import annotations

import asyncio
import threading

import pytest

from sealserve.errors import AuditError, StoreError
from sealserve.keyservice.administration.values import Target, TargetKind
from sealserve.keyservice.store import appender as module
from sealserve.keyservice.store.appender import Appender, Stale
from stores import Watching, append, appending, audited, leaf, owner

POLICY = (
    'version = 2\n[[identities]]\nname = "a"\nmr_enclave = ["' + "00" * 32 + '"]\n'
    '[[rules]]\nname = "r"\nidentities = ["a"]\nsecret = "digits"\n'
)
REASON = "for a test"


def _hold(place, store):
    """Somebody who has the head's lock until he is told to let go."""
    holding, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with store.database.writing() as connection:
            store.log.lock(connection)
            holding.set()
            let_go.wait(9)

    thread = threading.Thread(target=hold)
    thread.start()
    holding.wait()

    def release() -> None:
        let_go.set()
        thread.join()

    return release


def test_what_gathers_while_a_batch_is_written_goes_into_one_transaction(place):
    store, watching = place.new(), Watching()

    async def many(appender):
        return await asyncio.gather(*(appender.append([leaf(n)], 0) for n in range(200)))

    with appending(place, store, watching) as appender:
        receipts = asyncio.run(many(appender))
    assert sum(watching.batches) == 200
    assert len(watching.batches) < 20
    assert [receipt.index for (receipt,) in receipts] == list(range(200))
    records = audited(place)
    assert [record["number"] for record in records] == list(range(200))


def test_in_a_crowd_a_transaction_waits_for_those_who_come(place, monkeypatch):
    monkeypatch.setattr(module, "PACE_SECONDS", 1.0)
    store, watching = place.new(), Watching(sessions=module.CROWD)

    async def one_and_then_many(appender):
        await appender.append([leaf()], None)
        await asyncio.gather(*(appender.append([leaf(n)], None) for n in range(1, 4)))

    with appending(place, store, watching) as appender:
        asyncio.run(one_and_then_many(appender))
    assert watching.batches == [1, 3]


def test_alone_a_record_waits_for_nobody(place, monkeypatch):
    monkeypatch.setattr(module, "PACE_SECONDS", 1000.0)
    store, watching = place.new(), Watching(sessions=1)

    async def one_after_the_other(appender):
        for number in range(4):
            await appender.append([leaf(number)], None)

    with appending(place, store, watching) as appender:
        asyncio.run(one_after_the_other(appender))
    assert watching.batches == [1, 1, 1, 1]


def test_a_batch_has_a_limit(place):
    store, watching = place.new(), Watching()

    async def many(appender):
        await asyncio.gather(*(appender.append([leaf(n)], None) for n in range(50)))

    with appending(place, store, watching, batch=8) as appender:
        asyncio.run(many(appender))
    assert max(watching.batches) <= 8
    assert sum(watching.batches) == 50


def test_a_limit_is_of_records_and_not_of_requests(place, monkeypatch):
    """One request has as many as the secrets that it asks for."""
    monkeypatch.setattr(module, "WAITING", 40)
    store, watching = place.new(), Watching()

    async def flood(appender):
        release = await asyncio.to_thread(_hold, place, store)
        wanted = [
            asyncio.ensure_future(appender.append([leaf(n)] * 5, None if n % 2 else 0))
            for n in range(20)
        ]
        await asyncio.sleep(0)
        await asyncio.to_thread(release)
        return await asyncio.gather(*wanted, return_exceptions=True)

    with appending(place, store, watching, batch=10) as appender:
        outcomes = asyncio.run(flood(appender))
    written = [outcome for outcome in outcomes if not isinstance(outcome, Exception)]
    assert 8 <= len(written) <= 10  # and those that it was writing
    assert max(watching.batches) == 10
    assert len(audited(place)) == 5 * len(written)


def test_the_records_of_one_request_stand_together_in_their_order(place):
    store = place.new()

    async def many(appender):
        wanted = [appender.append([leaf(n, place=p) for p in range(3)], None) for n in range(20)]
        return await asyncio.gather(*wanted)

    with appending(place, store) as appender:
        answers = asyncio.run(many(appender))
    records = audited(place)
    for number, receipts in enumerate(answers):
        found = [records[receipt.index] for receipt in receipts]
        assert [(r["number"], r["place"]) for r in found] == [(number, p) for p in range(3)]


def test_what_rests_on_an_older_revision_is_stale_and_the_rest_of_its_batch_is_not(place):
    store, watching = place.new(), Watching()
    owner(store).add_secret("digits", b"value")  # revision 1

    async def many(appender):
        wanted = [appender.append([leaf(n)], revision) for n, revision in enumerate([1, 0, None])]
        return await asyncio.gather(*wanted, return_exceptions=True)

    with appending(place, store, watching) as appender:
        good, stale, unbound = asyncio.run(many(appender))
    assert isinstance(stale, Stale)
    assert good[0].index == 1
    assert unbound[0].index == 2
    assert [record.get("number") for record in audited(place)] == [None, 0, 2]


def _apply(administration):
    administration.apply_policy(POLICY, administration.try_policy(POLICY).token)


CHANGES = {
    "a secret is added": lambda a: a.add_secret("new", b"value"),
    "a secret is rotated": lambda a: a.rotate_secret("digits", b"newer value"),
    "a secret is retired": lambda a: a.retire_secret("digits", 1),
    "a secret is revoked": lambda a: a.revoke(Target(TargetKind.SECRET, "digits"), REASON),
    "a platform is revoked": lambda a: a.revoke(Target(TargetKind.PLATFORM, "00" * 16), REASON),
    "a revocation is lifted": lambda a: a.lift(Target(TargetKind.SIGNER, "11" * 32), REASON),
    "a policy is applied": _apply,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_decision_is_stale_in_every_copy_as_soon_as(place, change):
    store, other = place.new(), place.reopen()
    administration = owner(other)
    administration.add_secret("digits", b"value")
    administration.revoke(Target(TargetKind.SIGNER, "11" * 32), REASON)
    snapshot = store.refresh()
    with appending(place, store) as appender:
        append(appender, leaf(1), revision=snapshot.head.revision)
        change(administration)
        with pytest.raises(Stale):
            append(appender, leaf(2), revision=snapshot.head.revision)
        append(appender, leaf(3), revision=store.refresh().head.revision)
    numbers = [record["number"] for record in audited(place) if record["kind"] == "decision"]
    assert numbers == [1, 3]


def test_what_finds_the_queue_full_is_refused_and_what_waits_is_written(place, monkeypatch):
    monkeypatch.setattr(module, "WAITING", 5)
    store = place.new()

    async def flood(appender):
        release = await asyncio.to_thread(_hold, place, store)
        wanted = [asyncio.ensure_future(appender.append([leaf(n)], None)) for n in range(30)]
        await asyncio.sleep(0)
        await asyncio.to_thread(release)
        return await asyncio.gather(*wanted, return_exceptions=True)

    with appending(place, store, batch=1) as appender:
        outcomes = asyncio.run(flood(appender))
    refused = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    assert {outcome.code for outcome in refused} == {"audit-unavailable"}
    assert 5 <= 30 - len(refused) <= 6  # and the one that it was writing
    assert len(audited(place)) == 30 - len(refused)


def test_closing_writes_what_waits_and_refuses_what_comes_after(place):
    store = place.new()
    appender = Appender(store, place.memory(store), Watching(), batch=4)
    appender.start()

    async def use():
        release = await asyncio.to_thread(_hold, place, store)
        wanted = [asyncio.ensure_future(appender.append([leaf(n)], None)) for n in range(20)]
        await asyncio.sleep(0)
        closing = asyncio.ensure_future(asyncio.to_thread(appender.close))
        await asyncio.sleep(0.05)
        release()
        await closing
        with pytest.raises(AuditError) as refused:
            await appender.append([leaf(99)], None)
        assert refused.value.code == "audit-unavailable"
        return await asyncio.gather(*wanted)

    assert len(asyncio.run(use())) == 20
    assert len(audited(place)) == 20


def test_closing_ends_though_the_queue_is_full(place, monkeypatch):
    monkeypatch.setattr(module, "WAITING", 3)
    store = place.new()
    with appending(place, store, batch=2) as appender:

        async def flood():
            wanted = [appender.append([leaf(n)], None) for n in range(100)]
            return await asyncio.gather(*wanted, return_exceptions=True)

        outcomes = asyncio.run(flood())
    written = [outcome for outcome in outcomes if not isinstance(outcome, Exception)]
    assert len(audited(place)) == len(written)


def test_a_record_stays_though_nobody_waits_for_it_any_more(place):
    store = place.new()

    async def leave(appender):
        release = await asyncio.to_thread(_hold, place, store)
        gone = asyncio.ensure_future(appender.append([leaf(1)], None))
        stays = asyncio.ensure_future(appender.append([leaf(2)], None))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.to_thread(release)
        await stays
        assert gone.cancelled()

    with appending(place, store) as appender:
        asyncio.run(leave(appender))
    assert [record["number"] for record in audited(place)] == [1, 2]


def test_an_event_loop_that_ended_does_not_end_the_appender(place):
    store = place.new()

    async def leave(appender):
        asyncio.ensure_future(appender.append([leaf(1)], None))  # noqa: RUF006
        await asyncio.sleep(0)

    with appending(place, store) as appender:
        release = _hold(place, store)
        asyncio.run(leave(appender))
        release()
        append(appender, leaf(2))
    assert [record["number"] for record in audited(place)] == [1, 2]


def test_an_error_of_the_database_gives_nobody_a_receipt_and_leaves_nothing(place):
    store, watching = place.new(), Watching()
    with appending(place, store, watching) as appender:
        append(appender, leaf(0))
        place.sql("ALTER TABLE records RENAME TO hidden")

        async def many():
            wanted = [appender.append([leaf(n)], None) for n in range(1, 6)]
            return await asyncio.gather(*wanted, return_exceptions=True)

        outcomes = asyncio.run(many())
        assert {type(outcome) for outcome in outcomes} == {StoreError}
        assert appender.failing == "database"
        place.sql("ALTER TABLE hidden RENAME TO records")
        assert len(audited(place)) == 1

        (receipt,) = append(appender, leaf(6))
        assert appender.failing is None
    assert receipt.index == 1
    assert watching.failures >= 1
    assert [record["number"] for record in audited(place)] == [0, 6]


def test_an_error_after_the_records_went_in_takes_them_out_again(place):
    """The head is the last that is written; what came before it is undone."""
    store = place.new()
    if place.is_file:
        place.sql(
            "CREATE TRIGGER stop BEFORE UPDATE ON head BEGIN SELECT raise(ABORT, 'stopped'); END"
        )
    else:
        place.sql(
            "CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'stopped'; END $$"
        )
        place.sql("CREATE TRIGGER stop BEFORE UPDATE ON head EXECUTE FUNCTION stop()")
    with appending(place, store) as appender:
        with pytest.raises(StoreError, match="stopped"):
            append(appender, *map(leaf, range(300)))
        assert place.sql("SELECT count(*) FROM records") == [(0,)]
        assert place.sql("SELECT count(*) FROM nodes") == [(0,)]
        place.sql("DROP TRIGGER stop" + ("" if place.is_file else " ON head"))
        append(appender, leaf(1))
    assert len(audited(place)) == 1


def test_a_fault_of_ours_is_an_error_to_those_who_wait_and_not_the_end(place, monkeypatch, caplog):
    store = place.new()
    with appending(place, store) as appender:
        with monkeypatch.context() as patched:
            patched.setattr(store.log, "append", lambda *_: 1 / 0)
            with pytest.raises(AuditError) as refused:
                append(appender, leaf(1))
        assert refused.value.code == "fault"
        append(appender, leaf(2))
    assert "appender_fault" in caplog.text
    assert [record["number"] for record in audited(place)] == [2]
