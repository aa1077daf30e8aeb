"""What a container's log tells, read without trust in it: events of ours, and the last words.

Our programs write one JSON object a line, and an error at the end as `error: MESSAGE [CODE]` with a
hint on the next line; others write what they like. Source of the form: `sealserve.logline`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sealserve.deploy.kubernetes.live.fields import Object, moment, text

_ERROR: Final = re.compile(r"error: (.*) \[([A-Za-z0-9_.-]{1,80})\]")
_LAUNCHED: Final = re.compile(r"enclave \d+ launched, mr_enclave ([0-9a-f]{64})")
_LAST: Final = 3  # lines
_KEY: Final = ("no_key_yet", "key_received")


@dataclass(frozen=True, slots=True)
class Fault:
    """How a program of ours said that it ends."""

    message: str
    code: str
    hint: str


@dataclass(frozen=True, slots=True)
class Told:
    """A log: its events in their order, the newest fault after them, its last words."""

    events: tuple[Object, ...]
    fault: Fault | None
    words: str
    measurement: str

    def last(self, *events: str) -> Object:
        """The newest of these events; empty where there is none."""
        found = (each for each in reversed(self.events) if text(each, "event") in events)
        return next(found, {})

    @property
    def waits(self) -> Object:
        """The event `no_key_yet`, if no key has come since, and no end."""
        newest = self.last(*_KEY)
        return newest if newest.get("event") == "no_key_yet" and self.fault is None else {}

    @property
    def speaks_of_aesm(self) -> bool:
        """Whether a program that is not ours ended with words about AESM."""
        return self.fault is None and "aesm" in self.words.lower()

    @property
    def has_key(self) -> bool:
        """Whether a key came, and nothing says since that another is asked for."""
        return self.last(*_KEY).get("event") == "key_received"

    @property
    def asked(self) -> datetime | None:
        """When it said last that it has no key yet."""
        return moment(self.waits, "time")


def told(log: str) -> Told:
    """Read a log's end."""
    events: list[Object] = []
    others: list[str] = []
    fault: Fault | None = None
    lines = log.splitlines()
    for number, line in enumerate(lines):
        event = _event(line)
        if event:
            events.append(event)
            fault = None if event.get("event") == "started" else fault
        elif line.strip():
            others.append(line.strip())
        if found := _ERROR.fullmatch(line.strip()):
            fault = Fault(found[1], found[2], _hint(lines[number + 1 : number + 2]))
    measured = list(_measured(others))
    words = " / ".join(others[-_LAST:])
    return Told(tuple(events), fault, words, measured[-1] if measured else "")


def _event(line: str) -> Object:
    if not line.startswith("{"):
        return {}
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) and isinstance(found.get("event"), str) else {}


def _hint(following: list[str]) -> str:
    text_after = following[0].strip() if following else ""
    return text_after.removeprefix("hint: ") if text_after.startswith("hint: ") else ""


def _measured(lines: list[str]) -> Iterator[str]:
    """What a lab's launcher says that it measured."""
    for line in lines:
        if found := _LAUNCHED.search(line):
            yield found[1]
