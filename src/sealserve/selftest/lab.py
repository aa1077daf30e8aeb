"""The lab in the place of hardware. SIMULATED: what passes here says nothing of any hardware."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime

from sealserve.demo.processes import COMMAND, RUN_SECONDS, Service
from sealserve.endorsements.collateral import Tee
from sealserve.lab.folder import LabFolder
from sealserve.lab.identity import create_signing_key, read_mr_signer
from sealserve.lab.launched import identity_of
from sealserve.lab.measurement import Interpreter, describe, measure
from sealserve.lab.quoting import quoting_service
from sealserve.lab.trees import Digests
from sealserve.lab.world import World
from sealserve.selftest.commands import run_with
from sealserve.selftest.platform import Site
from sealserve.verifier.claims import Target
from sealserve.verifier.target import target_of

_FOLDER = "lab"


class Lab:
    """A world of its own, with a quoting enclave in this process."""

    simulated = True
    source = f"lab:{_FOLDER}/qe.sock"
    collateral_ca = None
    ready_seconds = 60.0

    def __init__(self, tee: Tee) -> None:
        self.tee = tee
        self.title = f"the lab, as {tee} (SIMULATED)"
        self._running = ExitStack()
        self._digests = Digests()

    def find(self, site: Site) -> str:
        """Make the world in the site's folder, and start its quoting enclave."""
        self._site = site
        self._folder = LabFolder(site.folder / _FOLDER)
        world = World.create(now=datetime.now(UTC))
        world.save(self._folder.path)
        create_signing_key(self._folder.enclave_signing_key)
        self._running.enter_context(quoting_service(self._folder, self._digests))
        return "a world of the lab's own, with a quoting enclave"

    @property
    def collateral(self) -> str:
        """The world's own."""
        return str(self._folder.collateral_of(self.tee, "standard"))

    def trust_root(self) -> bytes:
        """The world's root CA, under which nothing else verifies."""
        return self._folder.root_ca.read_bytes()

    def predict(self, words: Sequence[str]) -> Target:
        """What the quoting enclave will find when it launches the command."""
        interpreter = Interpreter.own()
        described = describe(words, interpreter, tee=self.tee)
        request = described.model_copy(update={"folder": str(self._site.folder)})
        measured = measure(request, interpreter, self._digests)
        signer = read_mr_signer(self._folder.enclave_signing_key)
        return target_of(identity_of(request, measured, signer).report(bytes(64)))

    def run(self, words: Sequence[str], line: str) -> str:
        """The command as an enclave, to its end."""
        return run_with(self._enclave(words), line, folder=self._site.folder, seconds=RUN_SECONDS)

    def start(self, name: str, words: Sequence[str]) -> Service:
        """The command as an enclave, which goes on."""
        log = self._site.logs / f"{name}.log"
        return Service(name, self._enclave(words), folder=self._site.folder, log=log)

    def close(self) -> None:
        """Stop the quoting enclave, and with it every enclave."""
        self._running.close()

    def _enclave(self, words: Sequence[str]) -> list[str]:
        return [*COMMAND, "lab", "enclave", _FOLDER, "--tee", self.tee.lower(), "--", *words]
