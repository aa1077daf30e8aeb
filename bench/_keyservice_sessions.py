"""What sessions cost that wait: memory of the server, by 1,000 connections.

Proportional set size of the process before and while they are open, by a server that has answered
a few requests and nothing else, a fresh one each time: what one that was busy has in its allocator
would hide the cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial

from bench._bare import serve_bare
from bench._keyservice_releases import run_service
from bench._load import Clients, Target
from bench._process import Server, peer
from bench._site import IDLE, SECRET, Site, fill
from bench.measure import Result
from sealserve.keyservice.protocol import encode_answer

SESSIONS = 1000
WARM_UP = 50  # requests

Start = Callable[[], AbstractContextManager[Server]]


def measure(site: Site, clients: Clients) -> Iterator[Result]:
    """After the handshake, and before it; ours beside the bare peer."""
    fill(site, site.configure("idle", limits=IDLE))
    ours = partial(_service, site)
    bare = partial(peer, serve_bare, site, encode_answer(SECRET, "raw"), 0)
    for greeted, when in ((True, "after the handshake"), (False, "that say nothing")):
        own = _memory(site, clients, ours, greeted)
        theirs = _memory(site, clients, bare, greeted)
        name = f"memory for {SESSIONS} sessions {when}"
        against = f"bare handshakes ({theirs:.3g} MiB)"
        yield Result(name, own, "MiB", against, theirs / own, None, None)


@contextmanager
def _service(site: Site) -> Iterator[Server]:
    with ExitStack() as stack:
        yield run_service(stack, site, "idle")


def _memory(site: Site, clients: Clients, start: Start, greeted: bool) -> float:
    with start() as server:
        target = Target(site, (server,))
        clients.ask(target, requests=WARM_UP, at_a_time=2)
        return clients.idle(target, SESSIONS, greeted=greeted)
