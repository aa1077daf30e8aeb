"""The log in a database: what several writers make of it, and what is left when they end."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sealserve.errors import AuditError
from sealserve.keyservice.store.log import LEAF_LIMIT, Leaf, check_grown
from stores import NOW, append, appending, audited, leaf, owner, write

SUPPORT = Path(__file__).parents[3] / "support"
# A writer: a process with a store of its own, that appends as the service does.
WRITER = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, {support!r})
from sqlalchemy import make_url
from stores import Place, appending, leaf

url, folder, password, name, count = sys.argv[1:]
place = Place(make_url(url), Path(folder), Path(password) if password else None)
store = place.reopen()

async def write(appender):
    for start in range(0, int(count), 10):  # ten at a time are under way
        await asyncio.gather(*(
            appender.append([leaf(number, writer=name)], None)
            for number in range(start, start + 10)
        ))

with appending(place, store) as appender:
    asyncio.run(write(appender))
store.close()
"""


def _writer(place, folder, name, count):
    """Writers with the same `folder` are workers of one machine: they share its memory."""
    url = place.url.render_as_string(hide_password=False)
    code = WRITER.format(support=str(SUPPORT))
    return subprocess.Popen(
        [sys.executable, "-c", code, url, folder, str(place.password or ""), name, str(count)]
    )


def test_a_log_goes_on_where_it_ended_before_a_restart(place):
    store = place.new()
    with appending(place, store) as appender:
        append(appender, leaf(0), leaf(1))
    for number in range(2, 6):
        again = place.reopen()
        with appending(place, again) as appender:
            (receipt,) = append(appender, leaf(number))
        assert receipt.index == number
        again.close()
    assert [record["number"] for record in audited(place)] == list(range(6))


@pytest.mark.timeout(300)
def test_two_processes_write_one_log_without_gaps_or_forks(place, tmp_path):
    store = place.new()
    before = store.refresh().head
    writers = [_writer(place, tmp_path, name, 500) for name in ("one", "two")]
    assert [writer.wait(240) for writer in writers] == [0, 0]

    records = audited(place)
    for name in ("one", "two"):
        numbers = [record["number"] for record in records if record["writer"] == name]
        assert sorted(numbers) == list(range(500))
    with store.database.reading() as connection:
        head = store.log.read(connection)
        check_grown(connection, store.log.checkpoint(before.note), head)
    assert (tmp_path / "state" / "checkpoint").read_text() == head.note


def test_threads_of_one_process_write_one_log(place):
    store = place.new()

    def work(name: int) -> None:
        for number in range(25):
            write(store, leaf(number, writer=name))

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    records = audited(place)
    for name in range(4):
        mine = [record["number"] for record in records if record["writer"] == name]
        assert mine == list(range(25))


def test_whoever_reads_while_others_write_never_takes_it_for_a_log_that_was_put_back(place):
    store = place.new()
    done = threading.Event()
    faults = []

    def read() -> None:
        while not done.is_set():
            try:
                store.refresh()
                owner(store).checkpoint()
            except Exception as error:  # noqa: BLE001  (told by the test)
                faults.append(error)
                return

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(150):
        write(store, leaf(number))
    done.set()
    for reader in readers:
        reader.join()
    assert faults == []


def test_every_checkpoint_on_the_way_is_one_that_the_log_goes_on_from(place):
    store = place.new()
    notes = [store.refresh().head.note]
    for size in (1, 1, 2, 250, 3, 255, 1):
        write(store, *map(leaf, range(size)))
        notes.append(owner(store).checkpoint())
    with store.database.reading() as connection:
        head = store.log.read(connection)
        for note in notes:
            check_grown(connection, store.log.checkpoint(note), head)
    audited(place)


def test_a_transaction_that_is_undone_was_never_there(place):
    store = place.new()
    write(store, leaf(0))
    with pytest.raises(ZeroDivisionError), store.database.writing() as connection:
        store.log.append(connection, store.log.lock(connection), [leaf(1)])
        raise ZeroDivisionError
    write(store, leaf(2))
    assert [record["number"] for record in audited(place)] == [0, 2]


def test_a_record_at_the_limit_is_kept_whole_and_a_longer_one_is_refused(place):
    store = place.new()
    room = LEAF_LIMIT - len(leaf(0, text="").data)
    write(store, leaf(0, text="x" * room))
    with pytest.raises(AuditError, match="over the limit"):
        leaf(0, text="x" * (room + 1))
    assert audited(place)[0]["text"] == "x" * room


@pytest.mark.parametrize("text", ["\0", "\ud800", "ünïcödé", "a\nb", "\x1b[2J"], ids=ascii)
def test_a_record_holds_whatever_text_a_stranger_sends(place, text):
    store = place.new()
    write(store, Leaf.of("decision", NOW, {"asked_for": text, "asked_secret": text}))
    assert audited(place)[0]["asked_for"] == text
