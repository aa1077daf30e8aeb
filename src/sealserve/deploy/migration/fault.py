"""Faults of an operator's folder, each a `Weakness` of one of its files."""

from __future__ import annotations

from typing import Final

from sealserve.deploy.weakness import Rule, Severity, Weakness
from sealserve.policies.finding import Finding

_SHOWN: Final = 200


def of_rule(rule: Rule, file: str, line: int | None, message: str) -> Weakness:
    """The fault that the rule finds there."""
    return Weakness(rule.severity, line, rule.code, message, rule.consequence, rule.cure, file)


def of_finding(found: Finding, file: str, consequence: str) -> Weakness:
    """A finding of the policies' readers, which name no consequence."""
    severity = Severity(found.severity.value)
    return Weakness(severity, found.line, found.code, found.message, consequence, found.hint, file)


def printable(text: str) -> str:
    """A name that a stranger chose, so that no terminal obeys it."""
    shown = text if text.isprintable() else ascii(text)[1:-1]
    return shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 1]}…"
