"""`sealserve secret`: the life of the secrets that a key service releases.

A value is read from a private file or made here, sent to the service, and never printed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from sealserve.cli.administration_options import Access, administration_options
from sealserve.cli.output import json_option, note, print_json
from sealserve.errors import NetworkError, SealServeError, UsageError
from sealserve.files import read_file, read_secret, write_file
from sealserve.keyservice.administration.values import Target, TargetKind
from sealserve.keyservice.store.secrets import VALUE_LIMIT, SecretFacts
from sealserve.sealing import WRAP_KEY_BYTES
from sealserve.sealing.record import MAX_RECORD_BYTES

_Command = TypeVar("_Command", bound=Callable[..., Any])
_FILE = click.Path(path_type=Path, dir_okay=False)
_COLUMNS = ("NAME", "VERSION", "STATE", "BYTES", "CHANGED", "BY", "MODEL")

_NEW_VERSION = (
    click.argument("name"),
    click.option("--from", "source", type=_FILE, help="The file with the value, mode 0600."),
    click.option(
        "--generate", is_flag=True, help=f"Make a value of {WRAP_KEY_BYTES} random bytes."
    ),
    click.option(
        "--out", type=_FILE, help="With --generate: the new file to keep it in; mode 0600."
    ),
    click.option("--record", type=_FILE, help="The model record, of `sealserve model record`."),
    administration_options,
    json_option,
)


def new_version_options(command: _Command) -> _Command:
    """Of a command that hands a secret's value to the service."""
    for option in reversed(_NEW_VERSION):
        command = option(command)
    return command


@click.group()
def secret() -> None:
    """Add, rotate, retire and revoke the secrets of a key service.

    \b
    Example:
      sealserve secret add resnet50 --generate --out wrap.key --config keyservice.toml
      sealserve secret list --config keyservice.toml
    """


@secret.command()
@new_version_options
def add(
    name: str,
    source: Path | None,
    generate: bool,
    out: Path | None,
    record: Path | None,
    access: Access,
    as_json: bool,
) -> None:
    """Add a secret under a new NAME.

    With --generate the value is in its file before the service is told, so that a key that the
    service has is never lost to you. No enclave gets it until a policy says so.

    \b
    Example:
      sealserve secret add resnet50 --generate --out wrap.key --config keyservice.toml
      sealserve secret add resnet50 --from wrap.key --record record.json --config keyservice.toml
    """
    value, document = _value(source, generate, out), _record(record)
    again = f"sealserve secret add {name} --from {out}"
    with _told_of(out, again, access), access.open() as admin:
        facts = admin.add_secret(name, value, document)
    _done(f"added {facts.name}, version {facts.version}", [facts], as_json)


@secret.command()
@new_version_options
def rotate(
    name: str,
    source: Path | None,
    generate: bool,
    out: Path | None,
    record: Path | None,
    access: Access,
    as_json: bool,
) -> None:
    """Give the secret NAME a new version, which enclaves get from now on.

    The version before stays usable for enclaves that ask by name, so that what is sealed under it
    still opens: seal anew (`sealserve reseal`), then retire it. Without --record the record of the
    version before goes on.

    \b
    Example:
      sealserve secret rotate resnet50 --generate --out new.key --config keyservice.toml
      sealserve reseal -w wrap.key --new-wrap-key new.key -i models/resnet50
      sealserve secret retire resnet50 --version 1 --config keyservice.toml
    """
    value, document = _value(source, generate, out), _record(record)
    again = f"sealserve secret rotate {name} --from {out}"
    with _told_of(out, again, access), access.open() as admin:
        facts = admin.rotate_secret(name, value, document)
    _done(f"rotated {facts.name} to version {facts.version}", [facts], as_json)


@secret.command("list")
@administration_options
@json_option
def list_(access: Access, as_json: bool) -> None:
    """List every version of every secret; never a value.

    \b
    Example:
      sealserve secret list --config keyservice.toml
    """
    with access.open() as admin:
        found = admin.secrets()
    _show(found, as_json)


@secret.command()
@click.argument("name")
@administration_options
@json_option
def show(name: str, access: Access, as_json: bool) -> None:
    """Show every version of the secret NAME, newest first; never a value.

    With --json the model record is there, too.

    \b
    Example:
      sealserve secret show resnet50 --config keyservice.toml
    """
    with access.open() as admin:
        found = admin.secret(name)
    _show(found, as_json)


@secret.command()
@click.argument("name")
@click.option("--version", type=click.IntRange(min=1), help="This version alone.")
@administration_options
@json_option
def retire(name: str, version: int | None, access: Access, as_json: bool) -> None:
    """Release the secret NAME, or one version of it, no more.

    There is no way back; `secret rotate` gives the name a new version.

    \b
    Example:
      sealserve secret retire resnet50 --version 1 --config keyservice.toml
    """
    with access.open() as admin:
        changed = admin.retire_secret(name, version)
    _done(f"retired {len(changed)} of {name}", changed, as_json)


@secret.command()
@click.argument("name")
@click.option("--version", type=click.IntRange(min=1), help="This version alone.")
@click.option("--reason", required=True, help="Why; it goes on record.")
@administration_options
@json_option
def revoke(name: str, version: int | None, reason: str, access: Access, as_json: bool) -> None:
    """Revoke the secret NAME, or one version of it: from the next release on nobody gets it.

    While the current version is revoked no older one takes its place: rotate it. A revocation can
    be lifted (`sealserve revocation lift`).

    \b
    Example:
      sealserve secret revoke resnet50 --version 1 --reason 'wrap.key was in a backup' \\
        --config keyservice.toml
    """
    target = Target.parse(TargetKind.SECRET, name if version is None else f"{name}@{version}")
    with access.open() as admin:
        admin.revoke(target, reason)
    if as_json:
        print_json({"revoked": str(target)})
        return
    click.echo(f"revoked {target.value}, from the next release on")


def _value(source: Path | None, generate: bool, out: Path | None) -> bytes:
    """The value, which is in a file in any case."""
    if (source is None) == (not generate):
        raise UsageError("name one of --from FILE and --generate")
    if generate != (out is not None):
        raise UsageError("--generate and --out FILE go together: the value has to be kept")
    if source is not None:
        return read_secret(source, limit=VALUE_LIMIT)
    value = os.urandom(WRAP_KEY_BYTES)
    if out is not None:
        write_file(out, value, replace=False)
    return value


def _record(path: Path | None) -> bytes | None:
    return None if path is None else read_file(path, limit=MAX_RECORD_BYTES)


@contextmanager
def _told_of(out: Path | None, again: str, access: Access) -> Iterator[None]:
    """Say of a value that was made what to do with it, whatever becomes of the call."""
    try:
        yield
    except SealServeError as error:
        if out is not None:
            before = f"{error.hint}; " if error.hint else ""
            unsure = " (first look whether it has it: sealserve secret list)"
            error.hint = (
                f"{before}{out} holds the new value, and the service may not:"
                f" {again} {access.words}{unsure if isinstance(error, NetworkError) else ''}"
            )
        raise
    if out is not None:
        note(f"the value is in {out}: whoever has it can open what it seals")


def _done(text: str, changed: Sequence[SecretFacts], as_json: bool) -> None:
    if as_json:
        _show(changed, as_json)
        return
    click.echo(text)


def _show(found: Sequence[SecretFacts], as_json: bool) -> None:
    if as_json:
        print_json({"secrets": [_facts(each) for each in found]})
        return
    rows = [
        (
            each.name,
            str(each.version),
            str(each.state),
            str(each.size),
            each.changed_at.isoformat(timespec="seconds"),
            each.changed_by or "-",
            each.model or "-",
        )
        for each in found
    ]
    widths = [max(map(len, column)) for column in zip(_COLUMNS, *rows, strict=True)]
    for row in (_COLUMNS, *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def _facts(facts: SecretFacts) -> dict[str, object]:
    return {
        "name": facts.name,
        "version": facts.version,
        "state": str(facts.state),
        "size": facts.size,
        "created_at": facts.created_at.isoformat(),
        "created_by": facts.created_by,
        "changed_at": facts.changed_at.isoformat(),
        "changed_by": facts.changed_by,
        "model": facts.model,
        "record": facts.record.decode() if facts.record else None,
    }
