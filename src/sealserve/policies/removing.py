"""Values out of the text of a policy: what a line said of one goes with it, all else stays.

A value that has a line to itself is taken out with its line, and so with the comment beside it; one
among others with the comma and the blank that held it there. What comes out is read again and must
be the old document without that value, as `inserting` does it.
"""

from __future__ import annotations

import re
import tomllib
from typing import Final

from sealserve.policies.inserting import Edited, checked
from sealserve.policies.places import Path, Places

_GAP: Final = r"(?:[ \t\r\n]|#[^\n]*+)*+"
_COMMA_AFTER: Final = re.compile(rf"{_GAP}(,)[ \t]*")
_REST_OF_LINE: Final = re.compile(r"[ \t]*(,)?[ \t]*(?:#[^\n]*)?\r?\n")


def without_value(text: str, index: int, key: str, value: bytes, *, done: str) -> Edited:
    """`text` without `value` in the list `key` of the identity at `index`.

    The list must have another value. Raises ConfigError for a form that cannot be edited.
    """
    expected = tomllib.loads(text)
    values: list[str] = expected["identities"][index][key]
    edited = text
    for place in reversed([at for at, each in enumerate(values) if each.lower() == value.hex()]):
        edited = _without(edited, ("identities", index, key), place)
        del values[place]
    return checked(edited, expected, done)


def _without(text: str, path: Path, place: int) -> str:
    places = Places(text)
    array, span = places.span(path), places.span((*path, place))
    comma = _COMMA_AFTER.match(text, span.end, array.end)
    line_start = text.rfind("\n", 0, span.start) + 1
    rest = _REST_OF_LINE.match(text, span.end, array.end)
    alone = line_start > array.start and not text[line_start : span.start].strip()
    if alone and rest and (rest[1] or not comma):
        return text[:line_start] + text[rest.end() :]
    if comma:
        return _cut(text, span.start, span.end, comma.start(1), comma.end())
    before = _COMMA_AFTER.match(text, places.span((*path, place - 1)).end) if place else None
    if before is None:
        return text[: span.start] + text[span.end :]
    return _cut(text, before.start(1), before.end(1), span.start, span.end)


def _cut(text: str, first: int, first_end: int, second: int, second_end: int) -> str:
    """Without two parts, and without what is between them if it says nothing."""
    between = text[first_end:second]
    return text[:first] + (between if between.strip(" \t") else "") + text[second_end:]
