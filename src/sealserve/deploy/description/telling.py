"""What a person is told whose description is wrong: what was found, and what to write instead.

pydantic's errors and `tomllib`'s, with the cures that people mostly need: a key in the wrong table,
brackets of the wrong number, YAML, quotes that are missing. The value of a `key` is never repeated,
since it may be the key itself. Nothing here opens a file.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError

from sealserve.appraisal.complaints import faults
from sealserve.deploy.description.doubt import Doubt
from sealserve.deploy.description.model import Description
from sealserve.policies.places import Path

_TOML: Final = 'tables are [server] and [[models]], values "text", 8500, true; see toml.io'
_LINE: Final = re.compile(r"\bline ([0-9]+)\b")
_LONG_NUMBER: Final = re.compile(r"[0-9_]{4000}")
# What stands on the line that is no TOML, and what to do about it.
_CURES: Final = (
    (re.compile(r"^\ufeff"), "save the file as UTF-8 without a byte order mark"),
    (re.compile(r"^[ \t]*\{"), 'this is JSON, and a description is TOML: key = "value", [table]'),
    (
        re.compile(r"^[ \t]*[\w-]+[ \t]*:"),
        "write key = value: colons are YAML's",
    ),
    (re.compile(r"=[ \t]*(True|False|TRUE|FALSE|yes|no|on|off)\b"), "write true or false"),
    (re.compile("[\u201c\u201d\u201e\u2018\u2019]"), 'straight quotes around a text: "text"'),
    (re.compile(r"=[ \t]*[A-Za-z]"), 'quotes around a text: key = "text"'),
    (re.compile(r"=[ \t]*(#|$)"), "write a value behind the equals sign, or take the line away"),
)
_REST: Final = {
    "rest_port": "REST is not served in the enclave: the stock server's is plaintext, and ours has "
    "its TLS key by files in memory, which Gramine does not have",
}
_REST["rest_api_port"] = _REST["rest_port"]
_UNKNOWN: Final = "unknown key "
_NEAREST: Final = "; the nearest that exists is "
_SIMILAR: Final = 0.6


def not_toml(text: str, message: str) -> tuple[int, str]:
    """The line that `tomllib` means, and what to do there."""
    place = _LINE.search(message)
    line = int(place[1]) if place else text.rstrip().count("\n") + 1
    if number := _LONG_NUMBER.search(text) if "limit" in message else None:
        return text.count("\n", 0, number.start()) + 1, "write a number of a few digits"
    if "nested" in message:
        return line, "write texts, numbers, true and false: no value of a description nests"
    if "Cannot" in message:  # overwrite a value, declare a table twice
        return line, "write each key and each [table] once; of models there may be several"
    shown = text.split("\n")[line - 1] if line <= text.count("\n") + 1 else ""
    return line, next((cure for sign, cure in _CURES if sign.search(shown)), _TOML)


def told(invalid: ValidationError) -> Iterator[Doubt]:
    """Each fault in turn."""
    for path, message in faults(Description, invalid):
        if path and path[-1] in _REST:
            yield Doubt(path, "rest", _REST[str(path[-1])], "leave it out")
        elif message.startswith(_UNKNOWN):
            yield _unknown(path, message)
        elif path[-1:] == ("key",) and not message.endswith("missing"):
            yield Doubt(path, "invalid", _about_a_key(message), _hint(path))
        else:
            yield Doubt(path, "invalid", message, _brackets(path, message) or _hint(path))


def _unknown(path: Path, message: str) -> Doubt:
    """A key that no table has, or another one; the nearest where it is near."""
    what, _, nearest = message.rpartition(_NEAREST)
    key = str(path[-1])
    homes = [table for table, keys in _tables() if key in keys]
    if homes:
        where = " or ".join(homes)
        message = f"{what.removeprefix(_UNKNOWN)} does not belong here, but {where}"
        return Doubt(path, "misplaced-key", message, f"move it {where}")
    if difflib.SequenceMatcher(None, key[:100], nearest).ratio() >= _SIMILAR:
        return Doubt(path, "unknown-key", message, f"write {nearest}, or remove it")
    known = ", ".join(_table_at(path[:-1]).model_fields)
    return Doubt(path, "unknown-key", what, f"remove it; what may stand there: {known}")


def _tables() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Where keys belong, in words, and those that belong there."""
    yield "to the top, before the first [table]", tuple(Description.model_fields)
    for name, field in Description.model_fields.items():
        table = _table_in(field.annotation)
        if table is not None:
            header = f"[[{name}]]" if name == "models" else f"[{name}]"
            yield f"to {header}", tuple(table.model_fields)


def _about_a_key(message: str) -> str:
    """Without what was found."""
    place, _, rest = message.partition(": ")
    if ", expected" in rest:
        rest = "expected " + rest.rpartition(", expected ")[2]
    return f"{place}: {rest}; what stands there is not repeated here"


def _brackets(path: Path, message: str) -> str | None:
    """How the table is opened, where a table was written as several or several as one."""
    if path == ("models",) and "expected a list" in message:
        return "write [[models]], with two brackets on each side, once for each model"
    if len(path) == 1 and "found a list, expected a table" in message:
        return f"write [{path[0]}], with one bracket on each side"
    return None


def _hint(path: Path) -> str:
    """What the key at `path` is for, and how it is written."""
    table: Any = Description
    what = "the whole file"
    for part in path:
        if isinstance(part, int) or not (field := table.model_fields.get(part)):
            continue
        what = str(field.description)
        example = (field.examples or [None])[0]
        inner = _table_in(field.annotation)
        if inner is None:
            return f"{field.description}, such as {part} = {_toml(example)}"
        table = inner
    return f"{what}, with the keys {', '.join(table.model_fields)}"


def _table_at(path: Path) -> type[BaseModel]:
    table: type[BaseModel] = Description
    for part in path:
        field = table.model_fields.get(str(part))
        table = (field and _table_in(field.annotation)) or table
    return table


def _table_in(annotation: Any) -> type[BaseModel] | None:
    """The table that a field holds, or holds several of."""
    for each in (annotation, *get_args(annotation)):
        if isinstance(each, type) and issubclass(each, BaseModel):
            return each
    return None


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
