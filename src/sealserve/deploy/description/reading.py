"""A description from its text: every fault at once, each with its line and what to write instead.

Nothing here opens a file but `load_description`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path as File
from typing import Final

from pydantic import ValidationError

from sealserve.appraisal.bounded_toml import read_toml
from sealserve.deploy.description.doubt import Doubt
from sealserve.deploy.description.model import Description
from sealserve.deploy.description.rules import contradictions, doubts
from sealserve.deploy.description.telling import not_toml, told
from sealserve.errors import ConfigError
from sealserve.files import read_file
from sealserve.policies.finding import Finding, Severity, in_order
from sealserve.policies.places import Places

DESCRIPTION_LIMIT: Final = 64 << 10  # bytes
VALUE_LIMIT: Final = 4000
"""Keys and values; the largest description that is any use has a thousand."""
FAULT_LIMIT: Final = 100


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
    if len(places.paths()) > VALUE_LIMIT:
        return Checked(None, (_too_much(places),))
    try:
        description = Description.model_validate(document)
    except ValidationError as invalid:
        found = [_finding(places, Severity.ERROR, each) for each in _first(told(invalid))]
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
    data = read_file(path, limit=DESCRIPTION_LIMIT)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path}: line {line} is not UTF-8 text", hint="save the file as UTF-8"
        ) from None


def _finding(places: Places, severity: Severity, doubt: Doubt) -> Finding:
    line = places.line(doubt.path)
    return Finding(severity, line, f"description.{doubt.code}", doubt.message, doubt.hint)


def _first(faults: Iterator[Doubt]) -> Iterator[Doubt]:
    yield from islice(faults, FAULT_LIMIT)
    if (next_ := next(faults, None)) is not None:
        message = f"more than {FAULT_LIMIT} faults; the rest is not shown"
        yield Doubt(next_.path, "more", message, "mend those that are shown, and check again")


def _not_toml(text: str, error: ConfigError) -> Finding:
    line, cure = not_toml(text, error.message)
    return Finding(Severity.ERROR, line, "description.toml", error.message, cure)


def _too_much(places: Places) -> Finding:
    line = places.line(places.paths()[VALUE_LIMIT])
    message = f"more than {VALUE_LIMIT} keys and values"
    return Finding(Severity.ERROR, line, "description.large", message, "describe several services")
