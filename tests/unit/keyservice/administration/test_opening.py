"""From a configuration to an open store: what `init` makes, and what it leaves alone."""

from __future__ import annotations

import threading

import pytest

from sealserve.errors import AuditError, ConfigError, IntegrityError
from sealserve.keyservice.administration.opening import (
    check_memory,
    initialise,
    open_administration,
    open_store,
)
from sealserve.keyservice.administration.values import Target, TargetKind
from sealserve.keyservice.config import load_config
from sealserve.keyservice.store.log import ROLLED_BACK
from sealserve.keyservice.store.store import Store
from sealserve.lab.world import World
from stores import NOW, leaf, write

TARGET = Target(TargetKind.PLATFORM, "00" * 16)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    World.create(now=NOW).save(folder)
    return folder


@pytest.fixture
def file(place, lab):
    """A configuration of the place's database."""
    where = (
        'database = "keys.db"\n'
        if place.is_file
        else f'database = "{place.url.set(drivername="postgresql").render_as_string()}"\n'
        'database_password = "db.password"\n'
    )
    path = place.folder / "keyservice.toml"
    path.write_text(
        f'{where}state = "state"\nkey_domain = "keys.example.com"\n'
        '[wrapping]\nkind = "file"\nkey = "kek"\n'
        '[tls]\ncertificate = "server.pem"\nprivate_key = "server.key"\n'
        f'[attestation]\ntrust_root = "{lab}/root_ca.pem"\ncollateral_dir = "{lab}/collateral"\n'
    )
    return path


def test_everything_that_is_missing_is_made_and_private(place, file):
    assert initialise(load_config(file), log_name=None)
    assert (place.folder / "state").stat().st_mode & 0o777 == 0o700
    assert (place.folder / "kek").stat().st_mode & 0o777 == 0o600
    with open_administration(file) as it:
        assert it.status().log_origin.startswith("keys.example.com/")
        assert it.status().simulated


def test_what_is_there_is_left_as_it_is(place, file):
    config = load_config(file)
    initialise(config, log_name="a/log")
    kek = (place.folder / "kek").read_bytes()
    with open_administration(file) as it:
        it.add_secret("digits", b"value")
        before = it.status(), it.log_key()
    assert not initialise(config, log_name="another/log")
    with open_administration(file) as it:
        assert (it.status(), it.log_key()) == before
    assert (place.folder / "kek").read_bytes() == kek


def test_what_was_interrupted_between_tables_and_keys_is_finished(place, file):
    place.database(create=True).migrate()
    assert initialise(load_config(file), log_name=None)
    with open_administration(file) as it:
        assert it.status().log_size == 0


def test_for_a_database_whose_key_encryption_key_is_missing_none_is_made(place, file):
    config = load_config(file)
    initialise(config, log_name=None)
    (place.folder / "kek").rename(place.folder / "elsewhere")
    for use in (lambda: initialise(config, log_name=None), lambda: open_store(config)):
        with pytest.raises(ConfigError, match="no key-encryption key"):
            use()
    assert not (place.folder / "kek").exists()


def test_another_key_encryption_key_is_refused(place, file):
    config = load_config(file)
    initialise(config, log_name=None)
    (place.folder / "kek").write_bytes(bytes(32))
    with pytest.raises(IntegrityError) as refused:
        open_store(config)
    assert refused.value.code == "wrapping.key"


def test_the_folder_of_the_memory_is_nobody_elses(place, file):
    initialise(load_config(file), log_name=None)
    (place.folder / "state").chmod(0o755)
    with pytest.raises(ConfigError, match="mode 0755"), open_administration(file):
        pytest.fail("opened")


def test_a_change_by_a_command_is_remembered_before_the_command_ends(place, file):
    config = load_config(file)
    initialise(config, log_name=None)
    put_back = place.keep()
    with open_administration(file) as it:
        it.revoke(TARGET, "for a test")
    put_back()
    with pytest.raises(AuditError) as refused, open_administration(file):
        pytest.fail("opened")
    assert refused.value.code == ROLLED_BACK


def test_a_command_beside_a_service_that_writes_is_never_told_of_a_rollback(place, file):
    config = load_config(file)
    initialise(config, log_name=None)
    service: Store = open_store(config)
    stop = threading.Event()

    def serve() -> None:
        number = 0
        while not stop.is_set():
            write(service, leaf(number))
            check_memory(config, service)
            number += 1

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        for number in range(10):
            with open_administration(file) as it:
                it.add_secret(f"s{number}", b"value")
    finally:
        stop.set()
        thread.join()
        service.close()
