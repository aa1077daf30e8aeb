"""What a run must not exceed: `p99=50ms`, `mean=2ms`, `errors=1%`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sealserve.client.load.report import Report, in_seconds
from sealserve.errors import UsageError

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
_NUMBER = r"(?P<value>\d{1,9}(\.\d{1,9})?)"
_LATENCY = re.compile(
    rf"(p(?P<percent>\d{{1,2}}(\.\d{{1,3}})?)|mean|max)={_NUMBER}(?P<unit>us|ms|s)"
)
_ERRORS = re.compile(rf"errors={_NUMBER}%")


@dataclass(frozen=True)
class Limit:
    """The most that is allowed, in seconds, or for errors as a part of all requests."""

    text: str
    value: float

    def found(self, report: Report) -> float | None:
        """The same of a run; None where nothing was answered."""
        kind = self.text.partition("=")[0]
        if kind == "errors":
            return (report.failed + report.unsent) / max(1, report.requests + report.unsent)
        if kind == "mean":
            return in_seconds(report.total.latencies.mean)
        return report.latency(100.0 if kind == "max" else float(kind[1:]))

    def is_exceeded(self, report: Report) -> bool:
        """Whether a run is above it; latencies of a run without answers are."""
        found = self.found(report)
        return found is None or found > self.value


def parse_limit(text: str) -> Limit:
    """A limit as a person writes it; raises UsageError."""
    if match := _ERRORS.fullmatch(text):
        return Limit(text, float(match["value"]) / 100)
    match = _LATENCY.fullmatch(text)
    if match is None or (match["percent"] and not 0 < float(match["percent"]) <= 100):
        raise UsageError(
            f"{text!r} is no limit", hint="such as p99=50ms, p99.9=1s, mean=2ms, max=1s, errors=1%"
        )
    return Limit(text, float(match["value"]) * _UNITS[match["unit"]])
