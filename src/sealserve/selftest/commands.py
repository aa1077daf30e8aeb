"""Commands of ours to their end, with a line on their input; and what they are told.

What runs on the hardware has the very flags with which a described service runs in an enclave: they
come from the description, and the source of evidence is the one thing that is put in.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from sealserve.deploy.description.model import Description
from sealserve.deploy.gramine.servers import program
from sealserve.errors import NetworkError, SourceError

LISTEN = "--host=127.0.0.1"
_SOURCE = "--evidence_source="
_SAID_LINES = 4


def probe_words(source: str) -> tuple[str, ...]:
    """The command that tells a quote and a certificate of the process that it runs in."""
    return ("lab", "selfquote", f"{_SOURCE}{source}", "--report-data=-", "--certificate", "--json")


def server_words(description: Description, source: str) -> tuple[str, ...]:
    """The server of the description, on the loopback address."""
    arguments = program(description).arguments
    words = arguments[arguments.index("serve") :]
    words = tuple(f"{_SOURCE}{source}" if each.startswith(_SOURCE) else each for each in words)
    return (words[0], LISTEN, *words[1:])


def run_with(command: Sequence[str], line: str, *, folder: Path, seconds: float) -> str:
    """What the command prints; raises SourceError where it fails, NetworkError at the deadline."""
    try:
        ended = subprocess.run(
            list(command),
            cwd=folder,
            input=f"{line}\n",
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NetworkError(f"{Path(command[0]).name} did not end in {seconds:.0f} s") from None
    except OSError as error:
        raise SourceError(f"cannot run {command[0]}: {error.strerror}") from error
    if ended.returncode:
        said = "; ".join(ended.stderr.strip().splitlines()[-_SAID_LINES:])
        raise SourceError(f"{Path(command[0]).name} ended with {ended.returncode}: {said}")
    return ended.stdout
