"""What linters of an operator's files say: rules with stable codes, and where they apply.

A rule knows what follows from its fault (mostly: what the host gains) and the cure; a weakness is
one place where it applies. A third severity stands beside the two of policies: what may be wanted,
and is to be known.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


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


@dataclass(frozen=True, slots=True)
class Weakness:
    """One finding, as it is shown; `message` says what stands there, and never a secret."""

    severity: Severity
    line: int | None
    """From 1; None where the file as a whole is meant."""
    code: str
    message: str
    consequence: str
    cure: str
    file: str | None = None
    """Which of several files; None where one was asked about."""

    def as_dict(self) -> dict[str, object]:
        """The weakness as a JSON object."""
        return {
            "severity": self.severity.value,
            **({"file": self.file} if self.file else {}),
            "line": self.line,
            "code": self.code,
            "message": self.message,
            "consequence": self.consequence,
            "hint": self.cure,
        }
