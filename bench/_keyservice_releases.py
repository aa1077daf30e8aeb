"""Releases over full RA-TLS: how many, at what cost, and how long one waits.

Server and clients share the processors, and a client's handshake costs about as much as the
server's: so a rate is what *both ends together* do on this machine, and the ratio of two rates
hides some of the server's part. The cost of one release in processor seconds of the server alone
hides nothing, and is given beside each rate. Where others use the machine, too, their turns are in
the rates; so the goal is also one for the rates that follow from processor time.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from bench._bare import serve_bare
from bench._load import Clients, Round, Target, rounds, seconds_of
from bench._process import Server, command, peer
from bench._site import NAME, SECRET, Site, fill
from bench.measure import Result, compared
from sealserve.appraisal.appraise import appraise
from sealserve.appraisal.policy import Policy
from sealserve.evidence.ratls import check_binding, evidence_of_peer
from sealserve.keyservice.administration.opening import open_store
from sealserve.keyservice.config import load_config
from sealserve.keyservice.protocol import encode_answer
from sealserve.lab.world import World
from sealserve.verifier import load_trust_root, verify_collateral, verify_quote

ROUNDS = 5
REQUESTS = 600
AT_A_TIME = 32
VERIFICATIONS = 1000
WAITING = {1: 150, 16: 500, 128: 500}
"""Requests in a round, by how many are under way."""
WAITING_ROUNDS = 3
GOAL = 0.6
CORES = len(os.sched_getaffinity(0))
BARE, OURS, NAMED = "bare handshakes", "releases", "releases, sealserve/1"


def measure(site: Site, clients: Clients) -> Iterator[Result]:
    """Rates and costs with a worker for each core, then waits, with one worker and with two."""
    with ExitStack() as stack:
        one = start(stack, site, "one-worker", workers=1)
        two = start(stack, site, "two-workers", workers=2)
        bare = stack.enter_context(peer(serve_bare, site, encode_answer(SECRET, "raw"), 0))
        also = stack.enter_context(peer(serve_bare, site, encode_answer(SECRET, "raw"), bare.port))
        peers = (bare, also)
        yield from _rates(site, clients, two, peers)
        yield from _waits(site, clients, one, two, peers)


def start(stack: ExitStack, site: Site, name: str, *, workers: int) -> Server:
    """A service with a new database, until the stack is closed."""
    config = site.configure(name, workers=workers)
    fill(site, config)
    return run_service(stack, site, name)


def run_service(stack: ExitStack, site: Site, name: str) -> Server:
    """A service by a configuration that is there, until the stack is closed."""
    folder = site.folder / f"{name}.run"
    folder.mkdir(exist_ok=True)
    words = ("keyservice", "run", "--config", f"../{name}.toml")
    return stack.enter_context(command(*words, folder=folder))


def _rates(
    site: Site, clients: Clients, service: Server, peers: tuple[Server, ...]
) -> Iterator[Result]:
    targets = {
        BARE: Target(site, peers),
        OURS: Target(site, (service,)),
        NAMED: Target(site, (service,), (NAME,)),
    }
    found = rounds(
        {
            **{
                name: partial(clients.ask, target, requests=REQUESTS, at_a_time=AT_A_TIME)
                for name, target in targets.items()
            },
            "verification alone": partial(_verify, site, clients),
        },
        ROUNDS,
    )
    times = seconds_of(found)
    unit = "releases/s"
    for name in (OURS, NAMED):
        label = f"{name}, {AT_A_TIME} at a time, 2 workers"
        yield compared(label, times, name, BARE, work=REQUESTS, unit=unit, goal=GOAL)
    alone = {
        OURS: [each / REQUESTS for each in times[OURS]],
        "verification alone": [each / VERIFICATIONS for each in times["verification alone"]],
    }
    label = f"{OURS}, beside what each has verified"
    yield compared(label, alone, OURS, "verification alone", work=1, unit=unit, goal=None)
    for name in (OURS, NAMED):
        yield cost(f"{name}: processor time of the server", found[name], BARE, found[BARE])
    for name in (OURS, NAMED):
        yield _on_paper(name, found[name], found[BARE])
    for name in (BARE, OURS, NAMED):
        shares = [each.client_seconds / (each.seconds * CORES) for each in found[name]]
        share = 100 * statistics.median(shares)
        server = [100 * each.server_seconds / (each.seconds * CORES) for each in found[name]]
        against = f"the server takes {statistics.median(server):.0f} %"
        label = f"{name}: share of {CORES} cores that clients take"
        yield Result(label, share, "%", against, None, None, None)


def _on_paper(name: str, ours: list[Round], bare: list[Round]) -> Result:
    """The rate that the processor time of both ends together allows, were the cores ours alone."""
    own, theirs = (CORES / statistics.median(map(_both_ends, done)) for done in (ours, bare))
    against = f"{BARE} ({theirs:.3g} releases/s)"
    label = f"{name}: {CORES} cores over processor time of both ends"
    goal = f"ratio >= {GOAL:g}"
    return Result(label, own, "releases/s", against, own / theirs, goal, own / theirs >= GOAL)


def _both_ends(done: Round) -> float:
    return done.server_cost + done.client_cost


def cost(name: str, ours: list[Round], peer_name: str, peers: list[Round]) -> Result:
    """Processor time of the server for one request, beside a peer's: medians."""
    own = statistics.median(each.server_cost for each in ours) * 1000
    theirs = statistics.median(each.server_cost for each in peers) * 1000
    against = f"{peer_name} ({theirs:.3g} ms)"
    return Result(name, own, "ms", against, theirs / own, None, None)


def _waits(
    site: Site, clients: Clients, one: Server, two: Server, peers: tuple[Server, ...]
) -> Iterator[Result]:
    """Percentiles of what clients waited; the peer has as many processes as the service."""
    targets = {
        "1 worker": Target(site, (one,)),
        "2 workers": Target(site, (two,)),
        "bare": Target(site, peers),
    }
    for at_a_time, requests in WAITING.items():
        found = rounds(
            {
                name: partial(clients.ask, target, requests=requests, at_a_time=at_a_time)
                for name, target in targets.items()
            },
            WAITING_ROUNDS,
        )
        for name in ("1 worker", "2 workers"):
            for percent in (50, 99):
                yield _wait(f"{at_a_time} at a time, {name}", found[name], found["bare"], percent)
        if at_a_time > 1:
            yield from _scaling(at_a_time, requests, found)


def _wait(name: str, ours: list[Round], bare: list[Round], percent: int) -> Result:
    own, theirs = (percentile(each, percent) * 1000 for each in (ours, bare))
    against = f"bare handshakes ({theirs:.3g} ms)"
    return Result(f"p{percent}, {name}", own, "ms", against, theirs / own, None, None)


def percentile(found: list[Round], percent: int) -> float:
    """Seconds within which so many of a hundred requests, of all rounds, were answered."""
    latencies = sorted(latency for each in found for latency in each.latencies)
    return latencies[min(len(latencies) * percent // 100, len(latencies) - 1)]


def _scaling(at_a_time: int, requests: int, found: dict[str, list[Round]]) -> Iterator[Result]:
    """Two workers beside one, on cores that the clients want, too; and beside what these allow."""
    times = seconds_of(found)
    name = f"releases, {at_a_time} at a time, 2 workers"
    unit = "releases/s"
    yield compared(name, times, "2 workers", "1 worker", work=requests, unit=unit, goal=None)
    limit = f"{CORES} cores over processor time of both ends"
    times[limit] = [_both_ends(each) * requests / CORES for each in found["2 workers"]]
    yield compared(name, times, "2 workers", limit, work=requests, unit=unit, goal=None)


def _verify(site: Site, clients: Clients) -> Round:
    """What a release verifies, with nothing around it: a process with one thread for each core."""
    parts = clients.everywhere(_verify_alone, site, VERIFICATIONS // CORES, processes=CORES)
    seconds = max(ended for _, ended in parts) - min(began for began, _ in parts)
    return Round([], seconds, 0.0, 0.0)


def _verify_alone(site: Site, count: int) -> tuple[float, float]:
    """When it began and ended, by the system's monotonic clock."""
    world = World.load(site.folder / "lab")
    root, now = load_trust_root(world.root_ca_pem), datetime.now(UTC)
    collateral = verify_collateral(world.collateral(), root, now)
    policy = _policy(site)
    certificates = [
        x509.load_pem_x509_certificate(enclave.read_bytes()).public_bytes(Encoding.DER)
        for enclave in site.enclaves
    ]
    began = time.monotonic()
    for turn in range(count):
        evidence = evidence_of_peer(certificates[turn % len(certificates)])
        claims = verify_quote(evidence.quote, collateral, now)
        check_binding(evidence, claims.report_data)
        if appraise(claims, policy, asked_for="localhost", now=now).grant is None:
            raise RuntimeError("the policy grants nothing")
    return began, time.monotonic()


def _policy(site: Site) -> Policy:
    store = open_store(load_config(site.folder / "two-workers.toml"))
    try:
        return store.refresh().policy
    finally:
        store.close()
