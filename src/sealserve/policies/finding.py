"""A finding: what is wrong or doubtful in a file that a person wrote, and on which line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from sealserve.policies.places import Path, Places


class Severity(StrEnum):
    """How bad it is: an error is a fault, a warning is for a person to look at."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding; `code` is stable, `line` counts from 1, `hint` says what to do."""

    severity: Severity
    line: int
    code: str
    message: str
    hint: str
    file: str | None = None
    """Another file than the one that was asked about."""

    def __str__(self) -> str:
        return f"line {self.line}: {self.severity}: {self.message} [{self.code}]"

    def as_dict(self) -> dict[str, object]:
        """The finding as a JSON object."""
        return {
            "severity": self.severity.value,
            **({"file": self.file} if self.file else {}),
            "line": self.line,
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
        }


@dataclass(frozen=True, slots=True)
class Doubt:
    """A finding that knows its place in the document, and not yet its line."""

    severity: Severity
    path: Path
    code: str
    message: str
    hint: str

    def at(self, places: Places) -> Finding:
        """The finding, with its line."""
        line = places.line(self.path)
        return Finding(self.severity, line, f"policy.{self.code}", self.message, self.hint)


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The findings by file and line; of one line, errors first."""
    return tuple(sorted(findings, key=lambda each: (each.file or "", each.line, each.severity)))


def errors(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The errors among the findings."""
    return tuple(each for each in findings if each.severity is Severity.ERROR)
