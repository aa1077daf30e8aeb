"""The capacity model: what a fleet takes, each formula once, over `Parameters`.

A rate is per second, a size in bytes. Nothing here waits or queues: these are the bounds that the
simulation, and any cluster, stays within.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from sealserve.lab.simulation.parameters import Parameters

DAY: Final = 86400.0  # seconds
YEAR: Final = 365.0  # days
PROXIED: Final = 2  # connections of nginx for each client: ngx_core_module, worker_connections
POOL: Final = 12  # connections of one process: sealserve.keyservice.store.pool


@dataclass(frozen=True)
class Bound:
    """What bounds a number, and the least of several is the number itself."""

    value: float
    by: str


def node_bounds(given: Parameters) -> list[Bound]:
    """How many enclaves fit on a node, by each thing that the scheduler counts."""
    cpus = given.node_cpus - given.node_reserved_cpus
    memory = given.node_memory_bytes - given.node_reserved_memory_bytes
    return [
        Bound(given.node_epc_bytes // given.enclave_bytes, "EPC"),
        Bound(max(math.floor(cpus / given.enclave_cpus + 1e-9), 0), "CPU"),
        Bound(max(memory // given.enclave_memory_bytes, 0), "memory"),
        Bound(max(given.node_pods - given.node_system_pods, 0), "pods"),
    ]


def least(bounds: list[Bound]) -> Bound:
    """The one that binds."""
    return min(bounds, key=lambda bound: bound.value)


def enclaves_per_node(given: Parameters) -> int:
    """The least of all bounds."""
    return int(least(node_bounds(given)).value)


def nodes_for(given: Parameters, enclaves: int) -> int:
    """Nodes that have room for so many; 0 where none has room for a single one."""
    each = enclaves_per_node(given)
    return math.ceil(enclaves / each) if each else 0


def quotes_per_second(given: Parameters) -> float:
    """Of one node: its quoting enclave signs one after the other."""
    return 1 / given.quote_seconds if given.quote_seconds else math.inf


def quote_wait_seconds(given: Parameters) -> float:
    """The longest wait for a quote where all enclaves of a full node ask at once."""
    return enclaves_per_node(given) * given.quote_seconds


def release_bounds(given: Parameters) -> list[Bound]:
    """Releases per second that last, of the whole key service, by each thing that bounds them."""
    processes = given.copies * given.workers
    session = given.handshake_cpu_seconds + given.decision_cpu_seconds
    bounds = [
        Bound(processes / session, "processors of the key service"),
        Bound(record_rate(given), "the database: one transaction at a time"),
        Bound(
            given.copies * given.limits.releases_per_second_per_identity,
            "[limits] releases_per_second_per_identity: one build",
        ),
    ]
    if given.pace_seconds:
        paced = processes * given.batch_records / given.pace_seconds
        bounds.append(Bound(paced, "the appenders' pace"))
    if given.sources:
        rate = given.limits.connections_per_second_per_source
        shared = given.copies * given.sources * rate
        bounds.append(Bound(shared, "[limits] connections_per_second_per_source"))
    return bounds


def record_rate(given: Parameters) -> float:
    """Durable records per second, in transactions as full as they may be."""
    seconds = given.transaction_seconds + given.batch_records * given.record_seconds
    return given.batch_records / seconds


def release_seconds(given: Parameters, enclaves: int) -> float:
    """The least time for the keys of so many that ask at once: what no limit's burst lets through.

    A limit lets its burst through before its rate counts; processors and database have none.
    """
    processors, database, build, *_ = release_bounds(given)
    burst = given.copies * given.limits.releases_burst_per_identity
    return max(
        enclaves / processors.value, enclaves / database.value, (enclaves - burst) / build.value, 0
    )


def fetches_per_day(given: Parameters) -> float:
    """Renewals of collateral: each copy, for each kind of platform, once in its age."""
    return given.copies * given.platform_kinds * DAY / given.collateral_age_seconds


def edge_bounds(given: Parameters) -> list[Bound]:
    """Clients' connections at a time, of all edge pods."""
    processes = given.edge_copies * given.edge_workers
    memory = given.edge_copies * given.edge_memory_bytes / given.edge_connection_bytes
    return [
        Bound(processes * given.edge_connections // PROXIED, "worker_connections"),
        Bound(math.floor(memory), "memory limit"),
    ]


def records_per_day(given: Parameters, enclaves: int) -> float:
    """Decisions on record: one for each start."""
    return enclaves * given.starts_per_day


def audit_bytes_per_day(given: Parameters, enclaves: int) -> float:
    """By which the database grows."""
    return records_per_day(given, enclaves) * given.stored_record_bytes


def exported_bytes_per_day(given: Parameters, enclaves: int) -> float:
    """The same records as `sealserve audit export` writes them."""
    return records_per_day(given, enclaves) * given.record_bytes


def database_connections(given: Parameters) -> int:
    """That PostgreSQL must allow (`max_connections`): each process has a pool."""
    return given.copies * given.workers * POOL
