"""The data plane: what both faces, gRPC and REST, ask for, in arrays and plain values.

A prediction: 1. the servable, held for as long as this lasts; 2. its signature; 3. the inputs,
decoded by the face now that the signature is known, and checked; 4. the outputs asked for; 5. the
engine, by way of the executable's runner. Errors are ServingErrors with the texts
of TensorFlow Serving 2.21 (server_core.cc, predict_util.cc, get_model_status_impl.cc,
get_model_metadata_impl.cc), made for the peer.

Cancelling a prediction takes it out of every queue; a run that has begun ends unheard. Whoever asks
brings a `Call`, which learns here what was asked of whom and where the time went; to end it is the
asker's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple
from weakref import WeakKeyDictionary

from sealserve.errors import InvalidArgument, NotFound
from sealserve.messages.metadata_pb2 import SignatureDefMap
from sealserve.serving.calls import Call
from sealserve.serving.engine import Executable
from sealserve.serving.life.lifecycle import ModelManager
from sealserve.serving.life.servable import Servable
from sealserve.serving.life.versions import VersionRecord
from sealserve.serving.running.batching import BatchSettings
from sealserve.serving.running.runner import Runner
from sealserve.serving.signature import Array, Signature
from sealserve.serving.threads import ended
from sealserve.serving.watching.events import Observer, Unobserved

Inputs = Mapping[str, Array]
Decode = Callable[[Signature], Inputs | Awaitable[Inputs]]

ROUTES = 256  # that are remembered


class ModelQuery(NamedTuple):
    """Which model, and which of its versions and signatures; what is left out is the default."""

    name: str
    version: int | None = None
    label: str | None = None
    signature: str = ""


class Prediction(NamedTuple):
    """An answer, and who gave it."""

    outputs: Mapping[str, Array]
    name: str
    version: int
    signature: str


class _Route(NamedTuple):
    """Where a question leads, for as long as no model changes."""

    servable: Servable
    signature: Signature
    runner: Runner
    wanted: Sequence[str]


class DataPlane:
    """Predictions, metadata and status over the models of one server."""

    def __init__(
        self,
        models: ModelManager,
        *,
        concurrency: int,
        batching: BatchSettings | None = None,
        observer: Observer | None = None,
    ) -> None:
        self._models = models
        self._observer = observer or Unobserved()
        self._concurrency = concurrency
        self._batching = batching
        # By servable, which no runner holds: an executable is in its runner, and would never go.
        self._runners: WeakKeyDictionary[Servable, dict[Executable, Runner]] = WeakKeyDictionary()
        self._threads = ThreadPoolExecutor(max_workers=concurrency, thread_name_prefix="engine")
        # What is remembered keeps nothing loaded: it is forgotten with the first change.
        self._routes: dict[tuple[ModelQuery, Sequence[str]], _Route] = {}
        models.when_changed(self._routes.clear)

    async def predict(
        self, query: ModelQuery, decode: Decode, call: Call, output_filter: Sequence[str] = ()
    ) -> Prediction:
        """Run one request; `decode` gives its inputs once it is told what the signature takes.

        Raises NotFound, FailedPrecondition (no such signature), InvalidArgument, Unimplemented,
        Unavailable (batch queue), and what `decode` raises.
        """
        asked = (query, tuple(output_filter))
        servable, signature, runner, wanted = self._routes.get(asked) or self._find(*asked, call)
        call.model, call.version, call.signature = servable.name, servable.version, signature.name
        servable.begin()
        try:
            decoded = decode(signature)
            inputs = signature.complete(decoded if isinstance(decoded, Mapping) else await decoded)
            call.rows = _rows(inputs)
            outputs = runner.at_once(inputs, call)
            if outputs is None:
                outputs = await runner.run(inputs, call)
        finally:
            servable.end()
        return Prediction(
            {alias: outputs[alias] for alias in wanted},
            servable.name,
            servable.version,
            signature.name,
        )

    @contextmanager
    def using(self, query: ModelQuery, call: Call) -> Iterator[Servable]:
        """The servable asked for, loaded for as long as the block lasts.

        Raises NotFound, InvalidArgument.
        """
        servable = self._servable(query)
        call.model, call.version = servable.name, servable.version
        with servable.used():
            yield servable

    async def run(
        self, servable: Servable, executable: Executable, inputs: Mapping[str, Array], call: Call
    ) -> Mapping[str, Array]:
        """All outputs of one of its executables, for inputs that its signature has completed."""
        runner = self._runner(servable, executable)
        outputs = runner.at_once(inputs, call)
        return await runner.run(inputs, call) if outputs is None else outputs

    def metadata(self, query: ModelQuery) -> tuple[int, SignatureDefMap]:
        """The version asked for and its signatures, as exported."""
        servable = self._servable(query)
        return servable.version, servable.definitions

    def platform(self, query: ModelQuery) -> str:
        """What the format of the version asked for is called in the Open Inference Protocol."""
        return self._servable(query).platform

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

    async def ended(self, seconds: float) -> bool:
        """`close`, and whether what the engine computes ended within `seconds`."""
        return await ended(self._threads, seconds)

    def _find(self, query: ModelQuery, output_filter: Sequence[str], call: Call) -> _Route:
        servable = self._servable(query)
        call.model, call.version = servable.name, servable.version
        executable = servable.executable(query.signature)
        signature = executable.signature
        wanted = signature.select(output_filter)
        route = _Route(servable, signature, self._runner(servable, executable), wanted)
        if len(self._routes) >= ROUTES:  # labels and filters are the peer's to choose
            self._routes.clear()
        self._routes[query, output_filter] = route
        return route

    def _servable(self, query: ModelQuery) -> Servable:
        if not query.name:
            raise InvalidArgument("ModelSpec has no name specified.")
        return self._models.servable(query.name, version=self._version(query), label=query.label)

    def _version(self, query: ModelQuery) -> int | None:
        """The version asked for; 0 is how clients of OpenVINO Model Server ask for the default."""
        if query.version == 0 and 0 not in self._models.versions(query.name):
            return None
        return query.version

    def _runner(self, servable: Servable, executable: Executable) -> Runner:
        runners = self._runners.setdefault(servable, {})
        runner = runners.get(executable)
        if runner is None:
            runner = Runner(
                executable,
                self._threads,
                batching=self._batching,
                parallel=self._concurrency,
                observer=self._observer,
            )
            runners[executable] = runner
        return runner


def _rows(inputs: Mapping[str, Array]) -> int:
    """The first dimension of the inputs, 0 if they do not share one."""
    if len(inputs) == 1:
        (array,) = inputs.values()
        return array.shape[0] if array.ndim else 0
    sizes = {array.shape[0] if array.ndim else 0 for array in inputs.values()}
    return sizes.pop() if len(sizes) == 1 else 0
