"""What a database must be before the key service keeps anything in it."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, make_url, text

from sealserve.errors import ConfigError, StoreError
from sealserve.files import write_file
from sealserve.keyservice.store import migrations, pool
from sealserve.keyservice.store.database import Database
from sealserve.keyservice.store.schema import METADATA, REVISIONS
from sealserve.keyservice.store.store import Store
from stores import KEK, audited, closing_place, leaf, owner, place_on, postgres_server, write

SECRET_TEXT = "what-nobody-may-read-in-a-log"


def test_the_revisions_that_are_known_are_those_of_the_migrations():
    scripts = ScriptDirectory(str(Path(migrations.__file__).parent))
    found = [each.revision for each in scripts.walk_revisions()]
    assert tuple(reversed(found)) == REVISIONS


def test_the_migrations_make_exactly_the_tables_that_the_code_reads(place):
    database = place.database(create=True)
    database.migrate()

    with database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = compare_metadata(context, METADATA)
    assert differences == []


def test_migrating_again_changes_nothing(place):
    store = place.new()
    write(store, leaf(1))

    assert place.database().migrate() == "0001"
    assert len(audited(place)) == 1


def test_two_copies_that_migrate_at_once_make_one_set_of_tables(place):
    databases = [place.database(create=True) for _ in range(2)]
    found = []
    threads = [threading.Thread(target=lambda each=each: found.append(each.migrate()))
               for each in databases]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["0001", "0001"]


def test_an_empty_database_is_refused_with_the_command_that_fills_it(place):
    database = place.database(create=True)
    with pytest.raises(ConfigError) as refused:
        Store.open(database, KEK)
    assert refused.value.code == "database-empty"
    assert "keyservice init" in refused.value.hint


def test_tables_without_keys_are_refused_and_can_still_be_filled(place):
    database = place.database(create=True)
    database.migrate()
    with pytest.raises(ConfigError) as refused:
        Store.open(database, KEK)
    assert refused.value.code == "database-empty"

    assert database.has_no_keys()
    Store.initialise(database, KEK, origin="keys.example.com/test")
    assert not database.has_no_keys()


def test_a_database_that_is_in_use_is_not_initialised_again(place):
    database = place.new().database
    with pytest.raises(ConfigError) as refused:
        Store.initialise(database, KEK, origin="other")
    assert refused.value.code == "database-in-use"


def test_tables_of_another_program_are_left_alone(place):
    database = place.database(create=True)
    place.sql("CREATE TABLE secrets (id INTEGER PRIMARY KEY, mine TEXT)")
    with pytest.raises(ConfigError) as refused:
        database.migrate()
    assert refused.value.code == "database-in-use"
    assert "secrets" in refused.value.message


@pytest.mark.parametrize("revision", ["9999", "4d1f0e5c"], ids=["newer", "foreign"])
def test_a_database_of_an_unknown_revision_is_neither_read_nor_migrated(place, revision):
    database = place.new().database
    place.sql("UPDATE alembic_version SET version_num = ?", revision)

    for use in (database.check_schema, database.migrate, place.reopen):
        with pytest.raises(ConfigError) as refused:
            use()
        assert refused.value.code == "database-revision"
        assert revision in refused.value.message


def test_a_file_that_is_no_database_is_an_error_of_the_store(sqlite_place):
    sqlite_place.file.write_bytes(b"not a database at all" * 1000)
    for create in (False, True):
        with pytest.raises(StoreError, match="not a database"):
            sqlite_place.database(create=create)


def test_a_file_that_is_not_there_is_not_made_by_opening_it(sqlite_place):
    with pytest.raises(ConfigError, match="there is no database"):
        sqlite_place.database()
    assert not sqlite_place.file.exists()


def test_a_file_that_disappears_is_not_replaced_by_an_empty_one(sqlite_place):
    store = sqlite_place.new()
    sqlite_place.file.unlink()

    with pytest.raises(StoreError):
        store.refresh()
    assert not sqlite_place.file.exists()


def test_a_file_that_is_replaced_is_noticed_by_who_had_it_open(sqlite_place):
    store = sqlite_place.new()
    put_back = sqlite_place.keep()
    write(store, leaf(1))
    put_back()

    with store.database.reading() as connection:
        assert connection.execute(text("SELECT size FROM head")).scalar_one() == 0


@pytest.mark.parametrize("name", ["a b.db", "hash#mark?.db", "per%20cent.db", "ümlaut.db"])
def test_a_file_may_have_any_name(tmp_path, name):
    database = Database.open(URL.create("sqlite", database=str(tmp_path / name)), create=True)
    try:
        database.migrate()
    finally:
        database.close()
    assert (tmp_path / name).stat().st_size > 0


def test_sqlite_runs_with_a_synced_write_ahead_log_in_private_files(sqlite_place):
    store = sqlite_place.new()
    write(store, leaf(1))

    for transaction in (store.database.reading, store.database.writing):
        with transaction() as connection:
            assert connection.execute(text("PRAGMA journal_mode")).scalar_one() == "wal"
            assert connection.execute(text("PRAGMA synchronous")).scalar_one() == 2  # FULL
    for end in ("", "-wal", "-shm"):
        mode = Path(f"{sqlite_place.file}{end}").stat().st_mode
        assert stat.S_IMODE(mode) == 0o600, end


def test_postgresql_commits_durably_whatever_its_defaults_are(postgres_place):
    assert postgres_place.sql("SHOW synchronous_commit") == [("off",)]
    postgres_place.sql("ALTER ROLE sealserve SET synchronous_commit = 'local'")

    store = postgres_place.new()
    for transaction in (store.database.reading, store.database.writing):
        with transaction() as connection:
            assert connection.execute(text("SHOW synchronous_commit")).scalar_one() == "on"


def test_every_wait_for_postgresql_has_a_deadline(postgres_place):
    with postgres_place.new().database.writing() as connection:
        for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
            assert connection.execute(text(f"SHOW {name}")).scalar_one() == "10s"


def test_postgresql_that_does_not_sync_is_refused(tmp_path):
    with (
        postgres_server(fsync="off") as server,
        closing_place(place_on(server, tmp_path)) as place,
        pytest.raises(ConfigError, match="fsync = off"),
    ):
        place.database()


def test_a_wrong_password_is_an_error_that_does_not_show_it(postgres_place):
    write_file(postgres_place.password, SECRET_TEXT.encode())
    with pytest.raises(StoreError) as refused:
        postgres_place.database()
    assert SECRET_TEXT not in f"{refused.value} {refused.value.hint}"


def test_a_server_that_is_not_there_is_an_error_of_the_store(tmp_path):
    with pytest.raises(StoreError):
        Database.open(make_url("postgresql+psycopg://sealserve@127.0.0.1:1/keys"))


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer", "require", "verify-ca"])
def test_a_server_across_a_network_is_not_reached_without_its_certificate(mode):
    url = make_url(f"postgresql+psycopg://sealserve@db.example.com/keys?sslmode={mode}")
    with pytest.raises(ConfigError, match="without verifying its certificate"):
        Database.open(url)


@pytest.mark.parametrize(
    "url",
    {
        "an address beside the name": "sealserve@localhost/keys?hostaddr=192.0.2.1",
        "another host": "sealserve@localhost/keys?host=db.example.com",
        "two hosts": "sealserve@/keys?host=localhost&host=db.example.com",
        "no host": "sealserve@/keys",
        "a file of services": "sealserve@localhost/keys?service=elsewhere",
        "settings": "sealserve@localhost/keys?options=-c%20synchronous_commit%3Doff",
        "a password file": "sealserve@localhost/keys?passfile=%2Ftmp%2Fpassword",
        "a password of a key": f"sealserve@localhost/keys?sslpassword={SECRET_TEXT}",
    }.items(),
    ids=lambda item: item[0],
)
def test_a_url_names_one_host_and_nothing_that_changes_what_was_checked(url):
    with pytest.raises(ConfigError) as refused:
        Database.open(make_url(f"postgresql+psycopg://{url[1]}"))
    assert SECRET_TEXT not in str(refused.value)


def test_two_hosts_in_one_word_are_not_this_machine():
    url = make_url("postgresql+psycopg://sealserve@/keys?host=localhost,db.example.com")
    with pytest.raises(ConfigError, match="without verifying"):
        Database.open(url.set(query={**url.query, "sslmode": "disable"}))


def test_a_lock_that_nobody_gives_back_is_waited_for_only_so_long(place, monkeypatch):
    monkeypatch.setattr(pool, "WAIT_SECONDS", 1)
    store = place.new()
    with place.raw() as connection:
        connection.execute("BEGIN IMMEDIATE" if place.is_file else "SELECT * FROM head FOR UPDATE")
        with pytest.raises(StoreError):
            write(place.reopen(), leaf(1))
        connection.rollback()
    write(store, leaf(2))
    assert len(audited(place)) == 1


def test_a_search_that_takes_too_long_is_given_up_and_the_next_is_not(place, monkeypatch):
    """One that goes on keeps a thread, and with SQLite its write-ahead log from ever ending."""
    monkeypatch.setattr(pool, "WAIT_SECONDS", 1)
    database = place.new().database
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    with (
        pytest.raises(StoreError, match=r"interrupted|timeout") as refused,
        database.searching() as connection,
    ):
        connection.execute(text(endless))
    assert "look for less" in refused.value.hint
    with database.searching() as connection:
        assert connection.execute(text("SELECT size FROM head")).scalar_one() == 0


def test_what_reads_everything_takes_the_time_that_it_takes(sqlite_place, monkeypatch):
    database = sqlite_place.new().database
    monkeypatch.setattr(pool, "WAIT_SECONDS", 0)
    count = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 100000)"
    with pytest.raises(StoreError), database.searching() as connection:
        connection.execute(text(f"{count} SELECT max(i) FROM n"))
    with database.reading() as connection:
        assert connection.execute(text(f"{count} SELECT max(i) FROM n")).scalar_one() == 100_000


def test_a_transaction_that_fails_leaves_nothing_and_tells_no_values(place):
    store = place.new()
    owner(store).add_secret("digits", b"value")
    with pytest.raises(StoreError) as refused, store.database.writing() as connection:
        connection.execute(text("DELETE FROM head"))
        connection.execute(
            text("INSERT INTO meta (name, value) VALUES (:name, :value)"),
            {"name": "data_key", "value": SECRET_TEXT.encode()},
        )
    shown = f"{refused.value} {refused.value.hint} {refused.value.__cause__}"
    assert SECRET_TEXT not in shown and SECRET_TEXT.encode().hex() not in shown
    assert place.sql("SELECT size FROM head") == [(1,)]


def test_the_name_of_a_database_holds_no_password(postgres_place):
    assert "@127.0.0.1" in postgres_place.new().database.name
    assert postgres_place.password.read_text().strip() not in postgres_place.opened[0].name


def test_a_password_that_was_changed_is_read_again_by_the_next_connection(postgres_place):
    place = postgres_place
    store, before = place.new(), place.password.read_text()
    try:
        place.sql("ALTER ROLE CURRENT_USER PASSWORD 'another than before'")
        write_file(place.password, b"another than before\n")
        store.close()  # its connections, as after a failover
        write(store, leaf(1))
    finally:
        place.sql(f"ALTER ROLE CURRENT_USER PASSWORD '{before.strip()}'")
        write_file(place.password, before.encode())
