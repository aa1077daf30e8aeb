"""A secret that a person chose, as one line of a private file: a passphrase or a PIN.

The line never stands in a message.
"""

from __future__ import annotations

from pathlib import Path

from sealserve.errors import ConfigError
from sealserve.files import read_secret

LINE_LIMIT = 1024  # bytes


def read_line(path: Path, what: str) -> str:
    """The only line of `path`, without its end; raises ConfigError.

    `what` it is ("PIN") is said in errors.
    """
    data = read_secret(path, limit=LINE_LIMIT)
    try:
        line = data.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text, expected one line: the {what}") from None
    if not line or not line.isprintable():
        raise ConfigError(
            f"{path} is empty or not one line of printable text, expected one line: the {what}"
        )
    return line
