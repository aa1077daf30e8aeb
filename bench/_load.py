"""Load on a key service or its bare peer, from client processes that cost as little as they can.

Each enclave's TLS context is made once; a request is a new connection, the full handshake with the
enclave's certificate, a request of bytes made before, and every byte of the answer. The client is
the standard library's `ssl` in threads, whose handshake is one call into C; it verifies the
server's chain. Of the answer it looks whether the secret is in it, and parses nothing.

Clients are on the same machine and take a share of its processors: `Round` says how much.
"""

from __future__ import annotations

import base64
import itertools
import multiprocessing
import os
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from bench._process import Server
from bench._site import SECRET, Site
from sealserve.attester.messages import ALPN, encode_request
from sealserve.attester.protocol import REQUEST

PROCESSES = 2
SECRET_BASE64 = base64.b64encode(SECRET)
PIECE = 64 << 10  # bytes
SETTLE = 1.0  # seconds until a server has done with what it was sent
SECONDS = 60.0  # of one request at most
TICKS = os.sysconf("SC_CLK_TCK")

T = TypeVar("T")

_SPAWN = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Target:
    """Whom to ask, and for what."""

    site: Site
    servers: tuple[Server, ...]
    """Asked in turn; those that share a port are asked as the kernel spreads connections."""
    named: tuple[str, ...] = ()
    """Secrets to ask for, any one a session, in sealserve/1; none: Gramine's protocol."""


@dataclass(frozen=True)
class Round:
    """So many requests, and what they took."""

    latencies: list[float]
    """Seconds of each, from before the connection to the end of the answer."""
    seconds: float
    client_seconds: float
    """Of processors, by all client processes."""
    server_seconds: float
    """Of processors, by the servers and their workers."""

    @property
    def rate(self) -> float:
        """Requests per second."""
        return len(self.latencies) / self.seconds

    @property
    def server_cost(self) -> float:
        """Processor seconds of the server for one request."""
        return self.server_seconds / len(self.latencies)

    @property
    def client_cost(self) -> float:
        """Processor seconds of the clients for one request."""
        return self.client_seconds / len(self.latencies)


class Clients:
    """Processes that ask; the same ones each time."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    def ask(self, target: Target, *, requests: int, at_a_time: int) -> Round:
        """`requests` in all, `at_a_time` of them under way."""
        processes = min(PROCESSES, at_a_time)
        before = _server_seconds(target)
        share = (target, requests // processes, at_a_time // processes)
        parts = self.everywhere(_ask, *share, processes=processes)
        server = _server_seconds(target) - before
        seconds = max(part.ended for part in parts) - min(part.began for part in parts)
        latencies = list(itertools.chain.from_iterable(part.latencies for part in parts))
        return Round(latencies, seconds, sum(part.processor for part in parts), server)

    def everywhere(
        self, function: Callable[..., T], *arguments: object, processes: int = PROCESSES
    ) -> list[T]:
        """The results of a function that runs for a while, in each process at the same time."""
        shares = [self._pool.submit(function, *arguments) for _ in range(processes)]
        return [share.result() for share in shares]

    def idle(self, target: Target, count: int, *, greeted: bool) -> float:
        """MiB that `count` connections cost the server while they say nothing.

        `greeted`: after the TLS handshake; otherwise they have not said a word.
        """
        (server,) = target.servers
        before = proportional_memory(server.pid)
        (held,) = self.everywhere(_hold, target, count, greeted, server.pid, processes=1)
        return held - before


def rounds(subjects: Mapping[str, Callable[[], Round]], count: int) -> dict[str, list[Round]]:
    """So many rounds of each subject; all take turns, after one round that does not count."""
    found: dict[str, list[Round]] = {name: [] for name in subjects}
    for turn in range(count + 1):
        for name, subject in subjects.items():
            done = subject()
            if turn:
                found[name].append(done)
    return found


def seconds_of(found: Mapping[str, list[Round]]) -> dict[str, list[float]]:
    """The times of rounds, as `bench.measure.compared` takes them."""
    return {name: [each.seconds for each in done] for name, done in found.items()}


@contextmanager
def clients() -> Iterator[Clients]:
    """Client processes, ended with the block."""
    with ProcessPoolExecutor(PROCESSES, mp_context=_SPAWN) as pool:
        yield Clients(pool)


def processes_of(pid: int) -> list[int]:
    """A process and its children."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [pid, *map(int, found.split())]


def processor_seconds(pid: int) -> float:
    """What a process and its children have taken so far, in user and kernel mode."""
    total = 0
    for each in processes_of(pid):
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def proportional_memory(pid: int) -> float:
    """MiB of a process and its children, what they share counted once (PSS, proc(5))."""
    total = 0
    for each in processes_of(pid):
        text = Path(f"/proc/{each}/smaps_rollup").read_text()
        total += int(text.partition("\nPss:")[2].split()[0])
    return total / 1024


@dataclass(frozen=True)
class _Part:
    """One process's share of a round; times are of the system's monotonic clock."""

    began: float
    ended: float
    processor: float
    latencies: list[float]


def _server_seconds(target: Target) -> float:
    return sum(processor_seconds(server.pid) for server in target.servers)


def _ask(target: Target, requests: int, at_a_time: int) -> _Part:
    contexts = _contexts(target.site, bool(target.named))
    messages = [encode_request([name]) for name in target.named] or [REQUEST]
    ports = list(dict.fromkeys(server.port for server in target.servers))
    turns = itertools.count()
    latencies: list[float] = []
    failures: list[BaseException] = []

    def work() -> None:
        try:
            while (turn := next(turns)) < requests and not failures:
                context = contexts[turn % len(contexts)]
                began = time.monotonic()
                message = random.choice(messages)
                answer = _request(ports[turn % len(ports)], context, message)
                latencies.append(time.monotonic() - began)
                if SECRET not in answer and SECRET_BASE64 not in answer:
                    raise RuntimeError(f"an answer of {len(answer)} bytes without the secret")
        except BaseException as error:  # noqa: BLE001  # raised below
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(at_a_time)]
    began, processor = time.monotonic(), time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return _Part(began, time.monotonic(), time.process_time() - processor, latencies)


def _hold(target: Target, count: int, greeted: bool, pid: int) -> float:
    """The server's memory while so many connections are open."""
    contexts = _contexts(target.site, bool(target.named))
    port = target.servers[0].port
    with ExitStack() as stack:
        for number in range(count):
            stream = stack.enter_context(socket.create_connection(("127.0.0.1", port), SECONDS))
            if greeted:
                context = contexts[number % len(contexts)]
                stack.enter_context(context.wrap_socket(stream, server_hostname="localhost"))
        time.sleep(SETTLE)
        return proportional_memory(pid)


def _request(port: int, context: ssl.SSLContext, message: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), SECONDS) as stream:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with context.wrap_socket(stream, server_hostname="localhost") as session:
            session.sendall(message)
            pieces = []
            while piece := session.recv(PIECE):
                pieces.append(piece)
    return b"".join(pieces)


@lru_cache(maxsize=4)
def _contexts(site: Site, named: bool) -> Sequence[ssl.SSLContext]:
    return [_context(site, enclave, named) for enclave in site.enclaves]


def _context(site: Site, enclave: Path, named: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(site.ca_file)
    context.load_cert_chain(enclave)
    if named:
        context.set_alpn_protocols([ALPN.decode()])
    return context
