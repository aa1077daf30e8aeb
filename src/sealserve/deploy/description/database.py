"""The database of a key service inside the cluster: `postgresql://USER@HOST/DATABASE`.

It is written into a configuration of the key service's, whose rules these are (docs/operations.md,
"Storage and several copies"), narrowed to what stands in a URL unquoted. No password, and no
parameter: how the server's certificate is verified is rendered.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from sealserve.errors import UsageError
from sealserve.hosts import Address, is_loopback, parse_address

PORT: Final = 5432
_SCHEME: Final = "postgresql://"
_NAME: Final = r"[A-Za-z0-9_][A-Za-z0-9_-]{0,47}"  # PostgreSQL has 63; rendering adds to it
_HOST: Final = r"[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]"
_URL: Final = re.compile(rf"{_SCHEME}({_NAME})@({_HOST})(:[0-9]{{1,5}})?/({_NAME})")
_PASSWORD: Final = re.compile(r"//[^/@]*:.*@")
_EXPECTED: Final = "expected postgresql://USER@HOST/DATABASE"


@dataclass(frozen=True, slots=True)
class Database:
    """A database of PostgreSQL, and as whom it is used."""

    user: str
    address: Address
    name: str

    def __str__(self) -> str:
        return f"{_SCHEME}{self.user}@{self.address}/{self.name}"


def parse_database(text: str) -> Database:
    """The database that a URL names; ValueError, which repeats nothing that may be a password."""
    if _PASSWORD.search(text):
        raise ValueError(f"holds a password, which is for a Secret; {_EXPECTED}")
    if "?" in text:
        raise ValueError(f"has parameters, and those that are needed are rendered; {_EXPECTED}")
    found = _URL.fullmatch(text)
    if found is None:
        raise ValueError(_EXPECTED)
    user, host, port, name = found.groups()
    try:
        address = parse_address(f"{host}{port or f':{PORT}'}")
    except UsageError as error:
        raise ValueError(error.message) from None
    if is_loopback(address.host):
        raise ValueError(f"{address.host} is the pod itself, which has no database; {_EXPECTED}")
    return Database(user, address, name)
