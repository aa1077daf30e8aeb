"""What a self-test found, step by step; as values, for a report that can be sent to others.

It holds no secret, no quote, no certificate, and none of the numbers that tell one machine from
another (PPID, platform instance id). Messages of failures name paths and the collateral service.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Self

from sealserve import __version__
from sealserve.selftest.platform import Platform


class Outcome(StrEnum):
    """What became of a step."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_RUN = "not run"


@dataclass(frozen=True, slots=True)
class Step:
    """One claim and what came of it; `found` where it passed, `why` where it did not."""

    name: str
    claim: str
    outcome: Outcome
    seconds: float
    found: str = ""
    why: str = ""
    applies: bool = True
    """False where there is no such claim on this kind of hardware."""


@dataclass(frozen=True, slots=True)
class Report:
    """All of it."""

    simulated: bool
    hardware: str
    tee: str
    version: str
    started: datetime
    steps: tuple[Step, ...] = ()
    seconds: float = 0.0
    platform: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def begin(cls, platform: Platform) -> Self:
        """A report of a self-test that starts now."""
        return cls(platform.simulated, platform.title, platform.tee, __version__, datetime.now(UTC))

    def ended(self, steps: Sequence[Step], platform: Mapping[str, Any]) -> Report:
        """The report with what was found."""
        seconds = (datetime.now(UTC) - self.started).total_seconds()
        return Report(
            self.simulated,
            self.hardware,
            self.tee,
            self.version,
            self.started,
            tuple(steps),
            round(seconds, 3),
            platform,
        )

    @property
    def holds(self) -> bool:
        """Every step that applies here has passed."""
        return all(each.outcome is Outcome.PASSED for each in self.steps if each.applies)

    def as_dict(self) -> dict[str, Any]:
        """The report as one JSON object."""
        return {
            "selftest": 1,
            "simulated": self.simulated,
            "hardware": self.hardware,
            "tee": self.tee,
            "version": self.version,
            "started": self.started.isoformat(timespec="seconds"),
            "seconds": self.seconds,
            "holds": self.holds,
            "steps": [asdict(step) for step in self.steps],
            "platform": dict(self.platform),
        }
