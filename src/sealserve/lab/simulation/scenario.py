"""What is simulated: a start from nothing, a re-attestation of all, a failover.

    start      nothing runs; so many replicas are asked for
    reattest   all serve; every enclave is started again, all at once or so many at a time.
               Collateral has changed, so each copy of the key service fetches it anew; by it the
               platform of some nodes is outdated, and is denied the key until it is updated
    failover   all serve; something is lost for a while. A node is noticed, tainted (one after the
               other) and given up as Kubernetes does it, unless all nodes are lost; a zone is all
               its nodes. A copy of the key service, or its database, is missed by those alone that
               start meanwhile

Sources: Kubernetes 1.34, pkg/controller/nodelifecycle/node_lifecycle_controller.go and
pkg/controller/tainteviction. Which nodes, and who starts in an outage, is decided by the seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final, Literal, TypeAlias

from sealserve.errors import UsageError
from sealserve.lab.simulation.capacity import nodes_for
from sealserve.lab.simulation.cluster import Node
from sealserve.lab.simulation.enclave import Enclave, State
from sealserve.lab.simulation.engine import Clock, Pace
from sealserve.lab.simulation.life import Fleet
from sealserve.lab.simulation.outcome import Outcome, Shortage, outcome
from sealserve.lab.simulation.parameters import Parameters

Name: TypeAlias = Literal["start", "reattest", "failover"]
Lost: TypeAlias = Literal["node", "zone", "keyservice", "database"]
Progress: TypeAlias = Callable[[float, int], None]

MOST_ENCLAVES: Final = 100_000
WEEK: Final = 7 * 86400.0  # seconds


@dataclass(frozen=True)
class Scenario:
    """What happens, and to how many."""

    enclaves: int
    name: Name = "start"
    nodes: int = 0
    """0: as many as have room for all."""
    spare: float = 0.0
    """The share of these that there are more, where `nodes` is 0."""
    seed: int = 0
    pull: bool = False
    """Of a start: whether no node has the image."""
    at_a_time: int = 0
    """Of a re-attestation: how many are out of service at a time; 0: all."""
    outdated: float = 0.0
    """Of a re-attestation: the share of nodes that the new collateral calls outdated."""
    updated_after: float = 600.0
    """Seconds until they are updated."""
    lose: Lost = "node"
    """Of a failover."""
    lost_seconds: float = 600.0
    starting: float = 0.1
    """Of a failover of the key service: the share of enclaves that start again meanwhile."""
    end: float = WEEK
    """Who does not serve by then, in seconds, is counted as what he is."""


def simulate(
    scenario: Scenario, parameters: Parameters, progress: Progress | None = None
) -> Outcome:
    """What becomes of it; the same for the same arguments. Raises UsageError.

    `progress` is told the simulated time and how many serve, now and then.
    """
    return simulate_fleet(scenario, parameters, progress)[0]


def simulate_fleet(
    scenario: Scenario, parameters: Parameters, progress: Progress | None = None
) -> tuple[Outcome, Fleet]:
    """The same, and every enclave as it ended."""
    needed = nodes_for(parameters, scenario.enclaves)
    nodes = scenario.nodes or math.ceil(needed * (1 + scenario.spare))
    if not 0 < scenario.enclaves <= MOST_ENCLAVES:
        raise UsageError(f"{scenario.enclaves} enclaves, expected 1 to {MOST_ENCLAVES}")
    if not nodes:
        raise UsageError(
            "no node has room for a single enclave",
            hint="sealserve lab capacity says what there is too little of",
        )
    clock, random = Clock(), Random(scenario.seed)  # noqa: S311  # chance of a simulation
    fleet = Fleet(clock, parameters, scenario.enclaves, nodes, random)
    if scenario.name == "start":
        shortage = Shortage(fleet)
        _start(fleet, scenario)
    else:
        for enclave in fleet.enclaves:
            fleet.settle(enclave)
        shortage = Shortage(fleet)
        fleet.listeners.append(shortage.changed)
        (_reattest if scenario.name == "reattest" else _failover)(fleet, scenario, random)
    tell = None if progress is None else lambda: progress(clock.now, fleet.serving)
    clock.run(scenario.end, tell)
    return outcome(fleet, scenario.name, shortage), fleet


def _start(fleet: Fleet, scenario: Scenario) -> None:
    if not scenario.pull:
        for node in fleet.cluster.nodes:
            fleet.cluster.images.hold(node)
    for enclave in fleet.enclaves:
        fleet.create(enclave)


def _reattest(fleet: Fleet, scenario: Scenario, random: Random) -> None:
    nodes = [node.number for node in fleet.cluster.nodes]
    fleet.outdated = frozenset(random.sample(nodes, round(scenario.outdated * len(nodes))))
    fleet.updated_at = scenario.updated_after
    waiting = [each for each in fleet.enclaves if each.state is State.SERVING]
    waiting.reverse()

    def next_one(enclave: Enclave | None = None) -> None:
        if (enclave is None or enclave.state is State.SERVING) and waiting:
            fleet.stop(waiting.pop())

    fleet.listeners.append(next_one)
    for _ in range(scenario.at_a_time or len(waiting)):
        fleet.clock.at(0.0, next_one)


def _failover(fleet: Fleet, scenario: Scenario, random: Random) -> None:
    end = scenario.lost_seconds
    if scenario.lose in ("node", "zone"):
        nodes = fleet.cluster.nodes
        first = random.choice(nodes)
        zone = [node for node in nodes if node.zone == first.zone]
        lost = [first] if scenario.lose == "node" else zone
        fleet.clock.at(0.0, _lose, fleet, lost, end)
        return
    if scenario.lose == "keyservice":
        fleet.clock.at(0.0, fleet.keys.copies[0].fall)
        fleet.clock.at(end, fleet.keys.copies[0].rise)
    else:
        fleet.clock.at(0.0, _set_database, fleet, False)
        fleet.clock.at(end, _set_database, fleet, True)
    serving = [each for each in fleet.enclaves if each.state is State.SERVING]
    for enclave in random.sample(serving, round(scenario.starting * len(serving))):
        fleet.clock.at(random.uniform(0.0, end), fleet.stop, enclave)


def _set_database(fleet: Fleet, is_up: bool) -> None:
    fleet.keys.database.is_up = is_up


def _lose(fleet: Fleet, nodes: list[Node], end: float) -> None:
    """Nodes go, and boot in the end; their pods are given up where that takes too long."""
    given = fleet.parameters
    tainting = Pace(given.evicted_nodes_per_second, 1)
    for node in nodes:
        fleet.cluster.lose(node)
        pods = [each for each in fleet.enclaves if each.node is node]
        for enclave in pods:
            fleet.lose(enclave)
        if len(nodes) < len(fleet.cluster.nodes):
            tainted = tainting.take(given.node_grace_seconds)
            fleet.clock.at(tainted + given.toleration_seconds, _give_up, fleet, node, pods)
        fleet.clock.at(end, _bring_back, fleet, node, pods)


def _give_up(fleet: Fleet, node: Node, pods: list[Enclave]) -> None:
    if not node.is_up:
        for enclave in pods:
            fleet.evict(enclave)


def _bring_back(fleet: Fleet, node: Node, pods: list[Enclave]) -> None:
    fleet.cluster.bring_back(node)
    for enclave in pods:
        if enclave.node is node:
            fleet.boot(enclave)
    fleet.fill()
