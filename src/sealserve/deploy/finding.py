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
