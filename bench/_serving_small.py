"""Small requests: 64 numbers to a model that adds them to themselves.

What is measured is the way of a request through a server. The bare echo is `grpc.aio` with the same
mutual TLS, which looks at no request and answers each with the bytes that ours answered to it, in
asyncio's own event loop, as most people run it, and in uvloop's; ours runs in the latter. The peers
serve the same model through the same engine in plaintext. Clients are the same for all and take
their share of the cores, so processor time of the server, in which they have no part, stands beside
the rates.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from bench._echo import serve_echo
from bench._process import client, peer
from bench._serving_load import Predict, Target, ask, load
from bench._serving_peers import Work, best_ways, litserve_ways, missing, mlserver_ways
from bench._serving_site import (
    INPUT,
    TWICE,
    Site,
    family,
    family_seconds,
    not_measured,
    small_input,
)
from bench.measure import Result, compared, interleave

CONNECTIONS = 8
REQUESTS = 1600  # of one round
TRIED = 400
ROUNDS = 5
OURS, TWO, PLAINTEXT = "ours", "ours, 2 processes", "ours in plaintext"
REST, REST_PLAINTEXT = "ours, REST", "ours, REST in plaintext"
ECHO, UVLOOP = "bare grpc.aio echo", "bare grpc.aio echo on uvloop"
MLSERVER, MLSERVER_REST, LITSERVE = "MLServer", "MLServer, REST", "LitServe"
ECHO_GOAL, PEER_GOAL = 0.8, 1.5

Call = Callable[..., Any]


@dataclass
class _Measured:
    """What takes turns; the processor time of each, by round; ways of peers, or why none."""

    subjects: dict[str, Callable[[], object]] = field(default_factory=dict)
    processor: dict[str, list[float]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, pid: int, run: Callable[[], object]) -> None:
        """`run` is a round of requests to the server that is process `pid`, with all below it."""
        taken = self.processor.setdefault(name, [])

        def subject() -> None:
            before = family_seconds(pid)
            run()
            taken.append(family_seconds(pid) - before)

        self.subjects[name] = subject


def measure(site: Site) -> Iterator[Result]:
    """All of it."""
    with ExitStack() as stack:
        measured = _measured(site, stack)
        times = interleave(measured.subjects, rounds=ROUNDS)
    processor = {name: taken[1:] for name, taken in measured.processor.items()}
    yield from _lines(times, processor, measured.notes)


def _lines(
    times: Mapping[str, list[float]],
    processor: Mapping[str, list[float]],
    notes: Mapping[str, str],
) -> Iterator[Result]:
    def beside(ours: str, theirs: str, goal: float | None) -> Result:
        name = f"64 numbers, {ours}, {CONNECTIONS} at a time"
        absent = [subject for subject in (ours, theirs) if subject not in times]
        if absent:
            return not_measured(f"{name}, beside {theirs}", notes[absent[0]])
        label = f"{theirs}: {notes[theirs]}" if theirs in notes else theirs
        known = {**times, label: times[theirs]}
        return compared(name, known, ours, label, work=REQUESTS, unit="requests/s", goal=goal)

    def cost(ours: str, theirs: str) -> Result:
        name = f"64 numbers, {ours}: processor time of the server"
        absent = [subject for subject in (ours, theirs) if subject not in times]
        if absent:
            return not_measured(f"{name}, beside {theirs}", notes[absent[0]])
        unit = "requests/CPU-s"
        return compared(name, processor, ours, theirs, work=REQUESTS, unit=unit, goal=None)

    yield beside(OURS, ECHO, ECHO_GOAL)
    yield beside(OURS, UVLOOP, None)
    yield cost(OURS, ECHO)
    yield cost(OURS, UVLOOP)
    yield beside(OURS, MLSERVER, PEER_GOAL)
    yield cost(OURS, MLSERVER)
    yield beside(TWO, ECHO, None)
    yield beside(TWO, OURS, None)
    yield beside(REST, MLSERVER_REST, PEER_GOAL)
    yield beside(REST, LITSERVE, None)
    yield cost(REST, MLSERVER_REST)
    yield beside(OURS, PLAINTEXT, None)
    yield cost(OURS, PLAINTEXT)
    yield beside(REST, REST_PLAINTEXT, None)


def _measured(site: Site, stack: ExitStack) -> _Measured:
    measured, ask_by = _Measured(), stack.enter_context(client())
    body, rest_body = site.body(TWICE), site.body("twice-json")
    rest_body.write_bytes(rest_request())

    def add(name: str, pid: int, target: Target, *, rest: bool = False) -> None:
        sent = rest_body if rest else body
        measured.add(name, pid, partial(ask_by, load, target, sent, CONNECTIONS, REQUESTS))

    ours = stack.enter_context(site.serve(TWICE, rest=True))
    plain = stack.enter_context(site.serve(TWICE, tls=False, rest=True))
    assert ours.rest is not None and plain.rest is not None
    add(OURS, ours.pid, ours.grpc)
    add(PLAINTEXT, plain.pid, plain.grpc)
    add(REST, ours.pid, ours.rest, rest=True)
    add(REST_PLAINTEXT, plain.pid, plain.rest, rest=True)
    answer = ask_by(ask, ours.grpc, body)
    for name, loop in ((ECHO, "asyncio"), (UVLOOP, "uvloop")):
        echo = stack.enter_context(peer(serve_echo, site.tls / "ssl.cfg", answer, loop))
        add(name, echo.pid, Predict(echo.port, site.tls))
    _add_two(site, stack, add, measured.notes)
    _add_peers(site, stack, ask_by, measured)
    return measured


def _add_two(site: Site, stack: ExitStack, add: Callable[..., None], notes: dict[str, str]) -> None:
    try:
        two = stack.enter_context(site.serve(TWICE, "--processes=2"))
    except RuntimeError as error:
        notes[TWO] = f"--processes=2 does not start: {str(error)[-200:]}"
        return
    if len(family(two.pid)) < 3:
        notes[TWO] = "--processes=2 starts no processes of its own"
    else:
        add(TWO, two.pid, two.grpc)


def _add_peers(site: Site, stack: ExitStack, ask_by: Call, measured: _Measured) -> None:
    reason = missing()
    if reason is not None:
        measured.notes |= dict.fromkeys((MLSERVER, MLSERVER_REST, LITSERVE), reason)
        return
    work = Work(site, TWICE, small_input())
    for ways, chosen in (
        (mlserver_ways, {MLSERVER: "gRPC", MLSERVER_REST: "REST"}),
        (litserve_ways, {LITSERVE: ""}),
    ):
        best = stack.enter_context(best_ways(ways, work, ask_by, TRIED, list(chosen.values())))
        for name, way in zip(chosen, best, strict=True):
            run = partial(ask_by, load, way.target, way.body, CONNECTIONS, REQUESTS)
            measured.add(name, way.pid, run)
            measured.notes[name] = way.name.partition(", ")[2]


def rest_request() -> bytes:
    """The numbers as a predict request over REST, by columns."""
    return json.dumps({"inputs": {INPUT: small_input().tolist()}}).encode()
