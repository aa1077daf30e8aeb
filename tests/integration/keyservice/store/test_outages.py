"""The disk is full, the database is killed, a connection breaks: a receipt is a record."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import URL

from sealserve.errors import StoreError
from sealserve.keyservice.store import pool
from stores import (
    Place,
    Watching,
    append,
    appending,
    audited,
    closing_place,
    leaf,
    owner,
    place_on,
    postgres_server,
)

ROUNDS = 4


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A disk of 2 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m,mode=0700", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk, and not everywhere")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_refuses_records_and_with_room_again_they_go_on(small_disk, tmp_path):
    url = URL.create("sqlite", database=str(small_disk / "keys.db"))
    watching = Watching()
    with closing_place(Place(url, tmp_path)) as place:
        store = place.new()
        ballast = small_disk / "ballast"
        ballast.write_bytes(bytes(1 << 20))
        receipts = []
        with appending(place, store, watching) as appender:
            with pytest.raises(StoreError, match="disk is full"):
                for number in range(200):
                    receipts += append(appender, leaf(number, text="x" * 20_000))
            assert appender.failing == "database"
            with pytest.raises(StoreError):
                append(appender, leaf(998, text="x" * 60_000))
            assert watching.failures == 2
            assert watching.answers[-1] is False
            assert [each.index for each in receipts] == list(range(len(receipts)))

            ballast.unlink()
            (last,) = append(appender, leaf(999))
            assert appender.failing is None
        numbers = [record["number"] for record in audited(place)]
        assert numbers == [*range(len(receipts)), 999]
        assert last.index == len(receipts)


def test_a_change_on_a_full_disk_is_not_made(small_disk, tmp_path):
    url = URL.create("sqlite", database=str(small_disk / "keys.db"))
    with closing_place(Place(url, tmp_path)) as place:
        administration = owner(place.new())
        added = []
        with pytest.raises(StoreError):
            for number in range(500):
                administration.add_secret(f"s{number}", bytes(16 << 10))
                added.append(f"s{number}")
        assert [facts.name for facts in administration.secrets()] == sorted(added)
        assert len(audited(place)) == len(added)


@pytest.mark.timeout(300)
def test_every_receipt_given_before_postgresql_is_killed_is_in_the_log_after(tmp_path):
    """Synced by every commit, although the server's default would lose the last ones."""
    with (
        postgres_server(synchronous_commit="off") as server,
        closing_place(place_on(server, tmp_path)) as place,
    ):
        store = place.new()
        given: dict[int, int] = {}
        failed = 0

        async def one(appender, number: int) -> bool:
            try:
                (receipt,) = await appender.append([leaf(number)], None)
            except StoreError:
                return False
            given[receipt.index] = number
            return True

        async def stream(appender) -> None:
            nonlocal failed
            number = 0
            for _ in range(ROUNDS):
                killing = asyncio.ensure_future(asyncio.to_thread(_kill_later, server))
                while not killing.done():
                    done = await asyncio.gather(*(one(appender, number + n) for n in range(20)))
                    number += 20
                    failed += done.count(False)
                await killing
                failed += not await one(appender, number)
                await asyncio.to_thread(server.start)
                # By themselves: nobody opens anything anew.
                assert await one(appender, number + 1)
                number += 2

        with appending(place, store) as appender:
            asyncio.run(stream(appender))
        records = audited(place)
        assert failed >= ROUNDS
        assert len(given) > ROUNDS
        assert {index: records[index]["number"] for index in given} == given


def _kill_later(server) -> None:
    time.sleep(0.3)
    server.kill()


def test_a_connection_that_breaks_during_the_commit_is_an_error_to_who_waits(postgres_place):
    """A deferred trigger runs in the COMMIT itself, and ends its own connection."""
    place = postgres_place
    store = place.new()
    place.sql(
        "CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$"
    )
    place.sql(
        "CREATE CONSTRAINT TRIGGER cut AFTER INSERT ON records DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION cut()"
    )
    watching = Watching()
    with appending(place, store, watching) as appender:
        with pytest.raises(StoreError):
            append(appender, leaf(1), leaf(2))
        assert place.sql("SELECT count(*) FROM records") == [(0,)]
        place.sql("DROP TRIGGER cut ON records")
        append(appender, leaf(3))
    assert watching.failures == 1
    assert [record["number"] for record in audited(place)] == [3]


def test_connections_that_were_ended_meanwhile_are_made_anew_unseen(postgres_place):
    place = postgres_place
    store = place.new()
    with appending(place, store) as appender:
        append(appender, leaf(1))
        place.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'sealserve'"
        )
        append(appender, leaf(2))
        store.refresh()
    assert len(audited(place)) == 2


def test_a_server_that_falls_silent_is_waited_for_only_so_long(tmp_path, monkeypatch):
    """It is there and answers nothing: no deadline of its own could end that."""
    monkeypatch.setattr(pool, "WAIT_SECONDS", 1)
    with postgres_server() as server, closing_place(place_on(server, tmp_path)) as place:
        store = place.new()
        with appending(place, store) as appender:
            append(appender, leaf(1))
            processes = [row[0] for row in place.sql("SELECT pid FROM pg_stat_activity")]
            processes.append(server.process.pid)
            try:
                for process in processes:
                    _signal(process, signal.SIGSTOP)
                with pytest.raises(StoreError):
                    append(appender, leaf(2))
                with pytest.raises(StoreError):
                    store.refresh()
            finally:
                for process in processes:
                    _signal(process, signal.SIGCONT)
            append(appender, leaf(3))
        numbers = [record["number"] for record in audited(place)]
        assert numbers in ([1, 3], [1, 2, 3])  # nobody knows what became of the one in the middle


def _signal(process: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, number)


def test_an_appender_that_cannot_write_its_memory_goes_on(place, caplog):
    store = place.new()
    state = place.folder / "state"
    state.mkdir()
    (state / "checkpoint").mkdir()  # nothing can be written there, nor read
    with appending(place, store) as appender, pytest.raises(Exception, match="checkpoint"):
        append(appender, leaf(1))
    (state / "checkpoint").rmdir()
    with appending(place, store) as appender:
        append(appender, leaf(2))
    assert len(audited(place)) == 1
    assert "checkpoint_not_kept" in caplog.text
