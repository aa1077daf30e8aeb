"""A loaded version of a model, and how one is loaded.

A servable counts who uses it, so that it is let go only when nobody does. Loading blocks and runs
in a thread; everything else here belongs to the event loop.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sealserve.errors import FailedPrecondition, SealServeError, Unimplemented
from sealserve.logline import line
from sealserve.serving.engine import Engine, Executable, Loaded, VersionFiles
from sealserve.serving.life.warmup import Executables, WarmUp
from sealserve.serving.opening.vault import Files
from sealserve.serving.opening.version_files import FolderFiles
from sealserve.serving.signature import DEFAULT_SIGNATURE
from sealserve.serving.watching.events import Observer, Unobserved
from sealserve.serving.watching.stages import STARTING

log = logging.getLogger(__name__)


class Servable:
    """One version, ready to run."""

    def __init__(self, name: str, version: int, loaded: Loaded) -> None:
        self.name = name
        self.version = version
        self.definitions = loaded.definitions
        self.platform = loaded.platform
        self._executables = loaded.executables
        self._users = 0
        self._unused = asyncio.Event()
        self._unused.set()

    def executable(self, signature_name: str) -> Executable:
        """The executable of a signature, of `serving_default` if none is named.

        Raises FailedPrecondition for a signature that the model does not have, Unimplemented for
        one that the engine cannot run.
        """
        name = signature_name or DEFAULT_SIGNATURE
        found = self._executables.get(name)
        if found is None:
            raise FailedPrecondition(f'Serving signature key "{name}" not found.')
        if isinstance(found, Unimplemented):
            raise Unimplemented(found.message, code=found.code)
        return found

    @contextmanager
    def used(self) -> Iterator[None]:
        """Keep it loaded for as long as the block lasts."""
        self.begin()
        try:
            yield
        finally:
            self.end()

    def begin(self) -> None:
        """One more uses it; `end` must follow."""
        self._users += 1
        self._unused.clear()

    def end(self) -> None:
        """One fewer."""
        self._users -= 1
        if not self._users:
            self._unused.set()

    async def drained(self) -> None:
        """Wait until nobody uses it."""
        await self._unused.wait()


class Loader:
    """Opens, compiles and warms up versions."""

    def __init__(
        self,
        engine: Engine,
        vault: Files,
        tags: Sequence[str],
        warm_up: WarmUp | None = None,
        observer: Observer | None = None,
    ) -> None:
        """Without `warm_up` a version's own requests are not replayed."""
        self._engine = engine
        self._vault = vault
        self._tags = tuple(tags)
        self._warm_up = warm_up
        self._observer = observer or Unobserved()

    def load(self, name: str, version: int, folder: str) -> Servable:
        """The version in `folder`. Blocks; raises what the vault, the format, the engine and the
        version's own requests do.

        A signature that the engine cannot run does not keep the others from being served; a version
        of which none can be run is refused with the reason of the first.
        """
        started = time.monotonic()
        with STARTING.stage("load"):
            files = FolderFiles(self._vault, folder)
            loaded = self._engine.load(files, self._tags)
        refusals = [f for f in loaded.executables.values() if isinstance(f, Unimplemented)]
        if len(refusals) == len(loaded.executables):
            raise refusals[0]
        for refusal in refusals:
            reason, hint = refusal.message, refusal.hint
            log.warning(
                line("signature_not_served", model=name, version=version, reason=reason, hint=hint)
            )
        log.info(
            line(
                "version_loaded",
                model=name,
                version=version,
                folder=folder,
                engine=self._engine.name,
                seconds=round(time.monotonic() - started, 3),
            )
        )
        if self._warm_up is not None:
            with STARTING.stage("warm-up"):
                self._warmed(self._warm_up, folder, files, loaded.executables)
        return Servable(name, version, loaded)

    def _warmed(
        self, warm_up: WarmUp, folder: str, files: VersionFiles, executables: Executables
    ) -> None:
        began = time.monotonic()
        try:
            replayed = warm_up.run(files, executables)
        except SealServeError as error:
            self._observer.warmed(folder, 0, time.monotonic() - began, error.code)
            raise
        if replayed is not None:
            self._observer.warmed(folder, replayed, time.monotonic() - began, "OK")
