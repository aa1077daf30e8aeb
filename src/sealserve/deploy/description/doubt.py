"""One finding of a rule about descriptions: where, what was found, what to write instead."""

from __future__ import annotations

from typing import NamedTuple

from sealserve.policies.places import Path


class Doubt(NamedTuple):
    """One finding of a rule."""

    path: Path
    code: str
    message: str
    hint: str
