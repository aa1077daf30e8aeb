"""Values into the text of a policy: where they belong, and every other byte as it was.

The text is edited where the value belongs, so that comments, order and layout stay as their author
made them. What comes out is read again and must be the old document with exactly the intended
change: a file whose form this does not know is refused, never damaged.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from dataclasses import dataclass
from typing import Any, Final

from sealserve.appraisal.identities import Identity
from sealserve.appraisal.policy import parse_policy
from sealserve.errors import ConfigError, UsageError
from sealserve.policies.places import Path, Places
from sealserve.policies.toml_text import basic_string

_AFTER_VALUE: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*(,)?")
_UNPRINTABLE: Final = re.compile(r"[^\x20-\x7e]")


@dataclass(frozen=True, slots=True)
class Edited:
    """The new text, and what was done in a sentence; `changed` is false where nothing had to be."""

    text: str
    changed: bool
    done: str


def find_identity(text: str, name: str, *, create: bool) -> tuple[int, Identity] | None:
    """The place and value of the identity in the policy `text`; None where it is to be made.

    Raises ConfigError for a text that is no policy, UsageError for a name that there is not.
    """
    policy = parse_policy(text)
    for index, identity in enumerate(policy.identities):
        if identity.name == name:
            return index, identity
    if create:
        return None
    names = [identity.name for identity in policy.identities]
    nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.0)
    raise UsageError(
        f"the policy has no identity {name!r}"
        + (f"; the nearest name is {nearest[0]!r}" if nearest else ""),
        hint="correct the name, or make a new identity: --create",
    )


def with_value(text: str, index: int, key: str, value: str, *, remark: str, done: str) -> Edited:
    """`text` with `value` at the end of the list `key` of the identity at `index`.

    Raises ConfigError for a form that cannot be edited.
    """
    edited = _append(text, ("identities", index, key), f'"{value}"', remark)
    expected = tomllib.loads(text)
    expected["identities"][index][key].append(value)
    return checked(edited, expected, done)


def with_identity(text: str, table: dict[str, Any], remark: str) -> Edited:
    """`text` with a new identity after the last one, or at its end; raises as `with_value`."""
    expected = tomllib.loads(text)
    expected.setdefault("identities", []).append(table)
    places = Places(text)
    ends = [places.span(path).end for path in places.paths() if path[0] == "identities"]
    line_end = text.find("\n", max(ends)) if ends else -1
    at = len(text) if line_end < 0 else line_end + 1
    newline = _newline(text)
    lines = ["", f"[[identities]]{_comment(remark)}"]
    lines += [f"{key} = {_written(value)}" for key, value in table.items()]
    before = text[:at] if text[:at].endswith("\n") or not text[:at] else text[:at] + newline
    return checked(
        before + newline.join(lines) + newline + text[at:],
        expected,
        f"the identity {table['name']!r} is new; no rule names it yet",
    )


def _append(text: str, path: Path, value: str, remark: str) -> str:
    """`text` with `value` at the end of the array at `path`, laid out like the entry before it."""
    places = Places(text)
    array = places.span(path)
    count = sum(1 for each in places.paths() if each[:-1] == path)
    last = places.span((*path, count - 1))
    line_start = text.rfind("\n", 0, last.start) + 1
    indent = text[line_start : last.start]
    after = _AFTER_VALUE.match(text, last.end)
    comma = bool(after and after[1])
    line_end = text.find("\n", after.end() if after and comma else last.end, array.end)
    if line_start < array.start or indent.strip() or line_end < 0:
        return f"{text[: last.end]}, {value}{text[last.end :]}"
    new_line = f"{indent}{value},{_comment(remark)}{_newline(text)}"
    before = text[: last.end] + ("" if comma else ",")
    return before + text[last.end : line_end + 1] + new_line + text[line_end + 1 :]


def _written(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_written, value))}]"
    return basic_string(value) if isinstance(value, str) else str(value)


def checked(text: str, expected: dict[str, Any], done: str) -> Edited:
    """An edited `text`, once it is found to say what is `expected`; ConfigError otherwise."""
    try:
        same = tomllib.loads(text) == expected
    except ValueError:
        same = False
    if not same:
        raise ConfigError(
            "the policy is written in a form that cannot be edited here",
            hint="add the value by hand; `sealserve evidence show` prints what is in a file",
        )
    parse_policy(text)
    return Edited(text, True, done)


def _comment(remark: str) -> str:
    printable = _UNPRINTABLE.sub("?", remark)[:100]
    return f"  # {printable}" if printable else ""


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"
