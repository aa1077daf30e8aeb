"""What there is to say of each service, whichever way it runs, and the errors that tell its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sealserve.errors import NetworkError, SealServeError, family

TAIL_LINES: Final = 12


@dataclass(frozen=True, slots=True)
class Status:
    """One service: `state` as its engine calls it, the address where it answers on this machine."""

    service: str
    state: str
    address: str
    ready: bool
    simulated: bool


def failure(service: str, exit_code: int | None, log: Sequence[str], where: str) -> SealServeError:
    """The error of a service that ended before it was ready, or (None) was not ready in time.

    It is of the family that the exit code of a command of ours tells.
    """
    tail = "\n    ".join(log[-TAIL_LINES:]) or "(nothing)"
    what = "was not ready in time" if exit_code is None else f"ended with exit code {exit_code}"
    kind = NetworkError if exit_code is None else family(exit_code)
    return kind(
        f"{service} {what}; its last lines:\n    {tail}",
        hint=f"{where}; sealserve down ends what runs",
    )
