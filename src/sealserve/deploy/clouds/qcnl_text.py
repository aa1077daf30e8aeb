"""`sgx_default_qcnl.conf` to its keys and values, as Intel's reader would take them.

JSON with comments since DCAP 1.13, and lines of `KEY=value` before; what is not JSON is tried as
those. Nothing is judged here. Pure; FormatError says why a text is neither.
Source: intel/confidential-computing.tee.dcap, `QuoteGeneration/qcnl` (2026): `qcnl_config.cpp`
(RapidJSON with `kParseCommentsFlag`: of two equal keys it finds the first), and
`linux/qcnl_config_impl.cpp`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sealserve.errors import FormatError

QCNL_LIMIT = 1 << 14  # bytes; Intel's samples have two thousand
_TOKEN = re.compile(
    r'(?P<string>"[^"\\]*+(?:\\.[^"\\]*+)*"?)|//[^\n]*|/\*.*?(?:\*/|(?P<open>\Z))', re.DOTALL
)
_LINE = re.compile(r"(?P<key>[A-Z_]+)=(?P<value>.*)")
_NUMBER = re.compile(r"[0-9]{1,9}")
_OLDER_KEYS = frozenset(
    {
        "PCCS_URL",
        "USE_SECURE_CERT",
        "COLLATERAL_SERVICE",
        "PCCS_API_VERSION",
        "RETRY_TIMES",
        "RETRY_DELAY",
        "LOCAL_PCK_URL",
        "PCK_CACHE_EXPIRE_HOURS",
        "VERIFY_COLLATERAL_CACHE_EXPIRE_HOURS",
        "LOCAL_CACHE_ONLY",
    }
)
_FLAGS = {"USE_SECURE_CERT": True, "LOCAL_CACHE_ONLY": False}  # what holds unless the other is said


@dataclass(frozen=True)
class Read:
    """What a text says; the keys of the older form are in lower case, as JSON has them."""

    values: Mapping[str, Any]
    older_form: bool = False
    repeated: frozenset[str] = field(default=frozenset())
    """Keys that are there more than once in one object; the first counts."""


def read_qcnl(data: bytes) -> Read:
    """The keys and values of the file; raises FormatError for what Intel's reader cannot use."""
    if len(data) > QCNL_LIMIT:
        raise FormatError(f"more than {QCNL_LIMIT} bytes")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise FormatError("no text in UTF-8") from None
    try:
        return _read_json(text)
    except FormatError:
        older = _older(text)
        if not older:
            raise
        return Read(older, older_form=True)


def _read_json(text: str) -> Read:
    repeated: set[str] = set()

    def first(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                repeated.add(key)
            else:
                found[key] = value
        return found

    try:
        values = json.loads(
            _without_comments(text),
            object_pairs_hook=first,
            parse_float=_finite,
            parse_constant=_no_constant,
        )
        json.dumps(values, ensure_ascii=False).encode()  # half of a surrogate pair is no text
    except json.JSONDecodeError as error:
        raise FormatError(f"line {error.lineno}: {error.msg}") from None
    except (ValueError, RecursionError):
        raise FormatError("a value that JSON has not") from None
    if not isinstance(values, dict):
        raise FormatError("no JSON object")
    return Read(values, repeated=frozenset(repeated))


def _without_comments(text: str) -> str:
    """`text` with its comments blank, so that lines keep their numbers."""

    def blank(match: re.Match[str]) -> str:
        if match["string"] is not None or match["open"] is not None:
            return match[0]
        return " " + "\n" * match[0].count("\n")

    return _TOKEN.sub(blank, text)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("too large")
    return number


def _no_constant(text: str) -> float:
    raise ValueError(text)


def _older(text: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for line in text.split("\n"):
        match = _LINE.fullmatch("".join(line.split()))
        if match is None or match["key"] not in _OLDER_KEYS:
            continue
        key, value = match["key"], match["value"]
        if key in _FLAGS:
            said = value in ("TRUE", "true", "FALSE", "false")
            found[key.lower()] = value.lower() == "true" if said else _FLAGS[key]
        else:
            found[key.lower()] = int(value) if _NUMBER.fullmatch(value) else value
    return found
