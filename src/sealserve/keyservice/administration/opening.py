"""From a configuration to an open store, for the service and for the commands beside it."""

from __future__ import annotations

import os
import pwd
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sealserve.errors import ConfigError
from sealserve.keyservice.administration.local import LocalAdministration
from sealserve.keyservice.administration.values import Actor, Role
from sealserve.keyservice.config import KeyServiceConfig, load_config
from sealserve.keyservice.store.database import Database
from sealserve.keyservice.store.memory import Memory
from sealserve.keyservice.store.store import Store
from sealserve.keyservice.verification import load_basis
from sealserve.keyservice.wrapping import KeyEncryption, make_key, open_wrapping

AskPerson = Callable[[str], str]
FOLDER_MODE = 0o700


def initialise(
    config: KeyServiceConfig,
    *,
    log_name: str | None,
    ask: AskPerson | None = None,
    ask_new: AskPerson | None = None,
) -> bool:
    """Make what is missing: folder, key-encryption key, tables, keys, log; whether it was new.

    `ask` asks for the passphrase of a store that is there, `ask_new` for that of a new one.

    What is there already is left as it is, but for tables of an older version, which are brought
    up to date. Raises ConfigError, StoreError, IntegrityError.
    """
    with open_tables(config) as database:
        is_new = database.has_no_keys()
        if is_new:  # for keys that are there a new key-encryption key is none
            make_key(config.wrapping)
        with unlocked(config, ask=ask_new if is_new else ask) as kek:
            if is_new:
                origin = log_name or f"{_default_name(config)}/{secrets.token_hex(4)}"
                Store.initialise(database, kek, origin=origin)
            else:
                Store.open(database, kek)
    return is_new


@contextmanager
def open_tables(config: KeyServiceConfig) -> Iterator[Database]:
    """The database, its tables made or brought up to date; raises ConfigError, StoreError."""
    make_folder(config.state)
    database = _open_database(config, create=True)
    try:
        database.migrate()
        yield database
    finally:
        database.close()


@contextmanager
def unlocked(config: KeyServiceConfig, *, ask: AskPerson | None = None) -> Iterator[KeyEncryption]:
    """The key-encryption key, while the block lasts; raises ConfigError."""
    kek = open_wrapping(config.wrapping, ask=ask)
    try:
        yield kek
    finally:
        kek.close()


def open_store(config: KeyServiceConfig, *, ask: AskPerson | None = None) -> Store:
    """The store, its keys unwrapped; the caller closes it.

    Raises ConfigError, StoreError, IntegrityError.
    """
    database = _open_database(config)
    try:
        with unlocked(config, ask=ask) as kek:
            return Store.open(database, kek)
    except BaseException:
        database.close()
        raise


def check_memory(config: KeyServiceConfig, store: Store) -> None:
    """Raise AuditError where the log is not the one that this copy remembers."""
    proven(config, store)


def proven(config: KeyServiceConfig, store: Store) -> Memory:
    """What this copy remembers, once the log is found to go on from there; raises AuditError."""
    make_folder(config.state)
    memory = Memory(config.state, store.log)
    memory.recall()
    with store.database.reading() as connection:
        memory.settle(connection, store.log.read(connection))
    return memory


@contextmanager
def open_administration(
    config_file: Path, *, ask: AskPerson | None = None
) -> Iterator[LocalAdministration]:
    """What the person who runs this process can do, as owner, to the database itself."""
    config = load_config(config_file)
    basis = load_basis(config.attestation)
    store = open_store(config, ask=ask)
    try:
        yield LocalAdministration(
            store,
            local_actor(),
            trust_root_sha256=basis.trust_root_sha256,
            simulated=basis.simulated,
            memory=proven(config, store),
        )
    finally:
        store.close()


def local_actor() -> Actor:
    """The person who runs this process, as owner: whoever has the configuration's files is."""
    return Actor(f"local:{_user()}", Role.OWNER)


def make_folder(folder: Path) -> None:
    """The folder, made if need be, this user's alone; raises ConfigError."""
    try:
        folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
        mode = folder.stat().st_mode & 0o777
    except OSError as error:
        raise ConfigError(f"cannot make the folder {folder}: {error.strerror}") from error
    if mode & 0o077:
        raise ConfigError(
            f"the folder {folder} has mode {mode:04o}: others may look into it",
            hint=f"chmod 700 {folder}",
        )


def _open_database(config: KeyServiceConfig, *, create: bool = False) -> Database:
    return Database.open(config.database, password=config.database_password, create=create)


def _default_name(config: KeyServiceConfig) -> str:
    return config.key_domain or "keyservice"


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
