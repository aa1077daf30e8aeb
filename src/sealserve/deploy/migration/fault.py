"""What is wrong in an operator's folder: rules with stable codes, and the places they apply to.

The same severities as the manifest's linter. A fault says what stands there and never a secret.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sealserve.deploy.gramine.weakness import Rule, Severity
from sealserve.policies.finding import Finding
from sealserve.policies.finding import Severity as FindingSeverity

_SHOWN: Final = 200
_SEVERITIES: Final = {
    FindingSeverity.ERROR: Severity.ERROR,
    FindingSeverity.WARNING: Severity.WARNING,
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault; `line` counts from 1, None where the file as a whole is meant."""

    severity: Severity
    file: str
    line: int | None
    code: str
    message: str
    consequence: str
    cure: str

    def as_dict(self) -> dict[str, object]:
        """The fault as a JSON object."""
        return {
            "severity": self.severity.value,
            "file": self.file,
            "line": self.line,
            "code": self.code,
            "message": self.message,
            "consequence": self.consequence,
            "hint": self.cure,
        }


def of_rule(rule: Rule, file: str, line: int | None, message: str) -> Fault:
    """The fault that the rule finds there."""
    return Fault(rule.severity, file, line, rule.code, message, rule.consequence, rule.cure)


def of_finding(found: Finding, file: str, consequence: str) -> Fault:
    """A finding of the policies' readers, which name no consequence."""
    severity = _SEVERITIES[found.severity]
    return Fault(severity, file, found.line, found.code, found.message, consequence, found.hint)


def printable(text: str) -> str:
    """A name that a stranger chose, so that no terminal obeys it."""
    shown = text if text.isprintable() else ascii(text)[1:-1]
    return shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 1]}…"
