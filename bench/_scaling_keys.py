"""Processor time of a release, in its parts; and the simulated key service beside the real one.

One worker and clients share the cores, in the measurement and in the simulation of it: so many
requests are under way all the time, a client's own processor time is spent on the cores that the
worker leaves, and everything else is the key service's model with the costs that were measured just
before. What other programs took of the cores in the meantime is taken off both ends' speed: a row
says how much was left. Where rates agree, the queue and the group commit of the model are good
enough to be scaled.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random

from bench._bare import serve_bare
from bench._keyservice_releases import CORES, start
from bench._load import TICKS, Clients, Round, Target, rounds
from bench._process import peer
from bench._site import NAME, SECRET, Site
from bench.measure import Result
from sealserve.keyservice.limits import Limits
from sealserve.keyservice.protocol import encode_answer
from sealserve.lab.simulation.engine import Clock, Line
from sealserve.lab.simulation.keyservice import KeyService
from sealserve.lab.simulation.parameters import Parameters, read_parameters

ROUNDS = 3
REQUESTS = 400
AT_A_TIME = (8, 32, 128)
ASKED = 32  # at a time, where costs are measured
SIMULATED = 2000  # requests


def measure(site: Site, clients: Clients, measured: dict[str, float]) -> Iterator[Result]:
    """Costs, then rates at several loads."""
    with ExitStack() as stack:
        service = start(stack, site, "one-worker", workers=1)
        bare = stack.enter_context(peer(serve_bare, site, encode_answer(SECRET, "raw"), 0))
        named, bare_target = Target(site, (service,), (NAME,)), Target(site, (bare,))
        subjects = {
            "bare": _Watched(clients, bare_target, ASKED),
            **{str(many): _Watched(clients, named, many) for many in AT_A_TIME},
        }
        found = rounds(subjects, ROUNDS)
    yield from _costs(found, measured)
    given = replace(
        read_parameters(measured), copies=1, workers=1, collateral_seconds=0.0, limits=_no_limits()
    )
    for many in AT_A_TIME:
        left = statistics.median(subjects[str(many)].left[1:])
        yield _beside(many, found[str(many)], given, left)


class _Watched:
    """Rounds of one subject, and the share of the cores that other programs left in each."""

    def __init__(self, clients: Clients, target: Target, at_a_time: int) -> None:
        self._ask = partial(clients.ask, target, requests=REQUESTS, at_a_time=at_a_time)
        self.left: list[float] = []

    def __call__(self) -> Round:
        """One round."""
        busy, whole = _processors()
        done = self._ask()
        busy, whole = (
            after - before for after, before in zip(_processors(), (busy, whole), strict=True)
        )
        others = max(busy - done.server_seconds - done.client_seconds, 0.0)
        self.left.append(1 - others / whole)
        return done


def _processors() -> tuple[float, float]:
    """Seconds that all processors were busy, and seconds in all, since boot (proc(5), stat)."""
    fields = Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]
    ticks = [int(field) for field in fields]
    return (sum(ticks) - ticks[3] - ticks[4]) / TICKS, sum(ticks) / TICKS


def _costs(found: dict[str, list[Round]], measured: dict[str, float]) -> Iterator[Result]:
    bare, ours = found["bare"], found[str(ASKED)]
    handshake, release = _cost(bare), _cost(ours)
    measured["handshake_cpu_seconds"] = handshake
    measured["decision_cpu_seconds"] = release - handshake
    measured["client_seconds"] = statistics.median(each.client_cost for each in ours)
    limit = f"a bare handshake ({handshake * 1000:.3g} ms)"
    ratio = handshake / release
    name = "one release, sealserve/1: processor time of the server"
    yield Result(name, release * 1000, "ms", limit, ratio, None, None)
    client = measured["client_seconds"] * 1000
    name = "one release, sealserve/1: processor time of the client"
    yield Result(name, client, "ms", None, None, None, None)


def _cost(done: list[Round]) -> float:
    return statistics.median(each.server_cost for each in done)


def _beside(many: int, found: list[Round], given: Parameters, left: float) -> Result:
    real = statistics.median(each.rate for each in found)
    simulated = _rate(many, given, left)
    name = f"releases, 1 worker, {many} at a time: the real key service"
    against = f"the simulated one, with {left:.0%} of the cores ({simulated:.3g} releases/s)"
    return Result(name, real, "releases/s", against, real / simulated, None, None)


def _rate(many: int, given: Parameters, left: float) -> float:
    """Releases per second of the model, with so many under way on that share of the cores."""
    clock = Clock()
    slowed = replace(
        given,
        client_seconds=0.0,
        handshake_cpu_seconds=given.handshake_cpu_seconds / left,
        decision_cpu_seconds=given.decision_cpu_seconds / left,
    )
    keys = KeyService(clock, slowed, Random(0))
    cores = Line(clock, max(CORES - given.workers, 1))
    for _ in range(many):
        _Client(keys, cores, given.client_seconds / left).begin()
    while keys.records["released"] < SIMULATED:
        clock.run(clock.now + 0.1)
    return keys.records["released"] / clock.now


class _Client:
    """Asks again as soon as it is answered (`keyservice.Asker`)."""

    source, platform, allowed = b"client", 0, True

    def __init__(self, keys: KeyService, cores: Line, seconds: float) -> None:
        self._keys, self._cores, self._seconds = keys, cores, seconds

    def begin(self) -> None:
        """Its side of the handshake, then the session."""
        self._cores.serve(self._seconds, self._connect)

    def _connect(self) -> None:
        self._keys.connect(self)

    def answered(self, allowed: bool) -> None:
        """See `keyservice.Asker`."""
        self.begin()

    def failed(self, reason: str, retry_after: float | None) -> None:
        """Nothing is refused here."""
        raise RuntimeError(reason)


def _no_limits() -> Limits:
    most = 65536
    return Limits(
        max_sessions=most,
        max_sessions_per_source=most,
        connections_per_second_per_source=10_000,
        connections_burst_per_source=most,
        releases_per_second_per_identity=10_000,
        releases_burst_per_identity=most,
        max_waiting_decisions=most,
    )
