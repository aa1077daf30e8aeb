"""Names of secrets, and the patterns by which a rule grants many of them.

A pattern is a secret's name, or the beginning of names followed by one `*`; `*` alone is every
name. Patterns are sorted once, when a policy is read: whether a name is among them costs the same
whatever the number of secrets. Case matters, and what is no name matches nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

EVERY: Final = "*"
_SECRET_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_BEGINNING: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,126}|")


def is_secret_name(text: str) -> bool:
    """Whether `text` can be a secret's name: 1 to 128 letters, digits, `.`, `_` and `-`."""
    return _SECRET_NAME.fullmatch(text) is not None


def is_pattern(text: str) -> bool:
    """Whether `text` is a name, or the beginning of names and one `*`."""
    if text.endswith("*"):
        return _BEGINNING.fullmatch(text, 0, len(text) - 1) is not None
    return is_secret_name(text)


@dataclass(frozen=True, slots=True)
class SecretNames:
    """The names that some patterns stand for, with no pattern that another one makes needless."""

    names: frozenset[str]
    beginnings: tuple[str, ...]
    """What stands before the `*` of each of the others, sorted."""

    @classmethod
    def of(cls, patterns: Iterable[str]) -> SecretNames:
        """The names that any of `patterns` stands for; each is one by `is_pattern`."""
        listed = frozenset(patterns)
        beginnings: list[str] = []
        for each in sorted(each.removesuffix("*") for each in listed if each.endswith("*")):
            if not beginnings or not each.startswith(beginnings[-1]):
                beginnings.append(each)
        names = (each for each in listed if not each.endswith("*"))
        needed = frozenset(each for each in names if not each.startswith(tuple(beginnings)))
        return cls(needed, tuple(beginnings))

    def __contains__(self, name: str) -> bool:
        return name in self.names or (name.startswith(self.beginnings) and is_secret_name(name))

    def within(self, other: SecretNames) -> bool:
        """Whether every name of these is one of `other`, as far as single patterns show it."""
        return all(name in other for name in self.names) and all(
            beginning.startswith(other.beginnings) for beginning in self.beginnings
        )

    @property
    def patterns(self) -> tuple[str, ...]:
        """These as patterns, sorted."""
        return tuple(sorted(self.names | {f"{each}*" for each in self.beginnings}))
