"""`sealserve policy check`: whether a policy file is valid, and what in it is doubtful.

A fault of the schema is an error, and nothing else is said then. What the schema accepts may still
not be what its author meant: rules that cannot grant, exceptions that ended, measurements that look
like slips of the pen. Each finding has its line.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pydantic import ValidationError

from sealserve.appraisal.complaints import faults
from sealserve.appraisal.policy import POLICY_LIMIT, Policy, parse_policy
from sealserve.errors import ConfigError
from sealserve.policies.finding import Doubt, Finding, Severity, in_order
from sealserve.policies.lint_exceptions import doubts_of_exceptions
from sealserve.policies.lint_rules import doubts_of_rules
from sealserve.policies.lint_values import doubts_of_values
from sealserve.policies.places import Path, Places
from sealserve.policies.reach import Reach

_HINT: Final = "docs/policy-reference.md describes every key"
_LINE: Final = re.compile(r"\bline ([0-9]+)\b")
_SEVERAL: Final = re.compile(r"; (?=two |[a-z]+\[)")  # what is wrong with the policy as a whole
_PART: Final = re.compile(r"([a-z_]+)|\[([0-9]+)\]|\.")


@dataclass(frozen=True, slots=True)
class Checked:
    """The policy, unless it is not valid, and the findings in the order of the file."""

    policy: Policy | None
    findings: tuple[Finding, ...]


def check_policy(text: str, now: datetime) -> Checked:
    """Check the policy in `text` as it stands at `now`, which knows its zone."""
    try:
        policy = parse_policy(text)
    except ConfigError as error:
        return Checked(None, in_order(_invalid(text, error)))
    places, reach = Places(text), Reach(policy)
    doubts = [
        *doubts_of_rules(policy, reach),
        *doubts_of_exceptions(policy, reach, now),
        *doubts_of_values(policy),
    ]
    return Checked(policy, in_order(doubt.at(places) for doubt in doubts))


def _invalid(text: str, error: ConfigError) -> tuple[Finding, ...]:
    """The faults that the schema found, each on its line; otherwise the error as it is."""
    hint = error.hint or _HINT
    try:
        places = Places(text) if len(text) <= POLICY_LIMIT else None
    except ConfigError:
        places = None
    if places is None:
        line = _line_in(error.message, text)
        return (Finding(Severity.ERROR, line, "policy.invalid", error.message, hint),)
    # What has a hint of its own is another version, of which this one's keys would say nothing.
    found = list(_faults(text)) if error.hint is None else [(("version",), error.message)]
    return tuple(
        Doubt(Severity.ERROR, path, "invalid", message, hint).at(places)
        for path, message in found or [((), error.message)]
    )


def _faults(text: str) -> Iterator[tuple[Path, str]]:
    """Path and message of each fault of the schema."""
    try:
        Policy.model_validate(tomllib.loads(text))
    except ValidationError as invalid:
        for fault in faults(Policy, invalid):
            if fault.path:
                yield fault
                continue
            for message in _SEVERAL.split(fault.message):
                yield _path_in(message), message


def _line_in(message: str, text: str) -> int:
    """The line that a message names in its own words; the first where there is none."""
    if "(at end of document)" in message:
        return text.rstrip().count("\n") + 1
    place = _LINE.search(message)
    return int(place[1]) if place else 1


def _path_in(message: str) -> Path:
    """The path at the beginning of a message such as `rules[0].identities[1]: there is no …`."""
    path: list[str | int] = []
    at = 0
    while part := _PART.match(message, at):
        at = part.end()
        if part[1] or part[2]:
            path.append(part[1] or int(part[2]))
    return tuple(path) if message[at : at + 1] == ":" else ()
