"""What one copy remembers of the log outside the database, and what it refuses for it."""

from __future__ import annotations

import fcntl
import os

import pytest

from sealserve.errors import AuditError
from sealserve.keyservice.store import memory as module
from sealserve.keyservice.store.log import ROLLED_BACK
from sealserve.keyservice.store.memory import FILE, forget
from stores import leaf, owner, write


@pytest.fixture
def store(sqlite_place):
    return sqlite_place.new()


@pytest.fixture
def file(sqlite_place):
    return sqlite_place.folder / "state" / FILE


def _check(place, store, memory=None):
    memory = memory or place.memory(store)
    with store.database.writing() as connection:
        memory.check(connection, store.log.lock(connection))
    return memory


def test_the_first_log_that_is_seen_is_believed_and_remembered(sqlite_place, store, file):
    _check(sqlite_place, store)
    assert file.read_text() == owner(store).checkpoint()
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_longer_log_is_proved_and_remembered(sqlite_place, store, file):
    _check(sqlite_place, store)
    write(store, *map(leaf, range(7)))
    _check(sqlite_place, store)
    assert file.read_text() == owner(store).checkpoint()


def test_a_log_is_proved_again_only_when_it_is_time_or_what_decides_has_changed(
    sqlite_place, store, file, monkeypatch
):
    memory = _check(sqlite_place, store)
    first = file.read_text()
    write(store, leaf(1))
    _check(sqlite_place, store, memory)
    assert file.read_text() == first

    owner(store).add_secret("digits", b"value")
    _check(sqlite_place, store, memory)
    second = file.read_text()
    assert second == owner(store).checkpoint()

    monkeypatch.setattr(module, "PROVE_SECONDS", 0.0)
    write(store, leaf(2))
    _check(sqlite_place, sqlite_place.reopen())
    assert file.read_text() != second


def test_what_another_process_remembered_counts_though_this_one_has_seen_less(sqlite_place, store):
    mine = _check(sqlite_place, store)
    put_back = sqlite_place.keep()
    other = sqlite_place.reopen()
    owner(other, memory=sqlite_place.memory(other)).add_secret("digits", b"value")
    put_back()

    owner(sqlite_place.reopen()).add_secret("digits", b"another value")
    with pytest.raises(AuditError):
        _check(sqlite_place, store, mine)


def test_a_memory_never_goes_back(sqlite_place, store, file):
    older = store.refresh().head
    write(store, leaf(1))
    newer = store.refresh().head
    sqlite_place.memory(store).keep(newer)
    sqlite_place.memory(store).keep(older)
    assert file.read_text() == newer.note


def test_a_change_is_remembered_when_it_is_made(sqlite_place, store, file):
    owner(store, memory=sqlite_place.memory(store)).add_secret("digits", b"value")
    assert file.read_text() == owner(store).checkpoint()


BROKEN = {
    "empty": b"",
    "no text": b"\xff\xfe\x00",
    "no note": b"hello\n",
    "a note that is cut": b"keys.example.com/test\n0\n",
    "too long": b"x" * 5000,
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_a_damaged_memory_is_refused_and_not_taken_for_none(sqlite_place, store, file, content):
    memory = sqlite_place.memory(store)
    file.write_bytes(content)
    with pytest.raises(Exception, match="checkpoint") as refused:
        _check(sqlite_place, store, memory)
    assert refused.type.__module__ == "sealserve.errors"
    assert file.read_bytes() == content


def test_the_memory_of_another_log_is_refused_with_its_name(sqlite_place, store, file, tmp_path):
    other = type(sqlite_place)(
        sqlite_place.url.set(database=str(tmp_path / "other.db")), sqlite_place.folder
    )
    other_store = other.new()
    _check(other, other_store)
    other_store.close()
    with pytest.raises(AuditError) as refused:
        _check(sqlite_place, store)
    assert refused.value.code == "audit.checkpoint"
    assert str(file) in refused.value.message


def test_whoever_forgets_accepts_the_log_that_is_there(sqlite_place, store, file):
    put_back = sqlite_place.keep()
    owner(store, memory=sqlite_place.memory(store)).add_secret("digits", b"value")
    put_back()
    again = sqlite_place.reopen()
    with pytest.raises(AuditError) as refused:
        _check(sqlite_place, again)
    assert refused.value.code == ROLLED_BACK
    forget(file.parent)
    _check(sqlite_place, again)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act for another user")
def test_what_root_remembers_by_a_command_stays_the_services(sqlite_place, store, file):
    memory = sqlite_place.memory(store)
    os.chown(file.parent, 65534, 65534)
    _check(sqlite_place, store, memory)
    assert (file.stat().st_uid, file.stat().st_gid) == (65534, 65534)
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_folder_that_another_process_keeps_locked_delays_no_decision_for_long(
    sqlite_place, store, file, monkeypatch, caplog
):
    monkeypatch.setattr(module, "LOCK_SECONDS", 0.05)
    memory = sqlite_place.memory(store)
    handle = os.open(file.parent, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        _check(sqlite_place, store, memory)
    finally:
        os.close(handle)
    assert "checkpoint_not_kept" in caplog.text
    assert not file.exists()
