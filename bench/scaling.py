"""What `sealserve lab capacity` and `sealserve lab simulate` are told, measured where it can be.

Without SGX there is no quoting enclave, no EPC and no build page by page: what is measured here is
the key service, its log, the edge, and the lab's quoting enclave, which is **not** Intel's and says
nothing about hardware. Each stands beside a limit of the same run: bare signatures, bare
handshakes, the bytes themselves, one write and fdatasync. Then the simulation itself: how fast it
is beside its bare list of events, and how its key service compares with the real one under the same
load.

The values go to `bench/results/measured.json` too, a file for `--measured`; what is not in it is
assumed, or from another benchmark (`sealserve lab capacity --parameters`).
"""

from __future__ import annotations

import heapq
import json
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from bench import _scaling_edge, _scaling_keys, _scaling_records
from bench._load import clients
from bench._site import ENCLAVE, make_site
from bench.measure import PROJECT, Result, compared, interleave
from sealserve.lab.simulation.parameters import Parameters
from sealserve.lab.simulation.scenario import Scenario, simulate
from sealserve.lab.world import World

QUOTES = 200
ENCLAVES = 10_000
MEASURED = Path(__file__).parent / "results" / "measured.json"

Measured = dict[str, float]


def run() -> Iterator[Result]:
    """All of it, a minute or two on two cores."""
    measured: Measured = {}
    yield _quotes()
    build = PROJECT / "build"
    build.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=build, prefix="scaling-") as name, clients() as asking:
        site = make_site(Path(name))
        yield from _scaling_keys.measure(site, asking, measured)
        yield from _scaling_records.measure(site, measured)
        yield from _scaling_edge.measure(Path(name), measured)
    yield from _simulation()
    MEASURED.parent.mkdir(exist_ok=True)
    MEASURED.write_text(json.dumps(measured, indent=2) + "\n")


def _quotes() -> Result:
    """Each has two signatures, of the attestation key and of the PCK's."""
    world = World.create(now=datetime.now(UTC))
    key, algorithm = ec.generate_private_key(ec.SECP256R1()), ec.ECDSA(hashes.SHA256())

    def quotes() -> None:
        for number in range(QUOTES):
            world.quote(ENCLAVE.report(number.to_bytes(64, "big")))

    def signatures() -> None:
        for _ in range(2 * QUOTES):
            key.sign(bytes(432), algorithm)

    times = interleave({"lab": quotes, "2 bare signatures": signatures}, clock=time.process_time)
    name = "quotes of the lab's quoting enclave, SIMULATED, no hardware"
    unit = "quotes/s"
    return compared(name, times, "lab", "2 bare signatures", work=QUOTES, unit=unit, goal=None)


def _simulation() -> Iterator[Result]:
    """The list of events alone, for as many of them, is the limit."""
    for scenario in (Scenario(ENCLAVES), Scenario(ENCLAVES, name="reattest")):
        count = _events(scenario)
        limit = f"a bare list of {count:,} events"
        times = interleave(
            {
                "ours": partial(simulate, scenario, Parameters()),
                limit: partial(_bare_events, count),
            },
            rounds=3,
            clock=time.process_time,
        )
        own, bare = min(times["ours"]), min(times[limit])
        label = f"simulate {ENCLAVES:,} enclaves, {scenario.name}"
        yield Result(label, own, "s", f"{limit} ({bare:.3g} s)", bare / own, None, None)


def _events(scenario: Scenario) -> int:
    counted = 0

    def count(_seconds: float, _serving: int) -> None:
        nonlocal counted
        counted += 20_000

    simulate(scenario, Parameters(), count)
    return counted


def _bare_events(count: int) -> None:
    events: list[tuple[float, int]] = []
    for number in range(count):
        heapq.heappush(events, (float(number * 7919 % 10_007), number))
    while events:
        heapq.heappop(events)
