"""Processor time, memory and files of the processes that share a board, in Prometheus' usual names.

Read from /proc with every scrape: a process that is gone has none, and that is no error.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from sealserve.board import Row


def process_metrics(rows: list[Row]) -> list[Metric]:
    """Of each process that has a row; `worker` is its number, or `main` for the first row's."""
    families: dict[str, Metric] = {}
    for number, row in enumerate(rows):
        if not row.pid:
            continue
        worker = str(number - 1) if number else "main"
        of_pid = ProcessCollector(pid=lambda pid=row.pid: pid, registry=None)  # type: ignore[misc]
        for found in of_pid.collect():
            family = families.setdefault(
                found.name, Metric(found.name, found.documentation, found.type)
            )
            for sample in found.samples:
                family.add_sample(sample.name, {**sample.labels, "worker": worker}, sample.value)
    return list(families.values())


def process_text(rows: list[Row]) -> str:
    """The same, in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Found(process_metrics(rows)))
    return generate_latest(registry).decode()


class _Found(Collector):
    """What was found."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics
