"""How rules about manifests are written, and how what they find is told to the linter."""

from __future__ import annotations

from typing import NamedTuple

from sealserve.deploy.weakness import Rule, Severity
from sealserve.policies.places import Path


class Found(NamedTuple):
    """A rule that applies at a place; `message` says what stands there, and never a secret.

    `cure` is of this place, where there is more to say than the rule does.
    """

    rule: Rule
    place: Path
    message: str
    cure: str | None = None


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
