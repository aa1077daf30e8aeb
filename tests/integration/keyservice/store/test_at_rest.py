"""What lies on the disk opens nothing: no secret is there, and the keys are wrapped."""

from __future__ import annotations

import secrets
from base64 import b64encode, urlsafe_b64encode
from pathlib import Path

import pytest

from sealserve.errors import IntegrityError
from sealserve.keyservice.administration.values import Target, TargetKind
from sealserve.keyservice.store.snapshot import Found
from sealserve.keyservice.wrapping.file import FileKey
from stores import KEK, append, appending, closing_place, leaf, owner, place_on, postgres_server


def _shapes(value: bytes) -> list[bytes]:
    """How a value could be written down; base64 at each of its three offsets."""
    found = [value, value.hex().encode(), value.hex().upper().encode(), value[::-1]]
    for coded in (b64encode, urlsafe_b64encode):
        found += [coded(bytes(offset) + value)[4:-4] for offset in range(3)]
    return found


def _fill(place) -> tuple[list[bytes], object]:
    values = [secrets.token_bytes(32), secrets.token_bytes(16), secrets.token_bytes(5000)]
    store = place.new()
    administration = owner(store)
    administration.add_secret("digits", values[0])
    administration.rotate_secret("digits", values[1])
    administration.add_secret("faces", values[2])
    administration.retire_secret("faces")
    administration.revoke(Target(TargetKind.SECRET, "digits@1"), "for a test")
    with appending(place, store) as appender:
        append(appender, leaf(1))
    found = store.refresh().secret("digits")
    assert isinstance(found, Found)
    assert found.open(store.key)[0].reveal() == values[1]
    data_key, seed = store.key._key, store.log.key.seed
    return [*values, data_key, seed], store


def _assert_nowhere(values: list[bytes], files: list[Path]) -> None:
    assert files
    for file in files:
        data = file.read_bytes()
        for value in values:
            assert not any(shape[:2048] in data for shape in _shapes(value)), file


def test_no_byte_of_sqlites_files_is_a_secret(sqlite_place):
    values, _store = _fill(sqlite_place)
    files = sorted(sqlite_place.folder.glob("keys.db*"))
    assert [file.name for file in files] == ["keys.db", "keys.db-shm", "keys.db-wal"]
    assert b"digits" in b"".join(file.read_bytes() for file in files)
    _assert_nowhere(values, files)
    sqlite_place.sql("PRAGMA wal_checkpoint(TRUNCATE)")
    assert b"digits" in sqlite_place.file.read_bytes()
    _assert_nowhere(values, files)
    _assert_nowhere(values, [sqlite_place.folder / "state" / "checkpoint"])


def test_no_byte_of_postgresqls_folder_is_a_secret(tmp_path):
    with postgres_server(log_statement="all", log_min_duration_statement="0") as server:
        with closing_place(place_on(server, tmp_path)) as place:
            values, _store = _fill(place)
            place.sql("CHECKPOINT")
        server.stop()
        folder = server._folder
        files = [file for file in folder.rglob("*") if file.is_file()]
        assert any(b"digits" in file.read_bytes() for file in files if "base" in file.parts)
        _assert_nowhere(values, files)
        assert "INSERT INTO secrets" in server.log  # what is sent is on record there, too
        server.start()


def test_another_key_encryption_key_opens_nothing(place):
    _fill(place)
    with pytest.raises(IntegrityError) as refused:
        place.reopen(FileKey(bytes(32)))
    assert refused.value.code == "wrapping.key"


def test_keys_that_are_wrapped_anew_open_under_the_new_key_only(place):
    _values, store = _fill(place)
    new = FileKey(bytes(range(1, 33)))
    with store.database.writing() as connection:
        store.rewrap(connection, new)
    assert isinstance(place.reopen(new).refresh().secret("digits"), Found)
    with pytest.raises(IntegrityError):
        place.reopen(KEK)
