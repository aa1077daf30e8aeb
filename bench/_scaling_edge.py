"""What nginx, as the edge is rendered, takes for a connection that waits.

Each is a client's, TLS's first message sent, passed through to a server that says nothing: two
sockets and nginx's buffers. Memory is the proportional set size of nginx's processes; what the
kernel keeps for sockets is in nobody's, and not counted.
"""

from __future__ import annotations

import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from socket import create_connection, create_server, socket

from bench._load import proportional_memory
from bench._process import ended_with_the_block
from bench.measure import Result
from sealserve.deploy.nginx import Edge, Nginx, Route, find_nginx, write_config
from sealserve.hosts import Address
from sealserve.lab.simulation.parameters import Parameters
from sealserve.ports import free_port

CONNECTIONS = 400  # each is four descriptors of this process and of nginx
WAIT_SECONDS = 10.0
SETTLE = 0.5  # seconds
NAME = "grpc.example.com"


def measure(folder: Path, measured: dict[str, float]) -> Iterator[Result]:
    """Memory of a connection; nothing, after a line that says so, where there is no nginx."""
    nginx = find_nginx()
    if nginx is None or nginx.stream == "missing":
        print("nginx with its stream module is not installed: no row of it", file=sys.stderr)
        return
    with ExitStack() as stack:
        server = stack.enter_context(create_server(("127.0.0.1", 0), backlog=CONNECTIONS))
        port, pid = stack.enter_context(_edge(nginx, folder / "edge", server.getsockname()[1]))
        _connect(stack, server, port, 10)
        before = proportional_memory(pid)
        _connect(stack, server, port, CONNECTIONS)
        time.sleep(SETTLE)
        grown = (proportional_memory(pid) - before) * (1 << 20) / CONNECTIONS
    measured["edge_connection_bytes"] = round(grown)
    limit = Parameters().edge_memory_bytes
    yield Result(
        f"the edge: memory of a connection, of {CONNECTIONS}",
        grown,
        "bytes",
        f"its limit of {limit >> 20} MiB has room for {limit / grown:,.0f}",
        None,
        None,
        None,
    )


@contextmanager
def _edge(nginx: Nginx, folder: Path, server: int) -> Iterator[tuple[int, int]]:
    """Port and process of nginx before a server."""
    port = free_port()
    route = Route(NAME, (Address("127.0.0.1", server),))
    edge = Edge(Address("127.0.0.1", port), (route,), connections=4096, workers=2)
    folder.mkdir()
    write_config(folder, edge, nginx)
    process = subprocess.Popen(nginx.command(folder), stderr=subprocess.DEVNULL)
    with ended_with_the_block(process):
        end = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                create_connection(("127.0.0.1", port), WAIT_SECONDS).close()
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
            else:
                break
        yield port, process.pid


def _connect(stack: ExitStack, server: socket, port: int, count: int) -> None:
    """So many connections, each accepted by the server before the next."""
    hello = _hello()
    server.settimeout(WAIT_SECONDS)
    for _ in range(count):
        client = stack.enter_context(create_connection(("127.0.0.1", port), WAIT_SECONDS))
        client.sendall(hello)
        accepted, _ = server.accept()
        stack.enter_context(accepted)
        accepted.settimeout(WAIT_SECONDS)
        accepted.recv(len(hello))


def _hello() -> bytes:
    """TLS's first message with the server's name."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    with suppress(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname=NAME).do_handshake()
    return outgoing.read()
