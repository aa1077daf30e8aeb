"""The stage of the demo: one working folder for each party, and what runs at the moment.

owner/      wrap key, plaintext, policy, key service, audit log     trusted
platform/   the lab, sealed files, replicas, nginx                  trusted with nothing
client/     the client's certificate, the images it asks about      the data owner's
logs/       what every process printed
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from sealserve.demo.narrator import Narrator
from sealserve.demo.processes import COMMAND, Service, run
from sealserve.demo.tap import Tap
from sealserve.endorsements.collateral import Tee
from sealserve.errors import SealServeError
from sealserve.hosts import Address

MODEL = "digits"
DOMAIN = "grpc.tf-serving.service.com"
CLIENT = "client.tf-serving.service.com"


class Unexpected(SealServeError):
    """A command of the demo that ended otherwise than it must."""

    default_code = "demo"


class Stage:
    """Runs commands as a person would type them, tells of them, and stops what it started."""

    def __init__(self, folder: Path, narrator: Narrator, tee: Tee = "SGX") -> None:
        self.folder = folder
        self.tell = narrator
        self.tee = tee
        self.owner, self.platform, self.client, self.logs = (
            folder / name for name in ("owner", "platform", "client", "logs")
        )
        for place in (self.owner, self.platform, self.client, self.logs):
            place.mkdir(mode=0o700)
        self._running = ExitStack()
        self._told: set[tuple[str, ...]] = set()

    def run(
        self, words: Sequence[str], *, folder: Path, quiet: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """A command to its end, whatever that is."""
        if not quiet:
            self._tell(words)
        return run(words, folder=folder)

    def do(self, words: Sequence[str], *, folder: Path, quiet: bool = False) -> str:
        """A command that must succeed; its standard output. Raises Unexpected."""
        ended = self.run(words, folder=folder, quiet=quiet)
        if ended.returncode:
            raise Unexpected(
                f"`sealserve {words[0]}` ended with exit code {ended.returncode}:\n{ended.stderr}"
            )
        return ended.stdout

    def start(self, name: str, words: Sequence[str], *, folder: Path) -> Service:
        """A `sealserve` command that goes on; stopped with the stage."""
        self._tell(words)
        return self.start_program(name, [*COMMAND, *words], folder=folder)

    def start_program(self, name: str, command: Sequence[str], *, folder: Path) -> Service:
        """Any program that goes on; stopped with the stage."""
        service = Service(name, command, folder=folder, log=self.logs / f"{name}.log")
        self._running.callback(service.stop)
        return service

    def tap(self, upstream: Address) -> Tap:
        """A relay to `upstream` that records what passes; closed with the stage."""
        tap = Tap((upstream.host, upstream.port))
        self._running.callback(tap.close)
        return tap

    def close(self) -> None:
        """Stop everything, last started first."""
        self._running.close()

    def path(self, file: Path) -> str:
        """A file's name as the demo tells it: from the working folder."""
        return str(file.relative_to(self.folder))

    def _tell(self, words: Sequence[str]) -> None:
        """The command as typed; an enclave's arguments in full only the first time."""
        shown = ["sealserve", *words]
        if "--" in shown:
            after = shown.index("--") + 1
            inner = tuple(shown[after:])
            if inner in self._told:
                shown[after + 1 :] = ["..."]
            self._told.add(inner)
        self.tell.command(shown)
