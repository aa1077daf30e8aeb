"""A loaded version of a model, and how one is loaded.

A servable counts who uses it, so that it is let go only when nobody does. Loading blocks and runs
in a thread; everything else here belongs to the event loop.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from sealserve.errors import FailedPrecondition, Unimplemented
from sealserve.messages.metadata_pb2 import SignatureDefMap
from sealserve.serving.engine import Engine, Executable
from sealserve.serving.saved_model import FILE_NAME, SIZE_LIMIT, MetaGraph, parse_saved_model
from sealserve.serving.signature import DEFAULT_SIGNATURE, parse_signature

log = logging.getLogger(__name__)


class Servable:
    """One version, ready to run."""

    def __init__(
        self,
        name: str,
        version: int,
        definitions: SignatureDefMap,
        executables: Mapping[str, Executable | Unimplemented],
    ) -> None:
        self.name = name
        self.version = version
        self.definitions = definitions
        self._executables = executables
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
        self._users += 1
        self._unused.clear()
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                self._unused.set()

    async def drained(self) -> None:
        """Wait until nobody uses it."""
        await self._unused.wait()


class Files(Protocol):
    """Where files come from: `sealserve.serving.vault.Vault`, or one that renews its keys."""

    def read(self, path: str, *, limit: int) -> bytearray:
        """The plaintext of the file at `path`, of at most `limit` bytes."""
        ...


class Loader:
    """Opens, parses and compiles versions."""

    def __init__(self, engine: Engine, vault: Files, tags: Sequence[str]) -> None:
        self._engine = engine
        self._vault = vault
        self._tags = tuple(tags)

    def load(self, name: str, version: int, folder: str) -> Servable:
        """The version in `folder`. Blocks; raises what the vault, the format and the engine do.

        A signature that the engine cannot run does not keep the others from being served; a version
        of which none can be run is refused with the reason of the first.
        """
        started = time.monotonic()
        path = os.path.join(folder, FILE_NAME)  # noqa: PTH118  # as configured: Path would fold it
        meta_graph = parse_saved_model(self._vault.read(path, limit=SIZE_LIMIT), self._tags)
        executables = {
            signature: self._compile(meta_graph, signature) for signature in meta_graph.signatures
        }
        refusals = [found for found in executables.values() if isinstance(found, Unimplemented)]
        if len(refusals) == len(executables):
            raise refusals[0]
        for refusal in refusals:
            log.warning("model %s version %d: not served: %s", name, version, refusal.message)
        log.info(
            "model %s version %d: loaded from %s by %s in %.2f s",
            *(name, version, path, self._engine.name, time.monotonic() - started),
        )
        definitions = SignatureDefMap(signature_def=meta_graph.signatures)
        return Servable(name, version, definitions, executables)

    def _compile(self, meta_graph: MetaGraph, signature: str) -> Executable | Unimplemented:
        try:
            parsed = parse_signature(signature, meta_graph.signatures[signature])
            return self._engine.load(meta_graph.graph, parsed)
        except Unimplemented as error:
            return error
