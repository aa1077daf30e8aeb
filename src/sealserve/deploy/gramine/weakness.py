"""What the linter says: rules with stable codes, and weaknesses that were found by them.

A rule knows what follows from its fault (mostly: what the host gains) and the cure; a weakness is
one place of a manifest where it applies.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from sealserve.policies.places import Path


class Severity(StrEnum):
    """An error is a hole or does not run, a warning is to be looked at, a note to be known."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Rule:
    """`consequence` is what follows, `cure` what to write instead."""

    code: str
    severity: Severity
    consequence: str
    cure: str


class Found(NamedTuple):
    """A rule that applies at a place; `message` says what stands there, and never a secret.

    `cure` is of this place, where there is more to say than the rule does.
    """

    rule: Rule
    place: Path
    message: str
    cure: str | None = None


@dataclass(frozen=True, slots=True)
class Weakness:
    """One finding, as it is shown; `line` counts from 1."""

    severity: Severity
    line: int
    code: str
    message: str
    consequence: str
    cure: str

    def as_dict(self) -> dict[str, object]:
        """The weakness as a JSON object."""
        return {
            "severity": self.severity.value,
            "line": self.line,
            "code": self.code,
            "message": self.message,
            "consequence": self.consequence,
            "hint": self.cure,
        }


def error(code: str, consequence: str, cure: str) -> Rule:
    """A rule whose fault is an error."""
    return Rule(f"gramine.{code}", Severity.ERROR, consequence, cure)


def warning(code: str, consequence: str, cure: str) -> Rule:
    """A rule whose fault is for a person to look at."""
    return Rule(f"gramine.{code}", Severity.WARNING, consequence, cure)


def note(code: str, consequence: str, cure: str) -> Rule:
    """A rule whose fault may be wanted, and is to be known."""
    return Rule(f"gramine.{code}", Severity.NOTE, consequence, cure)


def dotted(place: Path) -> str:
    """A place as a person writes it: `fs.mounts[0].path`."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    shown = text if len(text) <= 80 else f"{text[:79]}…"
    return shown if shown.isprintable() else repr(shown)
