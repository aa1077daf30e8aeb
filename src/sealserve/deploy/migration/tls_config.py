"""ssl.cfg of the old folder: whose key opens it, for which path, and whether it is mutual.

What is opened stays in memory; told are paths, the names of keys' files and the mode.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sealserve.deploy.migration.fault import of_rule, printable
from sealserve.deploy.migration.files import Gathered, Item, Kind
from sealserve.deploy.migration.sealed import NO_KEY, OTHER_KEY
from sealserve.deploy.tls_check import read_tls_file
from sealserve.deploy.weakness import Rule, Severity, Weakness
from sealserve.errors import ConfigError, IntegrityError
from sealserve.sealing import MAGIC, open_sealed_under

PATH: Final = "ssl.cfg"

OTHER_PATH: Final = Rule(
    "migrate.tls-path",
    Severity.WARNING,
    f'the description has config = "{PATH}", where nothing opens it',
    "write that path into [tls] config, or seal it again: sealserve seal --embed-path",
)
UNKNOWN: Final = Rule(
    "migrate.tls-mode",
    Severity.WARNING,
    "mode in [tls] is a guess: the stock server takes what the file has, and ours does not start "
    "with the other mode",
    "migrate with --wrap-key; or sealserve tls check ssl.cfg -w WRAP_KEY --for sealserve.toml",
)
RULES: Final = (OTHER_PATH, UNKNOWN)


@dataclass(frozen=True, slots=True)
class TlsFound:
    """The mode of an ssl.cfg that was opened, with its source; and what is wrong with each."""

    mode: tuple[str, str] | None
    faults: tuple[Weakness, ...]


def find_tls(
    gathered: Gathered, keys: Mapping[str, bytes], key: str | None, now: datetime
) -> TlsFound:
    """Try the keys on each sealed ssl.cfg; `key` is the file of the models' key."""
    mode: tuple[str, str] | None = None
    faults: list[Weakness] = []
    for item in gathered.of(Kind.TLS_CONFIG):
        if not item.data.startswith(MAGIC):
            continue  # the keys' own linter says so
        if not keys:
            faults.append(of_rule(UNKNOWN, item.shown, None, "it is sealed, and no key was named"))
            continue
        found = _in_sealed(item, keys, key, now)
        mode = mode or found.mode
        faults += found.faults
    return TlsFound(mode, tuple(faults))


def _in_sealed(item: Item, keys: Mapping[str, bytes], key: str | None, now: datetime) -> TlsFound:
    try:
        number, opened = open_sealed_under(io.BytesIO(item.data), list(keys.values()))
        path, text = opened.header.path, opened.readall()
    except IntegrityError as error:
        message = f"no key opens it: {error.message}"
        return TlsFound(None, (of_rule(NO_KEY, item.shown, None, message),))
    own = list(keys)[number]
    if key is not None and own != key:
        message = f"it is sealed with {printable(own)}, and the models with {printable(key)}"
        return TlsFound(None, (of_rule(OTHER_KEY, item.shown, None, message),))
    faults = []
    if path != PATH:
        message = f"it is sealed for the path {printable(path)}"
        faults.append(of_rule(OTHER_PATH, item.shown, None, message))
    try:
        mode = read_tls_file(text, now).mode
    except ConfigError as error:
        faults.append(of_rule(UNKNOWN, item.shown, None, error.message))
        return TlsFound(None, tuple(faults))
    return TlsFound((mode, f"{item.shown}: opened with {printable(own)}"), tuple(faults))
