"""The data plane: what both faces, gRPC and REST, ask for, in arrays and plain values.

A prediction: 1. the servable, held for as long as this lasts; 2. its signature; 3. the inputs,
decoded by the face now that the signature is known, and checked; 4. the outputs asked for; 5. the
engine, in a thread, through the batcher where there is one. Errors are ServingErrors with the texts
of TensorFlow Serving 2.21 (server_core.cc, predict_util.cc, get_model_status_impl.cc,
get_model_metadata_impl.cc), made for the peer.

Cancelling a prediction takes it out of every queue; a run that has begun ends unheard.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from weakref import WeakKeyDictionary

from sealserve.errors import InvalidArgument, NotFound, ServingError
from sealserve.messages.metadata_pb2 import SignatureDefMap
from sealserve.serving.batching import Batcher, BatchSettings
from sealserve.serving.engine import Executable
from sealserve.serving.lifecycle import ModelManager, VersionRecord
from sealserve.serving.metrics import UNKNOWN_MODEL, Metrics
from sealserve.serving.servable import Servable
from sealserve.serving.signature import Array, Signature

Decode = Callable[[Signature], Awaitable[Mapping[str, Array]]]


@dataclass(frozen=True)
class ModelQuery:
    """Which model, and which of its versions and signatures; what is left out is the default."""

    name: str
    version: int | None = None
    label: str | None = None
    signature: str = ""


@dataclass(frozen=True)
class Prediction:
    """An answer, and who gave it."""

    outputs: Mapping[str, Array]
    name: str
    version: int
    signature: str


class DataPlane:
    """Predictions, metadata and status over the models of one server."""

    def __init__(
        self, models: ModelManager, *, concurrency: int, batching: BatchSettings | None = None
    ) -> None:
        self.metrics = Metrics()
        self._models = models
        self._concurrency = concurrency
        self._batching = batching
        self._batchers: WeakKeyDictionary[Executable, Batcher] = WeakKeyDictionary()
        self._threads = ThreadPoolExecutor(max_workers=concurrency, thread_name_prefix="engine")

    async def predict(
        self, query: ModelQuery, decode: Decode, output_filter: Sequence[str] = ()
    ) -> Prediction:
        """Run one request; `decode` gives its inputs once it is told what the signature takes.

        Raises NotFound, FailedPrecondition (no such signature), InvalidArgument, Unimplemented,
        ResourceExhausted (batch queue). Every prediction is counted in `metrics`.
        """
        model, status = UNKNOWN_MODEL, "INTERNAL"
        try:
            servable = self._servable(query)
            model = servable.name
            prediction = await self._predict(servable, query, decode, output_filter)
            status = "OK"
            return prediction
        except ServingError as error:
            status = error.status
            raise
        except asyncio.CancelledError:
            status = "CANCELLED"
            raise
        finally:
            self.metrics.count(model, status)

    async def _predict(
        self, servable: Servable, query: ModelQuery, decode: Decode, output_filter: Sequence[str]
    ) -> Prediction:
        with servable.used():
            executable = servable.executable(query.signature)
            signature = executable.signature
            inputs = signature.complete(await decode(signature))
            wanted = signature.select(output_filter)
            outputs = await self._compute(executable, inputs)
            return Prediction(
                outputs={alias: outputs[alias] for alias in wanted},
                name=servable.name,
                version=servable.version,
                signature=signature.name,
            )

    def metadata(self, query: ModelQuery) -> tuple[int, SignatureDefMap]:
        """The version asked for and its signatures, as exported."""
        servable = self._servable(query)
        return servable.version, servable.definitions

    def status(self, query: ModelQuery) -> Mapping[int, VersionRecord]:
        """The version asked for, or all that are known; NotFound if there is none."""
        versions = self._models.versions(query.name)
        version = self._version(query)
        if query.label is not None:
            version = self._servable(query).version
        if version is None and versions:
            return versions
        if version is None:
            raise NotFound(f"Could not find any versions of model {query.name}")
        if version not in versions:
            raise NotFound(f"Could not find version {version} of model {query.name}")
        return {version: versions[version]}

    def close(self) -> None:
        """Let the engine's threads go once they are done; what waits is dropped."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _servable(self, query: ModelQuery) -> Servable:
        if not query.name:
            raise InvalidArgument("ModelSpec has no name specified.")
        return self._models.servable(query.name, version=self._version(query), label=query.label)

    def _version(self, query: ModelQuery) -> int | None:
        """The version asked for; 0 is how clients of OpenVINO Model Server ask for the default."""
        if query.version == 0 and 0 not in self._models.versions(query.name):
            return None
        return query.version

    async def _compute(
        self, executable: Executable, inputs: Mapping[str, Array]
    ) -> dict[str, Array]:
        if self._batching is None or not executable.signature.batchable:
            return await self._run(executable, inputs)
        batcher = self._batchers.get(executable)
        if batcher is None:
            batcher = Batcher(self._batching, parallel=self._concurrency)
            self._batchers[executable] = batcher
        return await batcher.run(inputs, partial(self._run, executable))

    async def _run(self, executable: Executable, inputs: Mapping[str, Array]) -> dict[str, Array]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, executable.run, inputs)
