"""What ends when, as seen from one day: what is over, what comes, and what to take in its place.

Pure: `now` is handed in. Dates are days in UTC, and a thing still works on its last day.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sealserve.deploy.clouds import Cloud, common
from sealserve.deploy.clouds.model import Ending

SOON_DAYS = 365


def endings(cloud: Cloud) -> tuple[Ending, ...]:
    """Those of the cloud and those of all clouds, the earliest first."""
    return tuple(sorted((*cloud.endings, *common().endings), key=lambda each: each.date))


def days_left(ending: Ending, now: datetime) -> int:
    """Days until it; 0 on its day, negative after it. `now` has a time zone."""
    return (ending.date - now.astimezone(UTC).date()).days


def is_near(ending: Ending, now: datetime) -> bool:
    """Whether something that still works will end within a year."""
    return ending.kind == "ends" and 0 <= days_left(ending, now) <= SOON_DAYS


def sentence(ending: Ending, now: datetime) -> str:
    """What it means for who reads it at `now`."""
    left = days_left(ending, now)
    verb = {
        ("ends", True): "ended on",
        ("ends", False): "ends on",
        ("closes", True): "has been closed to new subscriptions since",
        ("closes", False): "closes to new subscriptions on",
    }[ending.kind, left < 0]
    when = f"{-left} days ago" if left < 0 else f"in {left} days"
    said = f"{ending.what}: {verb} {ending.date.isoformat()} ({when}); then {ending.successor}"
    return f"{said} (unconfirmed: {ending.unconfirmed})" if ending.unconfirmed else said
