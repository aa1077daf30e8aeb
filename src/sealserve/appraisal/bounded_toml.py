"""TOML to a table, at a cost that its length bounds.

`tomllib` reads a key of n parts (`a.b.c…`) in time and memory that grow with the square of n, so 64
KB of dots would hold a process for seconds and gigabytes. No key of ours has more than two parts,
so a text that seems to have a long one is refused before it is read. Nothing else is judged here.
Source: TOML 1.0, "Keys".
"""

from __future__ import annotations

import re
import tomllib
from typing import Any

from sealserve.errors import ConfigError

MAX_KEY_PARTS = 16
_PART = r"""(?:[A-Za-z0-9_-]++|"[^"\n]*+"|'[^'\n]*+')"""
# It begins at the beginning of a word, or every letter of a long one would be a new start.
_LONG_KEY = re.compile(rf"(?<![A-Za-z0-9_-])(?:{_PART}[ \t]*+\.[ \t]*+){{{MAX_KEY_PARTS}}}")


def read_toml(text: str, what: str) -> dict[str, Any]:
    """The table that `text` is; `what` names it in errors. Raises ConfigError."""
    if long := _LONG_KEY.search(text):
        line = text.count("\n", 0, long.start()) + 1
        raise ConfigError(
            f"{what}: line {line} has more than {MAX_KEY_PARTS} names with dots between them, "
            "and no key has as many"
        )
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # TOMLDecodeError is a ValueError
        raise ConfigError(f"{what} is not TOML: {error}") from None
