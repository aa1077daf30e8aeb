"""What came of a simulation, in numbers: times in seconds, shares from 0 to 1."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sealserve.lab.simulation.enclave import STAGES, Enclave
from sealserve.lab.simulation.life import Fleet


@dataclass(frozen=True)
class Spread:
    """Of many durations: half, and 99 of a hundred, are no longer than these."""

    median: float
    p99: float
    last: float


@dataclass(frozen=True)
class Stage:
    """Where time went."""

    name: str
    median: float
    """Seconds, over all that were out of service."""
    p99: float
    share: float
    """Of the time that all of them together were out of service."""


@dataclass(frozen=True)
class KeyServiceUse:
    """What the key service did."""

    connections: int
    """To a copy that was up."""
    records: dict[str, int]
    """Decisions, by outcome."""
    refused: dict[str, int]
    """Tries without a decision, by reason."""
    tried_again: int
    processor_share: float
    """Of its workers, from the first session to the last decision."""
    longest_queue: int
    """Of handshakes and decisions, in front of one worker."""
    most_sessions: int
    """Of one worker at a time."""
    transactions: int
    database_share: float
    """In the same time."""
    collateral_fetches: int
    audit_bytes: int


@dataclass(frozen=True)
class Outcome:
    """All of it."""

    scenario: str
    enclaves: int
    nodes: int
    ended: dict[str, int]
    """Enclaves by the state in which they ended; together they are all."""
    untouched: int
    """That never were out of service."""
    all_serve_after: float | None
    """Seconds until all serve (again); None where not all do."""
    until_serving: Spread | None
    """For each that was out of service, or wanted: until it served."""
    stages: tuple[Stage, ...]
    program_restarts: int
    fewest_serving: int
    requests_without_server: float | None
    """More than those that serve can answer; None where none served before."""
    request_share: float | None
    """Of the requests in that time."""
    key_service: KeyServiceUse


class Shortage:
    """Requests beyond what the enclaves that serve can answer, added up over time."""

    def __init__(self, fleet: Fleet) -> None:
        given = fleet.parameters
        self._fleet = fleet
        self._offered = given.load * len(fleet.enclaves) * given.enclave_requests_per_second
        self._since = 0.0
        self._serving = self.fewest = fleet.serving
        self.requests = 0.0

    def changed(self, _enclave: Enclave) -> None:
        """The number that serve has changed now."""
        now = self._fleet.clock.now
        answered = self._serving * self._fleet.parameters.enclave_requests_per_second
        self.requests += max(self._offered - answered, 0.0) * (now - self._since)
        self._since, self._serving = now, self._fleet.serving
        self.fewest = min(self._serving, self.fewest)

    def share(self, seconds: float) -> float:
        """Of all requests in so many seconds."""
        offered = self._offered * seconds
        return self.requests / offered if offered else 0.0


def percentile(values: Sequence[float], share: float) -> float:
    """The value that so large a share of sorted values does not exceed (nearest rank)."""
    return values[max(math.ceil(share * len(values)) - 1, 0)]


def outcome(fleet: Fleet, scenario: str, shortage: Shortage) -> Outcome:
    """What a fleet has come to."""
    touched = [each for each in fleet.enclaves if each.began is not None]
    served = [each for each in touched if each.served is not None]
    ends = [each.served for each in served if each.served is not None]
    last = max(ends, default=0.0)
    complete = len(served) == len(touched)
    started = scenario == "start"
    return Outcome(
        scenario=scenario,
        enclaves=len(fleet.enclaves),
        nodes=len(fleet.cluster.nodes),
        ended=dict(Counter(each.state.value for each in fleet.enclaves)),
        untouched=len(fleet.enclaves) - len(touched),
        all_serve_after=last if complete else None,
        until_serving=_spread(sorted(_out(each) for each in served)),
        stages=_stages(served),
        program_restarts=sum(each.back_off.restarts for each in fleet.enclaves),
        fewest_serving=shortage.fewest,
        requests_without_server=None if started else shortage.requests,
        request_share=None if started else shortage.share(last),
        key_service=_key_service(fleet),
    )


def _out(enclave: Enclave) -> float:
    return (enclave.served or 0.0) - (enclave.began or 0.0)


def _spread(values: Sequence[float]) -> Spread | None:
    if not values:
        return None
    return Spread(percentile(values, 0.5), percentile(values, 0.99), values[-1])


def _stages(served: Sequence[Enclave]) -> tuple[Stage, ...]:
    whole = sum(map(_out, served))
    found = []
    for place, name in enumerate(STAGES):
        values = sorted(each.seconds[place] for each in served)
        if values and values[-1] > 0 and whole:
            share = sum(values) / whole
            found.append(Stage(name, percentile(values, 0.5), percentile(values, 0.99), share))
    return tuple(found)


def _key_service(fleet: Fleet) -> KeyServiceUse:
    keys, given = fleet.keys, fleet.parameters
    seconds = keys.database.last_commit - (keys.first_asked or 0.0)
    busy = sum(worker.loop.busy_seconds for worker in keys.workers)
    records = sum(keys.records.values())
    return KeyServiceUse(
        connections=keys.connections,
        records=dict(keys.records),
        refused=dict(sorted(keys.refused.items())),
        tried_again=fleet.tried_again,
        processor_share=_part(busy / (given.copies * given.workers), seconds),
        longest_queue=max(worker.loop.longest for worker in keys.workers),
        most_sessions=max(worker.most_sessions for worker in keys.workers),
        transactions=keys.database.transactions,
        database_share=_part(keys.database.line.busy_seconds, seconds),
        collateral_fetches=keys.fetches,
        audit_bytes=records * given.stored_record_bytes,
    )


def _part(some: float, whole: float) -> float:
    return min(some / whole, 1.0) if whole > 0 else 0.0
