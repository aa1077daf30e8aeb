"""The server's metrics: told by whoever does the work, shown to whoever scrapes.

    metrics = Metrics(workers=4)   # before the workers are forked, if there are any
    metrics.as_worker(0)           # in each of them

Every process tells its own row of a `Board`, and any of them shows the whole. To tell is a few
writes to memory, in the event loop; `render` may run in a thread. What is measured, and under which
names, is in `measures`.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from sealserve import __version__
from sealserve.board import Board, Row, Table
from sealserve.serving.calls import Call
from sealserve.serving.watching import measures
from sealserve.serving.watching.exposition import CONTENT_TYPE, Samples, Values, exposed, joined
from sealserve.serving.watching.measures import Measure

__all__ = ["CONTENT_TYPE", "Metrics"]

DEFAULT_PATH = "/monitoring/prometheus/metrics"
REST_OF_ALL = "other"  # the label of what has none of its own
PATHS = 64  # folders, and batch sizes, that are told apart
PEERS = 4096  # gRPC connections that are known again
_PLACES = Table(
    names=1024,
    name_bytes=256,
    width=max(measure.cells for measure in measures.ALL),
    kept=len(measures.ALL),
)
_BETWEEN = "\x1f"  # ASCII's unit separator: between a metric and its labels, in a name of the board
_THREAD_POOL = "batch_threads"  # batching_util/shared_batch_scheduler.h
_EXAMPLE_APIS = frozenset({"Classify", "Regress", "MultiInference"})
_MICROSECONDS = 1e6


Cells: TypeAlias = "memoryview[float]"


@dataclass(frozen=True)
class _Face:
    """Where the numbers of one face are."""

    in_flight: Cells
    received: Cells
    sent: Cells


class Metrics:
    """Tells and shows. `workers` is how many processes will be forked to share the work.

    `runtime` is what the stock server calls TF1 or TFRT: here the engine.
    """

    def __init__(self, *, workers: int = 0, runtime: str = "openvino") -> None:
        self._board = Board(1 + workers, 0, _PLACES)
        self._runtime = runtime
        self._be(0)

    def as_worker(self, number: int) -> None:
        """From here on this process is worker `number`, from 0; call it right after the fork.

        What a predecessor in that place counted goes on; what it had open went with it.
        """
        self._be(1 + number)
        for name, cells in self._row.places().items():
            if measures.ALL[int(name.partition(_BETWEEN)[0])].passing:
                cells[0] = 0

    def render(self) -> str:
        """Everything that all processes told, as text (`CONTENT_TYPE`)."""
        # Only who scrapes waits for what it is made of.
        from sealserve.process_metrics import process_text

        rows = self._board.rows()
        gathered = _gathered(rows)
        lines = [
            line
            for number, measure in enumerate(measures.ALL)
            for line in exposed(measure, gathered.get(number, {}))
        ]
        return "\n".join([*lines, process_text(rows)])

    def begun(self, call: Call) -> None:
        """A request has come."""
        self._face(call.entrypoint).in_flight[0] += 1

    def observe(self, call: Call) -> None:
        """It has ended."""
        face = self._face(call.entrypoint)
        if call.entrypoint == "GRPC" and call.peer not in self._peers:
            self._seen(call.peer)
        face.in_flight[0] -= 1
        face.received[0] += call.received
        face.sent[0] += call.sent
        self._one(measures.REQUESTS, call.model, call.status)[0] += 1
        if call.status == "OK":
            self._went_well(call)

    def handshake(self, ok: bool) -> None:
        """A TLS handshake on REST ended."""
        self._one(measures.HANDSHAKES, "REST", "ok" if ok else "failed")[0] += 1

    def loaded(self, path: str, seconds: float) -> None:
        """See `Observer`."""
        self._load_ended(path, "success", seconds)

    def load_failed(self, model: str, path: str, code: str, seconds: float) -> None:
        """See `Observer`."""
        self._load_ended(path, "fail", seconds)
        self._one(measures.LOAD_FAILURES, model, code)[0] += 1

    def states(self, model: str, versions: Mapping[int, int]) -> None:
        """See `Observer`."""
        numbers = Counter(measures.STATES[state // 10 - 1] for state in versions.values())
        for state in measures.STATES:
            self._one(measures.VERSIONS, model, state)[0] = numbers[state]
        available = [version for version, state in versions.items() if state == _AVAILABLE]
        self._one(measures.AVAILABLE, model)[0] = max(available, default=0)

    def warmed(self, path: str, records: int, seconds: float, status: str) -> None:
        """See `Observer`."""
        place = self._among_few(path)
        self._observe(measures.WARMUP_LATENCY, seconds * _MICROSECONDS, place, status)
        self._one(measures.WARMUP_RECORDS, place, status)[0] += records

    def batch(self, rows: Sequence[int], padded: int) -> None:
        """See `Observer`."""
        self._one(measures.WRAPPED_RUNS)[0] += 1
        self._observe(measures.PROCESSED_BATCH, padded)
        self._observe(measures.PADDING, padded - sum(rows), self._among_few(str(padded)))
        for each in rows:
            self._observe(measures.INPUT_BATCH, each)

    def span_dropped(self) -> None:
        """A span had no place to wait in."""
        self._one(measures.SPANS_DROPPED)[0] += 1

    def ready(self, yes: bool) -> None:
        """Whether this process serves, and is not about to stop."""
        self._one(measures.READY)[0] = yes

    def protections(
        self, *, simulated: bool, unattested: bool, unsealed: bool, plaintext: bool
    ) -> None:
        """Which of them are left out."""
        self._one(measures.SIMULATED)[0] = simulated
        self._one(measures.UNATTESTED)[0] = unattested
        self._one(measures.UNSEALED)[0] = unsealed
        self._one(measures.PLAINTEXT)[0] = plaintext

    def certificate(self, expires: float) -> None:
        """The end of the certificate that is shown, in seconds since the epoch."""
        self._one(measures.CERTIFICATE_EXPIRY)[0] = expires

    def engine(self, name: str) -> None:
        """What computes, with its version."""
        self._one(measures.BUILD, __version__, name)[0] = 1

    def _be(self, row: int) -> None:
        self._row: Row = self._board.row(row)
        self._row.pid = os.getpid()
        self._known: dict[str, dict[tuple[str, ...], Cells]] = {m.name: {} for m in measures.ALL}
        self._faces: dict[str, _Face] = {}
        self._few: set[str] = set()
        self._peers: dict[str, None] = {}  # in the order in which they came

    def _seen(self, peer: str) -> None:
        """A gRPC connection that no request had come over."""
        if len(self._peers) >= PEERS:
            del self._peers[next(iter(self._peers))]
        self._peers[peer] = None
        self._one(measures.HANDSHAKES, "GRPC", "ok")[0] += 1

    def _face(self, entrypoint: str) -> _Face:
        found = self._faces.get(entrypoint)
        if found is None:
            found = self._faces[entrypoint] = _Face(
                self._one(measures.IN_FLIGHT, entrypoint),
                self._one(measures.RECEIVED, entrypoint),
                self._one(measures.SENT, entrypoint),
            )
        return found

    def _went_well(self, call: Call) -> None:
        model = call.model
        micros = call.seconds * _MICROSECONDS
        self._observe(measures.REQUEST_LATENCY, micros, model, call.api, call.entrypoint)
        if not call.engine_seconds:
            return  # metadata, status
        micros = call.engine_seconds * _MICROSECONDS
        self._observe(measures.RUNTIME_LATENCY, micros, model, call.api, self._runtime)
        self._observe(measures.QUEUE_SECONDS, call.queue_seconds, model)
        self._observe(measures.ENGINE_SECONDS, call.engine_seconds, model)
        self._one(measures.ROWS, model)[0] += call.rows
        if call.batched:
            micros = call.queue_seconds * _MICROSECONDS
            self._observe(measures.QUEUING_LATENCY, micros, _THREAD_POOL)
        if call.api in _EXAMPLE_APIS:
            self._observe(measures.EXAMPLES, call.rows, model)
            self._one(measures.EXAMPLES_TOTAL, model)[0] += call.rows

    def _load_ended(self, path: str, status: str, seconds: float) -> None:
        place = self._among_few(path)
        self._one(measures.LOAD_ATTEMPTS, place, status)[0] += 1
        self._one(measures.LOAD_LATENCY, place)[0] += int(seconds * _MICROSECONDS)

    def _among_few(self, label: str) -> str:
        """The label, or that of the rest: versions come for as long as the server runs."""
        if label not in self._few and len(self._few) >= PATHS:
            return REST_OF_ALL
        self._few.add(label)
        return label

    def _observe(self, measure: Measure, value: float, *labels: str) -> None:
        cells = self._known[measure.name].get(labels)
        if cells is None:
            cells = self._place(measure, labels)
        bounds = measure.bounds
        cells[bisect_left(bounds, value)] += 1
        cells[len(bounds) + 1] += value

    def _one(self, measure: Measure, *labels: str) -> Cells:
        """Where it is counted."""
        cells = self._known[measure.name].get(labels)
        return self._place(measure, labels) if cells is None else cells

    def _place(self, measure: Measure, labels: tuple[str, ...]) -> Cells:
        number = str(measures.ALL.index(measure))
        plain = (_plain(label) for label in labels)
        rest = _BETWEEN.join((number, *(REST_OF_ALL for _ in labels)))
        cells = self._row.named(_BETWEEN.join((number, *plain)), rest)
        assert cells is not None  # as many places are kept as there are measures
        self._known[measure.name][labels] = cells
        return cells


_AVAILABLE = 10 * (1 + measures.STATES.index("available"))


def _plain(label: str) -> str:
    """What a place can be named by, and what everybody can read."""
    return label.replace(_BETWEEN, " ").encode("utf-8", "backslashreplace").decode()


def _gathered(rows: list[Row]) -> dict[int, Samples]:
    """The samples of each measure, by its number, of all rows together."""
    found: dict[int, dict[tuple[str, ...], list[Values]]] = {}
    for row in rows:
        for name, cells in row.places().items():
            number, *labels = name.split(_BETWEEN)
            found.setdefault(int(number), {}).setdefault(tuple(labels), []).append(cells)
    return {
        number: {labels: joined(measures.ALL[number], each) for labels, each in samples.items()}
        for number, samples in found.items()
    }
