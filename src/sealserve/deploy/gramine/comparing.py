"""A signed manifest beside the one that a description gives here: each difference, with both sides.

What `gramine-manifest` adds by itself, its defaults, is no difference. Pure: two documents and two
lists of hashes are compared.
Source of the defaults: Gramine 1.5 to 1.9, `python/graminelibos/manifest.py`, `Manifest.__init__`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

DEFAULTS: Final[Mapping[str, Any]] = {
    "sgx.max_threads": 4,
    "sgx.isvprodid": 0,
    "sgx.isvsvn": 0,
    "sgx.remote_attestation": "none",
    "sgx.debug": False,
    "sgx.enable_stats": False,
    "sgx.edmm_enable": False,
}
_DEFAULTS_TO_1_5: Final = {
    f"sgx.require_{name}": False for name in ("avx", "avx512", "mpx", "pkru", "amx", "exinfo")
}
_DEFAULTS_FROM_1_6: Final = {
    "sgx.use_exinfo": False,
    **{f"sgx.cpu_features.{name}": "unspecified" for name in ("avx", "avx512", "amx")},
    **{f"sgx.cpu_features.{name}": "disabled" for name in ("mpx", "pkru")},
}
_APART: Final = ("sgx.trusted_files", "loader.entrypoint.sha256")


class Kind(StrEnum):
    """What a difference is about."""

    KEY = "key"
    CHANGED_FILE = "changed-file"
    MISSING_FILE = "missing-file"
    ADDITIONAL_FILE = "additional-file"
    ORDER = "order"
    SIGSTRUCT = "sigstruct"
    MEASUREMENT = "measurement"


@dataclass(frozen=True, slots=True)
class Difference:
    """`signed` is what was signed, `here` what the description and this machine give.

    None: nothing. A missing file is one that was signed and is not here, an additional one is here
    and was not signed.
    """

    kind: Kind
    name: str
    signed: object
    here: object

    def as_dict(self) -> dict[str, object]:
        """The difference as a JSON object."""
        return {"kind": self.kind, "name": self.name, "signed": self.signed, "here": self.here}


def different_keys(
    signed: Mapping[str, Any], here: Mapping[str, Any], version: tuple[int, int]
) -> Iterator[Difference]:
    """Keys whose values differ, by their dotted names; trusted files and hashes are left aside."""
    defaults = {**DEFAULTS, **(_DEFAULTS_FROM_1_6 if version > (1, 5) else _DEFAULTS_TO_1_5)}
    left, right = _flat(signed), _flat(here)
    for name in dict.fromkeys((*right, *left)):
        if name in _APART:
            continue
        one, other = left.get(name, defaults.get(name)), right.get(name, defaults.get(name))
        yield from _values(name, one, other)


def _flat(table: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in table.items():
        name = f"{before}{key}"
        if isinstance(value, dict) and value:
            found |= _flat(value, f"{name}.")
        else:
            found[name] = value
    return found


def _values(name: str, signed: Any, here: Any) -> Iterator[Difference]:
    if isinstance(signed, list) and isinstance(here, list):
        yield from _lists(name, signed, here)
    elif type(signed) is not type(here) or signed != here:
        yield Difference(Kind.KEY, name, signed, here)


def _lists(name: str, signed: list[Any], here: list[Any]) -> Iterator[Difference]:
    if len(signed) == len(here):
        for index, (one, other) in enumerate(zip(signed, here, strict=True)):
            yield from _values(f"{name}[{index}]", one, other)
        return
    for index, each in enumerate(signed):
        if each not in here:
            yield Difference(Kind.KEY, f"{name}[{index}]", each, None)
    for each in here:
        if each not in signed:
            yield Difference(Kind.KEY, f"{name}[]", None, each)
    if all(each in here for each in signed) and all(each in signed for each in here):
        yield Difference(Kind.KEY, name, signed, here)


def different_files(
    signed: Mapping[str, str], here: Mapping[str, str | None]
) -> Iterator[Difference]:
    """Trusted files that differ, by URI; hashes in hex. Their order is measured, too."""
    for uri, digest in signed.items():
        found = here.get(uri)
        if found is None:
            yield Difference(Kind.MISSING_FILE, uri, digest, None)
        elif found != digest:
            yield Difference(Kind.CHANGED_FILE, uri, digest, found)
    for uri, found in here.items():
        if uri not in signed:
            yield Difference(Kind.ADDITIONAL_FILE, uri, None, found)
    if list(signed) != list(here) and set(signed) == set(here):
        at = next(i for i, (a, b) in enumerate(zip(signed, here, strict=True)) if a != b)
        yield Difference(Kind.ORDER, f"sgx.trusted_files[{at}]", list(signed)[at], list(here)[at])
