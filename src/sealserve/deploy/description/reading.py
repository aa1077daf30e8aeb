"""A description from its text: every fault at once, each with its line and what to write instead.

Nothing here opens a file but `load_description`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path as File
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError

from sealserve.appraisal.bounded_toml import read_toml
from sealserve.appraisal.complaints import faults
from sealserve.deploy.description.model import Description
from sealserve.deploy.description.rules import Doubt, contradictions, doubts
from sealserve.errors import ConfigError
from sealserve.files import read_file
from sealserve.policies.finding import Finding, Severity, in_order
from sealserve.policies.places import Path, Places

DESCRIPTION_LIMIT: Final = 64 << 10  # bytes
_LINE: Final = re.compile(r"\bline ([0-9]+)\b")
_TOML: Final = 'tables are [server] and [[models]], values "text", 8500, true; see toml.io'
_REST: Final = {
    "rest_port": "REST is not served in the enclave: the stock server's is plaintext, and ours has "
    "its TLS key by files in memory, which Gramine does not have",
}
_REST["rest_api_port"] = _REST["rest_port"]


@dataclass(frozen=True, slots=True)
class Checked:
    """The description, unless it has errors, and the findings in the order of the file."""

    description: Description | None
    findings: tuple[Finding, ...]


def check_description(text: str) -> Checked:
    """Read the description in `text`; what is wrong with it is in the findings."""
    try:
        document = read_toml(text, "the description")
        places = Places(text)
    except ConfigError as error:
        return Checked(None, (_not_toml(text, error),))
    try:
        description = Description.model_validate(document)
    except ValidationError as invalid:
        found = [_finding(places, Severity.ERROR, each) for each in _faults(invalid)]
        return Checked(None, in_order(found))
    wrong = [_finding(places, Severity.ERROR, each) for each in contradictions(description)]
    odd = [_finding(places, Severity.WARNING, each) for each in doubts(description)]
    return Checked(None if wrong else description, in_order([*wrong, *odd]))


def load_description(path: File) -> Description:
    """The description in the file at `path`; raises ConfigError that names every fault's line."""
    checked = check_description(read_text(path))
    if checked.description is not None:
        return checked.description
    wrong = [each for each in checked.findings if each.severity is Severity.ERROR]
    raise ConfigError(
        f"{path}: " + "; ".join(f"line {each.line}: {each.message}" for each in wrong),
        hint=wrong[0].hint,
    )


def read_text(path: File) -> str:
    """The text of the file at `path`; raises ConfigError."""
    try:
        return read_file(path, limit=DESCRIPTION_LIMIT).decode()
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text") from None


def _finding(places: Places, severity: Severity, doubt: Doubt) -> Finding:
    line = places.line(doubt.path)
    return Finding(severity, line, f"description.{doubt.code}", doubt.message, doubt.hint)


def _not_toml(text: str, error: ConfigError) -> Finding:
    place = _LINE.search(error.message)
    line = int(place[1]) if place else text.rstrip().count("\n") + 1
    return Finding(Severity.ERROR, line, "description.toml", error.message, _TOML)


def _faults(invalid: ValidationError) -> Iterator[Doubt]:
    for path, message in faults(Description, invalid):
        if path[:1] == ("server",) and path[-1] in _REST:
            yield Doubt(path, "rest", _REST[str(path[-1])], "leave it out")
        elif message.startswith("unknown key"):
            nearest = message.rsplit(" ", 1)[-1]
            yield Doubt(path, "unknown-key", message, f"write {nearest}, or remove it")
        else:
            yield Doubt(path, "invalid", message, _hint(path))


def _hint(path: Path) -> str:
    """What the key at `path` is for, and how it is written."""
    table: Any = Description
    what = "the whole file"
    for part in path:
        if isinstance(part, int) or not (field := table.model_fields.get(part)):
            continue
        what = str(field.description)
        example = (field.examples or [None])[0]
        known = [each for each in (field.annotation, *get_args(field.annotation)) if _table(each)]
        if not known:
            return f"{field.description}, such as {part} = {_toml(example)}"
        table = known[0]
    return f"{what}, with the keys {', '.join(table.model_fields)}"


def _table(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
