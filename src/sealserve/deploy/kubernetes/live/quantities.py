"""Quantities as Kubernetes writes them: `250m`, `512Mi`, `2`.

Source: Kubernetes, API reference, "Quantity".
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, Final

_FORM: Final = re.compile(r"([0-9]{1,30}(?:\.[0-9]{1,30})?)(?:[eE]([+-]?[0-9]{1,2})|(\w*))")
_SUFFIXES: Final = {
    "": Decimal(1),
    **{mark: Decimal(10) ** -power for mark, power in (("n", 9), ("u", 6), ("m", 3))},
    **{mark: Decimal(1000) ** power for power, mark in enumerate("kMGTPE", 1)},
    **{f"{mark}i": Decimal(1024) ** power for power, mark in enumerate("KMGTPE", 1)},
}
_BINARY: Final = ("Ti", "Gi", "Mi", "Ki")
_BYTES: Final = ("memory", "storage", "ephemeral-storage", "sgx.intel.com/epc")
_TENTH: Final = Decimal("0.1")


def parse(given: Any) -> Decimal:
    """The number that a quantity stands for; 0 for what is none."""
    found = _FORM.fullmatch(str(given).strip()) if isinstance(given, str | int) else None
    if found is None:
        return Decimal(0)
    digits, exponent, suffix = found.groups()
    if exponent is not None:
        return Decimal(digits).scaleb(int(exponent))
    return Decimal(digits) * _SUFFIXES.get(suffix, Decimal(0))


def as_text(number: Decimal, resource: str) -> str:
    """A number of a resource for people: bytes in a unit, to a tenth."""
    if resource in _BYTES:
        for mark in _BINARY:
            if number >= _SUFFIXES[mark]:
                return f"{_plain((number / _SUFFIXES[mark]).quantize(_TENTH))}{mark}"
    return _plain(number)


def _plain(number: Decimal) -> str:
    return f"{number.normalize():f}"
