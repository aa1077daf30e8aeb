"""One thing that a machine has or lacks, and how commands are asked about themselves."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from typing import Literal

COMMAND_SECONDS = 5.0

Area = Literal["lab", "options", "edge", "hardware", "guest", "cloud", "collateral", "deployment"]


@dataclass(frozen=True)
class Finding:
    """`good` says whether it is as it should be; if not, `advice` says what to do."""

    area: Area
    name: str
    good: bool
    found: str
    advice: str
    expected: str = ""
    needed: bool = True
    """Whether what it is about cannot do without it; else `advice` is for who wants more."""

    @property
    def blocks(self) -> bool:
        """It is missing, and nothing runs without it."""
        return self.needed and not self.good


def hardware(
    name: str, good: bool, found: str, *, expected: str, mend: str, needed: bool = True
) -> Finding:
    """A finding about SGX; `mend` is kept where it is not good."""
    return Finding("hardware", name, good, found, "" if good else mend, expected, needed)


def command_output(*command: str) -> str | None:
    """What a command prints on both streams; None if there is no such command or it stalls."""
    path = shutil.which(command[0])
    if path is None:
        return None
    try:
        answer = subprocess.run(
            [path, *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=COMMAND_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.decode(errors="replace")
