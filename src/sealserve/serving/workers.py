"""Several processes of one server, on the same ports: for more processors than one event loop uses.

1. The parent gathers once: asks for the key, reads what it opens, holds the ports.
2. It forks the workers (`supervisor`). Each has the key, an engine, models and listeners of its
   own; the kernel spreads connections over them (SO_REUSEPORT), and all count on one board.
3. It announces the server once, when every worker is ready. A worker that dies is followed by
   another, which loads its models before it listens, while the others serve.

Every process holds the key in its own memory, the parent too: it is what a new worker starts with.
Keys that were asked for again, later, are of the worker that asked.
"""

from __future__ import annotations

import dataclasses
import json
import mmap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import uvloop

from sealserve.hosts import Address, ListenAddress
from sealserve.ports import ReservedPort, check_free
from sealserve.serving import settings
from sealserve.serving.flags import Flags
from sealserve.serving.preparing import Gathered, equip, gather
from sealserve.serving.process import run
from sealserve.serving.server import Listening
from sealserve.serving.watching.metrics import Metrics
from sealserve.serving.watching.observing import Observing
from sealserve.supervisor import Worker, supervise

_NOTE_BYTES = 1 << 20


def run_workers(flags: Flags, announce: Callable[[Listening], None]) -> None:
    """Serve in `flags.processes` processes until SIGTERM or SIGINT. Blocks.

    `announce` is called once, in this process. Raises what `gather` does, and ConfigError for a
    port that cannot be had or a worker that cannot start.
    """

    def ready(shared: _Shared) -> None:
        announce(shared.listening())

    supervise(lambda: _share(flags), _work, workers=flags.processes, ready=ready)


@dataclass(frozen=True)
class _Shared:
    """What the workers begin with. The ports are bound for as long as this is."""

    gathered: Gathered
    grpc: ReservedPort
    rest: ReservedPort | None
    metrics: Metrics
    models: _Note

    def listening(self) -> Listening:
        """Where they all listen, and what the one that was ready last serves."""
        rest = Address(self.rest.address.host, self.rest.address.port) if self.rest else None
        grpc = Address(self.grpc.address.host, self.grpc.address.port)
        return Listening(grpc, rest, self.models.read())


def _share(flags: Flags) -> _Shared:
    settings.check(flags)
    host = settings.host(flags)
    grpc = _reserved(ListenAddress(host, flags.port))
    rest = None
    if flags.rest_api_port is not None:
        rest = _reserved(ListenAddress(host, flags.rest_api_port))
    decided = dataclasses.replace(
        flags, port=grpc.address.port, rest_api_port=rest.address.port if rest else None
    )
    metrics = Metrics(workers=flags.processes, runtime=flags.engine)
    return _Shared(gather(decided), grpc, rest, metrics, _Note())


def _reserved(address: ListenAddress) -> ReservedPort:
    if address.port:
        check_free(address)  # another server there would share the port with us
    return ReservedPort(address)


def _work(shared: _Shared, worker: Worker) -> None:
    def ready(listening: Listening) -> None:
        shared.models.write(listening.models)
        worker.ready()

    shared.metrics.as_worker(worker.number)
    gathered = shared.gathered
    observing = Observing(
        gathered.flags,
        trace_ca=gathered.trace_ca,
        metrics=shared.metrics,
        worker=worker.number,
    )
    uvloop.run(run(equip(gathered), ready, observing))


class _Note:
    """The models that are served, from a worker to its parent: in memory that they share.

    Workers write the same; the parent reads once all of them have.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _NOTE_BYTES)

    def write(self, models: Mapping[str, Sequence[int]]) -> None:
        """Nothing, where it would not fit: it is for a line of text alone."""
        data = json.dumps(models).encode()
        if len(data) < _NOTE_BYTES:
            self._memory[: len(data) + 1] = data + b"\0"

    def read(self) -> dict[str, list[int]]:
        """What was written last; empty before."""
        data = self._memory[:].partition(b"\0")[0]
        return dict(json.loads(data)) if data else {}
