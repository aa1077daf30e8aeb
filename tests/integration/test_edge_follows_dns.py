"""A real nginx as the edge of a cluster: replicas come and go in DNS, and it follows by itself."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import cache
from pathlib import Path

import pytest

from sealserve.deploy.nginx import Edge, Route, find_nginx, render
from sealserve.hosts import Address

NAME = "digits-pods.digits.svc.cluster.local"
DOMAIN = "models.example.com"
SECONDS = 20.0  # for what takes a second


class Dns:
    """Answers every question for an address of IPv4 with `addresses`, as a headless Service's."""

    def __init__(self) -> None:
        self.addresses: list[str] = []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self.socket.getsockname()[1])

    def _serve(self) -> None:
        while True:
            try:
                question, peer = self.socket.recvfrom(512)
            except OSError:
                return  # closed
            self.socket.sendto(self._answer(question), peer)

    def _answer(self, question: bytes) -> bytes:
        """RFC 1035, section 4.1; the question has no more than a name, a type and a class."""
        wanted = self.addresses if question[-4:-2] == b"\x00\x01" else []
        header = question[:2] + b"\x84\x00\x00\x01" + len(wanted).to_bytes(2, "big") + bytes(4)
        record = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x1e\x00\x04"  # kept for 30 seconds
        answers = b"".join(record + socket.inet_aton(each) for each in wanted)
        return header + question[12:] + answers


class Replica:
    """Reads a ClientHello and answers with its own address, in place of a ServerHello."""

    def __init__(self, address: str, port: int) -> None:
        self.address = address
        self.server = socket.create_server((address, port))
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self.server.getsockname()[1])

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return  # closed
            with connection:
                connection.recv(4096)
                connection.sendall(self.address.encode())

    def close(self) -> None:
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()


@cache
def hello(name: str) -> bytes:
    """A ClientHello that asks for `name`."""
    sent = ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=name).do_handshake()
    return sent.read()


@pytest.fixture
def dns() -> Iterator[Dns]:
    found = Dns()
    with closing(found.socket):
        yield found


@pytest.fixture
def replicas() -> Iterator[list[Replica]]:
    first = Replica("127.0.0.2", 0)
    found = [first, Replica("127.0.0.3", first.port)]
    yield found
    for each in found:
        if each.server.fileno() >= 0:
            each.close()


@pytest.fixture
def edge(tmp_path: Path, dns: Dns, replicas: list[Replica]) -> Iterator[int]:
    """The port of nginx, which is told another port of the DNS server than is ever rendered."""
    nginx = find_nginx()
    if nginx is None or nginx.stream == "missing":
        pytest.skip("no nginx with a stream module is installed")
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = int(free.getsockname()[1])
    routes = (Route(DOMAIN, (Address(NAME, replicas[0].port),)),)
    made = Edge(Address("127.0.0.1", port), routes, resolver="127.0.0.1")
    text = render(made, module=nginx.module)
    assert "resolver 127.0.0.1 valid=1s;" in text
    text = text.replace("resolver 127.0.0.1 valid", f"resolver 127.0.0.1:{dns.port} valid")
    (tmp_path / "nginx.conf").write_text(text)
    process = subprocess.Popen(nginx.command(tmp_path), stderr=subprocess.DEVNULL)
    try:
        until(lambda: asked(port, DOMAIN) is not None)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def asked(port: int, name: str) -> str | None:
    """Which replica answers; an empty text where the edge closes; None where nobody listens."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as connection:
            connection.sendall(hello(name))
            return connection.recv(64).decode()
    except ConnectionRefusedError:
        return None
    except ConnectionResetError:
        return ""


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_new_replicas_get_connections_and_old_ones_none(
    edge: int, dns: Dns, replicas: list[Replica]
) -> None:
    assert asked(edge, DOMAIN) == ""  # no replica yet
    dns.addresses = ["127.0.0.2"]
    until(lambda: asked(edge, DOMAIN) == "127.0.0.2")
    dns.addresses = ["127.0.0.2", "127.0.0.3"]
    until(lambda: asked(edge, DOMAIN) == "127.0.0.3")
    assert {asked(edge, DOMAIN) for _ in range(40)} == {"127.0.0.2", "127.0.0.3"}
    dns.addresses = ["127.0.0.3"]
    until(lambda: {asked(edge, DOMAIN) for _ in range(10)} == {"127.0.0.3"})


def test_a_replica_that_refuses_is_passed_over(
    edge: int, dns: Dns, replicas: list[Replica]
) -> None:
    dns.addresses = ["127.0.0.2", "127.0.0.3"]
    until(lambda: asked(edge, DOMAIN) == "127.0.0.2")
    replicas[0].close()
    assert {asked(edge, DOMAIN) for _ in range(20)} == {"127.0.0.3"}


def test_a_name_that_is_not_the_services_leads_nowhere(edge: int, dns: Dns) -> None:
    dns.addresses = ["127.0.0.2"]
    until(lambda: asked(edge, DOMAIN) == "127.0.0.2")
    assert asked(edge, "other.example.com") == ""
