"""`sealserve key`: make wrap keys, and read them for the other commands."""

from __future__ import annotations

import os
from pathlib import Path

import click

from sealserve.cli.output import note
from sealserve.errors import UsageError
from sealserve.files import read_secret, write_file
from sealserve.sealing import WRAP_KEY_BYTES

_LIMIT = 4096  # enough to tell what a file that is no wrap key holds


@click.group()
def key() -> None:
    """Make wrap keys: the keys that files are sealed under.

    \b
    Example:
      sealserve key new wrap.key
    """


@key.command()
@click.argument("file", type=click.Path(path_type=Path))
def new(file: Path) -> None:
    """Write 16 random bytes to FILE, for its owner alone; never over an existing file.

    \b
    Example:
      sealserve key new wrap.key
    """
    write_file(file, os.urandom(WRAP_KEY_BYTES), replace=False)
    note(f"a new wrap key is in {file}: whoever has it can open what it seals")


def load_wrap_key(file: Path) -> bytes:
    """The 16 bytes of a wrap key file; refuses one of another length or that others may use."""
    data = read_secret(file, limit=_LIMIT)
    if len(data) != WRAP_KEY_BYTES:
        hexadecimal = len(data.strip()) == 2 * WRAP_KEY_BYTES
        raise UsageError(
            f"{file} holds {len(data)} bytes, and a wrap key is {WRAP_KEY_BYTES} raw bytes",
            hint="are these hexadecimal digits? `xxd -r -p` makes bytes of them"
            if hexadecimal
            else "`sealserve key new FILE` makes one",
        )
    return data
