"""What a self-test asks of hardware: run a command of ours on it, and say what that measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sealserve.demo.processes import Service
from sealserve.endorsements.collateral import Tee
from sealserve.verifier.claims import Target


@dataclass(frozen=True, slots=True)
class Site:
    """Where the platform's side works: sealed files and public ones alone."""

    folder: Path
    logs: Path


class Platform(Protocol):
    """An enclave's or a guest's hardware, or the lab in its place."""

    @property
    def title(self) -> str:
        """How people call it."""
        ...

    @property
    def simulated(self) -> bool:
        """No hardware vouches for anything that it says."""
        ...

    @property
    def tee(self) -> Tee:
        """The kind of TEE."""
        ...

    @property
    def source(self) -> str:
        """What `--evidence_source` is told."""
        ...

    @property
    def collateral(self) -> str:
        """Where collateral comes from: a folder, a URL, a service by its name."""
        ...

    @property
    def collateral_ca(self) -> Path | None:
        """The CA file for a service whose certificate no public CA has signed."""
        ...

    @property
    def ready_seconds(self) -> float:
        """How long a program may take until it is ready."""
        ...

    def find(self, site: Site) -> str:
        """What there is of it, in words; raises SourceError where there is none."""
        ...

    def trust_root(self) -> bytes:
        """The root certificate that evidence must rest on, PEM."""
        ...

    def predict(self, words: Sequence[str]) -> Target | None:
        """What this command will measure; None where nothing predicts it."""
        ...

    def run(self, words: Sequence[str], line: str) -> str:
        """The command on the hardware to its end, with a line on its input; what it prints."""
        ...

    def start(self, name: str, words: Sequence[str]) -> Service:
        """The command on the hardware, which goes on."""
        ...

    def close(self) -> None:
        """Stop whatever of the platform itself runs; what was started is the caller's."""
        ...
