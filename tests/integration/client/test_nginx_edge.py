"""Real nginx in front of real gRPC servers."""

from __future__ import annotations

import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sealserve.client import Client
from sealserve.deploy.nginx import Edge, Route, find_nginx, write_config
from sealserve.errors import NetworkError
from sealserve.hosts import Address

NAME = "models.example.com"
ONE = np.ones((1, 4, 4, 1), np.float32)
NGINX = find_nginx()

pytestmark = [
    pytest.mark.skipif(NGINX is None, reason="nginx is not installed"),
    pytest.mark.skipif(
        NGINX is not None and NGINX.stream == "missing",
        reason="this nginx has no stream module with ssl_preread (libnginx-mod-stream)",
    ),
]

StartEdge = Callable[..., str]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(f"nginx ended with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError("nginx does not listen")


@pytest.fixture
def start_edge(tmp_path: Path) -> Iterator[StartEdge]:
    """Run nginx with one route to some ports; returns its address."""
    assert NGINX is not None
    with ExitStack() as stack:

        def start(ports: list[int], *, name: str = NAME, **options: Any) -> str:
            listen = Address("127.0.0.1", _free_port())
            replicas = tuple(Address("127.0.0.1", port) for port in ports)
            edge = Edge(listen, (Route(name, replicas),), **options)
            write_config(tmp_path, edge, NGINX)
            process = subprocess.Popen(NGINX.command(tmp_path), stderr=subprocess.DEVNULL)
            stack.callback(process.wait, 10)
            stack.callback(process.terminate)
            _wait_until_it_listens(process, listen.port)
            return str(listen)

        yield start


def _client(edge: str, world: Any, **changes: Any) -> Client:
    options = {
        "ca": world.authority.certificate_pem,
        "certificate": world.client.certificate_pem,
        "private_key": world.client.key_pem,
        "server_name": NAME,
        "timeout": 20.0,
    }
    return Client(edge, **(options | changes))


@pytest.mark.parametrize("balance", ["least_conn", "round_robin"])
def test_mutual_tls_passes_through_and_connections_spread_over_the_replicas(
    balance: str, world: Any, start_replica: Any, start_edge: StartEdge
) -> None:
    first, second = start_replica(), start_replica()
    edge = start_edge([first.port, second.port], balance=balance)
    with ExitStack() as stack:
        for _ in range(4):
            client = stack.enter_context(_client(edge, world))
            assert client.predict("double", {"input": ONE})["predict"].sum() == 32
    assert (len(first.requests), len(second.requests)) == (2, 2)


def test_a_name_without_a_route_is_closed_and_no_replica_hears_of_it(
    world: Any, start_replica: Any, start_edge: StartEdge, tmp_path: Path
) -> None:
    replica = start_replica()
    edge = start_edge([replica.port])
    with (
        _client(edge, world, server_name="localhost") as client,
        pytest.raises(NetworkError) as caught,
    ):
        client.predict("double", {"input": ONE})
    assert caught.value.code == "network.tls.closed"
    assert "no route for localhost" in str(caught.value.hint)
    assert replica.requests == []


@pytest.mark.parametrize(
    "hello",
    [
        pytest.param(None, id="TLS without a name"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="no TLS"),
    ],
)
def test_a_connection_without_a_server_name_is_closed(
    hello: bytes | None, start_replica: Any, start_edge: StartEdge
) -> None:
    host, _, port = start_edge([start_replica().port]).rpartition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection((host, int(port)), 10) as connection:
        if hello is None:
            with pytest.raises(OSError), context.wrap_socket(connection):
                pass
        else:
            connection.sendall(hello)
            assert connection.recv(1) == b""


def test_a_replica_that_is_down_costs_no_request(
    world: Any, start_replica: Any, start_edge: StartEdge
) -> None:
    replica = start_replica()
    edge = start_edge([_free_port(), replica.port], balance="round_robin")
    for _ in range(4):
        with _client(edge, world) as client:
            client.predict("double", {"input": ONE})
    assert len(replica.requests) == 4


def test_a_service_named_like_a_parameter_of_nginx_is_routed_by_that_name(
    world: Any, start_replica: Any, start_edge: StartEdge
) -> None:
    edge = start_edge([start_replica().port], name="default")
    with (
        _client(edge, world, server_name="default") as client,
        pytest.raises(NetworkError) as caught,
    ):
        client.predict("double", {"input": ONE})
    assert caught.value.code == "network.tls.name-mismatch"  # so the replica's certificate was seen


def test_nginx_writes_in_its_folder_and_sees_nothing_of_a_request(
    world: Any, start_replica: Any, start_edge: StartEdge, tmp_path: Path
) -> None:
    edge = start_edge([start_replica().port])
    with _client(edge, world) as client:
        client.predict("double", {"input": ONE})
    deadline = time.monotonic() + 10
    while f"name={NAME}" not in (text := (tmp_path / "access.log").read_text()):
        assert time.monotonic() < deadline, "no line in the access log"
        time.sleep(0.02)
    assert "double" not in text
    assert {"nginx.conf", "nginx.pid", "access.log", "error.log"} <= {
        p.name for p in tmp_path.iterdir()
    }
