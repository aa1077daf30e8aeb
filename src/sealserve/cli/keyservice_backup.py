"""`sealserve keyservice backup`, `restore`, `rewrap`: what keeps the store, and its keys."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import click
from sqlalchemy import Connection

from sealserve.cli.output import json_option, note, print_json, print_table, progress
from sealserve.cli.passphrase import ask_new_passphrase, ask_passphrase
from sealserve.errors import UsageError
from sealserve.files import atomic_file
from sealserve.keyservice.administration import backup as archive
from sealserve.keyservice.administration.opening import (
    check_memory,
    local_actor,
    open_administration,
    open_store,
    open_tables,
    unlocked,
)
from sealserve.keyservice.config import load_config
from sealserve.keyservice.store.log import Head, Log
from sealserve.keyservice.store.memory import Memory, forget
from sealserve.keyservice.wrapping import make_key

config_option = click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The TOML file; every key is described in docs/operations.md.",
)


@click.command()
@config_option
@click.option(
    "--out",
    "target",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The file to write, mode 0600.",
)
@json_option
def backup(config_file: Path, target: Path, as_json: bool) -> None:
    """Write secrets (sealed), policy, revocations and the audit log into one file.

    The service may run meanwhile. The key-encryption key is not in the backup: keep it elsewhere,
    for without it nobody opens a secret.

    \b
    Example:
      sealserve keyservice backup --config keyservice.toml --out keyservice.backup
    """
    config = load_config(config_file)
    store = open_store(config, ask=ask_passphrase)
    try:
        check_memory(config, store)
        with _new_file(target) as sink, progress("backup", None) as advance:
            summary = archive.write(store, sink, now=datetime.now(UTC), advance=advance)
    finally:
        store.close()
    _report(f"{target} has everything but the key-encryption key", summary, as_json)


@click.command()
@config_option
@click.option(
    "--in",
    "source",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The backup.",
)
@click.option(
    "--dangerously-accept-older-log",
    is_flag=True,
    help="Forget the longer log that this copy remembers: revocations since then are lost.",
)
@json_option
def restore(
    config_file: Path, source: Path, dangerously_accept_older_log: bool, as_json: bool
) -> None:
    """Fill an empty database with a backup, once all of it is found authentic.

    The database may be of the other kind. The key-encryption key must be the one of the backup.

    \b
    Example:
      sealserve keyservice restore --config keyservice.toml --in keyservice.backup
    """
    config = load_config(config_file)

    def prove(connection: Connection, log: Log, head: Head) -> None:
        if dangerously_accept_older_log:
            note("DANGEROUS: this copy forgets the log that it has seen; look at what was revoked")
            forget(config.state)
        memory = Memory(config.state, log)
        memory.recall()
        memory.settle(connection, head)

    with (
        _open(source) as stream,
        open_tables(config) as database,
        unlocked(config, ask=ask_passphrase) as kek,
        progress("restore", os.fstat(stream.fileno()).st_size) as advance,
    ):
        summary = archive.restore(
            database,
            kek,
            stream,
            actor=local_actor(),
            now=datetime.now(UTC),
            advance=advance,
            prove=prove,
        )
    _report("the database holds what the backup held", summary, as_json)


@click.command()
@config_option
@click.option(
    "--new-config",
    "new_file",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The same configuration with another [wrapping].",
)
def rewrap(config_file: Path, new_file: Path) -> None:
    """Put the data key under another key-encryption key; no secret is read or written.

    The new key is made where it is missing. Copies that run go on; at their next start they need
    the new configuration.

    \b
    Example:
      sealserve keyservice rewrap --config keyservice.toml --new-config keyservice-hsm.toml
    """
    config, new = load_config(config_file), load_config(new_file)
    if new.database != config.database:
        raise UsageError(f"{new_file} names another database than {config_file}")
    with open_administration(config_file, ask=ask_passphrase) as administration:
        make_key(new.wrapping)
        with unlocked(new, ask=ask_new_passphrase) as kek:
            administration.rewrap(kek)
    click.echo(f"the data key is wrapped by {new.wrapping.kind}; run the service with {new_file}")


@contextmanager
def _new_file(target: Path) -> Iterator[BinaryIO]:
    """Whole or not there; raises UsageError, also for a disk that is full."""
    try:
        with atomic_file(target, replace=False) as sink:
            yield sink
    except OSError as error:
        raise UsageError(f"cannot write {target}: {error.strerror}") from error


@contextmanager
def _open(source: Path) -> Iterator[BinaryIO]:
    """The stream; raises UsageError where it cannot be opened, or read to its end."""
    try:
        with source.open("rb") as stream:
            yield stream
    except OSError as error:
        raise UsageError(f"cannot restore {source}: {error}") from error


def _report(title: str, summary: archive.Summary, as_json: bool) -> None:
    if as_json:
        print_json(asdict(summary))
    else:
        print_table(title, list(asdict(summary).items()))
