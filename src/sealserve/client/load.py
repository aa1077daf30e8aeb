"""Load on a service: the same request again and again, and what that took.

Closed loop: each of `concurrency` workers has a client, so a connection, of its own and sends its
share of the requests one after the other; the next goes out when the answer is in. Workers share
no lock and no counter. Each first sends some requests that are not counted (connections, caches),
and the clock starts when all are done with that. The request is serialized once and answers are
not decoded, so that the times are those of the wire and of the server.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field

from sealserve.client.client import Client
from sealserve.errors import ServingError, UsageError

WARM_UP = 5  # requests of each worker that are not counted: as many as the guide's client sends
MAX_CONCURRENCY = 1024
PROGRESS_SECONDS = 1.0


@dataclass(frozen=True)
class LoadReport:
    """Times in seconds, of the requests that were answered, in ascending order; errors by code."""

    concurrency: int
    warm_up: int
    seconds: float
    latencies: Sequence[float] = field(repr=False)
    errors: dict[str, int]

    @property
    def requests(self) -> int:
        """All requests that were counted, answered or not."""
        return len(self.latencies) + sum(self.errors.values())

    @property
    def throughput(self) -> float:
        """Answered requests per second."""
        return len(self.latencies) / self.seconds

    def percentile(self, percent: float) -> float | None:
        """`percentile` of the latencies; None where nothing was answered."""
        return percentile(self.latencies, percent) if self.latencies else None


@dataclass
class _Worker:
    client: Client
    request: bytes
    share: int
    latencies: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    def warm_up(self) -> None:
        for _ in range(min(WARM_UP, self.share)):
            self.client.predict_bytes(self.request)

    def measure(self, stop: threading.Event) -> None:
        for _ in range(self.share):
            if stop.is_set():
                return
            start = time.perf_counter()
            try:
                self.client.predict_bytes(self.request)
            except ServingError as error:
                self.errors[error.code] += 1
            else:
                self.latencies.append(time.perf_counter() - start)

    @property
    def done(self) -> int:
        return len(self.latencies) + sum(self.errors.values())


def percentile(ascending: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile: the least value that `percent` of all values do not exceed."""
    if not ascending or not 0 < percent <= 100:
        raise UsageError("a percentile needs values, and a percentage above 0 and up to 100")
    return ascending[math.ceil(len(ascending) * percent / 100) - 1]


def run_load(
    make_client: Callable[[], Client],
    request: bytes,
    *,
    repeat: int,
    concurrency: int,
    on_progress: Callable[[int], None] = lambda done: None,
) -> LoadReport:
    """Send a serialized PredictRequest `repeat` times over `concurrency` connections.

    `on_progress` is told about once a second how many requests are done. A failure in the warm-up
    is raised; later ones are counted.
    """
    if not 1 <= concurrency <= min(repeat, MAX_CONCURRENCY):
        raise UsageError(
            f"{repeat} requests over {concurrency} connections:"
            f" expected at least one each, and at most {MAX_CONCURRENCY} connections"
        )
    with ExitStack() as stack:
        workers = [
            _Worker(stack.enter_context(make_client()), request, share)
            for share in _shares(repeat, concurrency)
        ]
        seconds = _run(workers, on_progress)
    return LoadReport(
        concurrency=concurrency,
        warm_up=sum(min(WARM_UP, worker.share) for worker in workers),
        seconds=seconds,
        latencies=sorted(latency for worker in workers for latency in worker.latencies),
        errors=dict(sum((worker.errors for worker in workers), Counter())),
    )


def _shares(repeat: int, concurrency: int) -> list[int]:
    each, rest = divmod(repeat, concurrency)
    return [each + (index < rest) for index in range(concurrency)]


def _run(workers: list[_Worker], on_progress: Callable[[int], None]) -> float:
    """Warm up, then measure; returns the seconds of the latter."""
    stop = threading.Event()
    with ThreadPoolExecutor(len(workers)) as pool:
        list(pool.map(_Worker.warm_up, workers))
        start = time.perf_counter()
        pending: set[Future[None]] = {pool.submit(worker.measure, stop) for worker in workers}
        try:
            while pending:
                finished, pending = wait(pending, timeout=PROGRESS_SECONDS)
                for future in finished:
                    future.result()
                on_progress(sum(worker.done for worker in workers))
        finally:
            stop.set()
        return time.perf_counter() - start
