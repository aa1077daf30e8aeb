"""The key service's metrics: told by whoever does the work, read by whoever is asked for them.

    metrics = Metrics(workers=4)   # before the workers are forked, if there are any
    metrics.as_worker(0)           # in each of them
    metrics.decision("released", "policy.allowed", 0.012)

Every process tells its own row of a `Board`, and any of them, or the process that forked them, can
show the whole. To tell is a few writes to memory: it never waits and never fails a release. There
is no registry but this one, so that two services in one process do not mix.
"""

from __future__ import annotations

import os
import platform
import re
import time
from bisect import bisect_left
from collections.abc import Iterator
from datetime import datetime
from math import inf

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from sealserve import __version__
from sealserve.board import Board, Row
from sealserve.keyservice import measures
from sealserve.keyservice.measures import (
    PREFIX,
    Counter,
    Histogram,
    Latest,
    Measure,
    NamedCounter,
    Sum,
)
from sealserve.process_metrics import process_metrics

CONTENT_TYPE = CONTENT_TYPE_LATEST
REST = "other"  # the label of what has none of its own
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,47}")  # what our codes look like
_BETWEEN = "\x1f"  # ASCII's unit separator: between a metric and its labels, in a name of a board


def _layout() -> tuple[dict[str, int], int]:
    """The first cell of each measure, and how many there are."""
    places, cells = {}, 0
    for measure in measures.ALL:
        places[measure.name] = cells
        cells += measures.cells_of(measure)
    return places, cells


_PLACES, _CELLS = _layout()


class Metrics:
    """Tells and shows. `workers` is how many processes will be forked to share the work."""

    def __init__(self, *, workers: int = 0) -> None:
        self._board = Board(1 + workers, _CELLS)
        self._row = self._board.row(0)
        self._row.pid = os.getpid()
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Shown(self._board))

    def as_worker(self, number: int) -> None:
        """From here on this process is worker `number`, from 0; call it right after the fork.

        What a predecessor in that place counted goes on; what it had open went with it.
        """
        self._row = self._board.row(1 + number)
        self._row.pid = os.getpid()
        for measure in measures.ALL:
            if isinstance(measure, Sum):
                self._row.put(_PLACES[measure.name], 0)

    def show(self) -> bytes:
        """Everything that all processes told, in Prometheus' text format (`CONTENT_TYPE`)."""
        return generate_latest(self._registry)

    def decision(self, outcome: str, code: str, seconds: float) -> None:
        """There is a decision about one secret, on record; the request took so long until then.

        `code` is one of the service's own.
        """
        self._observe(measures.DECISION_SECONDS, seconds, outcome)
        self._name(measures.DECISIONS, outcome, code)

    def handshake(self, seconds: float, ok: bool) -> None:
        """A TLS handshake ended, well or not."""
        self._observe(measures.HANDSHAKE_SECONDS, seconds, "ok" if ok else "failed")

    def session_opened(self) -> None:
        """A connection is a session."""
        self._add(measures.SESSIONS)
        self._add(measures.OPEN_SESSIONS)

    def open_sessions(self) -> int:
        """How many sessions this process has."""
        return int(self._row.cell(_PLACES[measures.OPEN_SESSIONS.name]))

    def session_ended(self, how: str) -> None:
        """A session is over: `how` is a code of the service's own."""
        self._add(measures.OPEN_SESSIONS, -1)
        self._name(measures.SESSIONS_ENDED, how)

    def refused(self, reason: str) -> None:
        """A limit turned a connection or a request away: `reason` names the limit."""
        self._name(measures.REFUSALS, reason)

    def record_batch(self, records: int, seconds: float) -> None:
        """One commit made `records` records durable."""
        self._observe(measures.BATCH_RECORDS, records)
        self._observe(measures.BATCH_SECONDS, seconds)

    def record_failed(self) -> None:
        """A record could not be made durable, so nothing was released on it."""
        self._add(measures.LOG_FAILURES)

    def rolled_back(self) -> None:
        """The database has an older log than this service has seen."""
        self._add(measures.LOG_ROLLBACKS)

    def log_head(self, size: int, revision: int) -> None:
        """The audit log has `size` records; the rules in force are of `revision`."""
        self._tell(measures.LOG_RECORDS, size)
        self._tell(measures.RULES_REVISION, revision)

    def database(self, ok: bool) -> None:
        """The database answered, or did not."""
        self._tell(measures.DATABASE_UP, ok)

    def ready(self, ok: bool) -> None:
        """Whether the service is ready, as `/readyz` says it."""
        self._tell(measures.READY, ok)

    def simulated(self, yes: bool) -> None:
        """Whether another trust root than Intel's is in force."""
        self._tell(measures.SIMULATED, yes)

    def certificate(self, of: str, expires: datetime) -> None:
        """The end of the certificate of the listener `of`: "release" or "admin"."""
        self._tell(measures.CERTIFICATE_EXPIRY, expires.timestamp(), of)

    def collateral(self, valid_until: datetime) -> None:
        """The end of the collateral that ends first, of what decisions rest on."""
        self._tell(measures.COLLATERAL_UNTIL, valid_until.timestamp())

    def _add(self, measure: Counter | Sum, amount: float = 1) -> None:
        self._row.add({_PLACES[measure.name]: amount})

    def _name(self, measure: NamedCounter, *values: str) -> None:
        known = (value if _CODE.fullmatch(value) else REST for value in values)
        rest = (REST for _ in values)
        self._row.count(_BETWEEN.join((measure.name, *known)), _BETWEEN.join((measure.name, *rest)))

    def _tell(self, measure: Latest, value: float, label: str = "") -> None:
        place = _PLACES[measure.name] + 2 * measure.values.index(label)
        self._row.put(place + 1, value)
        self._row.put(place, time.monotonic())  # one clock for all processes, and nobody sets it

    def _observe(self, measure: Histogram, value: float, label: str = "") -> None:
        width = len(measure.bounds) + 2
        start = _PLACES[measure.name] + width * measure.values.index(label)
        bucket = bisect_left(measure.bounds, value)
        self._row.add({start + bucket: 1, start + width - 1: value})


class _Shown(Collector):
    """The rows of a board as metrics."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def collect(self) -> Iterator[Metric]:
        """Every metric, of all processes together; those of a process by itself."""
        rows = self._board.rows()
        named = _named(rows)
        for measure in measures.ALL:
            yield _family(measure, rows, named)
        yield InfoMetricFamily(
            PREFIX + "build",
            "The version of SealServe and of Python.",
            {"version": __version__, "python": platform.python_version()},
        )
        yield from process_metrics(rows)


def _family(measure: Measure, rows: list[Row], named: dict[tuple[str, ...], float]) -> Metric:
    name, place = PREFIX + measure.name, _PLACES[measure.name]
    match measure:
        case Counter():
            return CounterMetricFamily(name, measure.meaning, _sum(rows, place))
        case Sum():
            return GaugeMetricFamily(name, measure.meaning, _sum(rows, place))
        case NamedCounter():
            family = CounterMetricFamily(name, measure.meaning, labels=measure.labels)
            for (of, *labels), value in sorted(named.items()):
                if of == measure.name:
                    family.add_metric(labels, value)
            return family
        case Latest():
            return _latest(measure, rows)
        case Histogram():
            return _histogram(measure, rows)


def _latest(measure: Latest, rows: list[Row]) -> Metric:
    labels = [measure.label] if measure.label else []
    family = GaugeMetricFamily(PREFIX + measure.name, measure.meaning, labels=labels)
    for number, label in enumerate(measure.values):
        place = _PLACES[measure.name] + 2 * number
        when, value = max((row.cell(place), row.cell(place + 1)) for row in rows)
        if when > 0:
            family.add_metric([label] if labels else [], value)
    return family


def _histogram(measure: Histogram, rows: list[Row]) -> Metric:
    labels = [measure.label] if measure.label else []
    family = HistogramMetricFamily(PREFIX + measure.name, measure.meaning, labels=labels)
    width = len(measure.bounds) + 2
    for number, label in enumerate(measure.values):
        start = _PLACES[measure.name] + width * number
        buckets, total = [], 0.0
        for bucket, bound in enumerate((*measure.bounds, inf)):
            total += _sum(rows, start + bucket)
            buckets.append(("+Inf" if bound == inf else str(bound), total))
        family.add_metric([label] if labels else [], buckets, _sum(rows, start + width - 1))
    return family


def _sum(rows: list[Row], place: int) -> float:
    return sum(row.cell(place) for row in rows)


def _named(rows: list[Row]) -> dict[tuple[str, ...], float]:
    """Counters by the name of their metric and their labels, of all rows together."""
    found: dict[tuple[str, ...], float] = {}
    for row in rows:
        for name, value in row.counts().items():
            key = tuple(name.split(_BETWEEN))
            found[key] = found.get(key, 0) + value
    return found
