"""Load on a server of whatever kind: the same request again and again, over gRPC or HTTP.

Closed loop: each connection sends its share of the requests one after the other. All subjects of a
comparison have the same client, which makes its request once and reads no answer, so that what it
costs is the same for all. Functions here run in a client's process (`bench._process.client`).
"""

from __future__ import annotations

import functools
import http.client
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import grpc

from sealserve.client import Client

SECONDS = 120.0  # for one answer
LARGEST = 256 << 20  # bytes of a message


class Connection(Protocol):
    """One connection, which has one request under way at a time."""

    def send(self, body: bytes) -> bytes:
        """The answer's bytes; raises for whatever is no success."""


@dataclass(frozen=True)
class Predict:
    """Ours over gRPC; without the TLS folder of `bench._serving_site`, plaintext."""

    port: int
    tls: Path | None = None

    def connect(self) -> Connection:
        target, limits = f"localhost:{self.port}", {"max_message_bytes": LARGEST}
        if self.tls is None:
            return _Predicting(
                Client(target, timeout=SECONDS, dangerously_plaintext=True, **limits)
            )
        return _Predicting(
            Client(
                target,
                ca=self.tls / "ca_cert.pem",
                certificate=self.tls / "client/cert.pem",
                private_key=self.tls / "client/key.pem",
                timeout=SECONDS,
                **limits,
            )
        )


@dataclass(frozen=True)
class Grpc:
    """A unary method of somebody else's server, in plaintext."""

    port: int
    path: str

    def connect(self) -> Connection:
        options = [
            ("grpc.max_send_message_length", LARGEST),
            ("grpc.max_receive_message_length", LARGEST),
            ("grpc.use_local_subchannel_pool", 1),
        ]
        channel = grpc.insecure_channel(f"127.0.0.1:{self.port}", options)
        return _Calling(channel, channel.unary_unary(self.path))


@dataclass(frozen=True)
class Http:
    """A path that takes POST; without a TLS folder, plaintext."""

    port: int
    path: str
    content_type: str = "application/json"
    tls: Path | None = None

    def connect(self) -> Connection:
        return _Posting(self, self._connection())

    def _connection(self) -> http.client.HTTPConnection:
        if self.tls is None:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        context = ssl.create_default_context(cafile=str(self.tls / "ca_cert.pem"))
        context.load_cert_chain(self.tls / "client/cert.pem", self.tls / "client/key.pem")
        return http.client.HTTPSConnection("localhost", self.port, timeout=SECONDS, context=context)


Target = Predict | Grpc | Http


@dataclass(frozen=True)
class _Predicting:
    client: Client

    def send(self, body: bytes) -> bytes:
        return self.client.predict_bytes(body)


@dataclass(frozen=True)
class _Calling:
    channel: Any = field(repr=False)  # which ends when nobody holds it
    method: Any = field(repr=False)

    def send(self, body: bytes) -> bytes:
        answer: bytes = self.method(body, timeout=SECONDS)
        return answer


@dataclass(frozen=True)
class _Posting:
    target: Http
    connection: http.client.HTTPConnection

    def send(self, body: bytes) -> bytes:
        try:
            return self._send(body)
        except (ConnectionError, http.client.HTTPException):
            self.connection.close()  # it was idle between two rounds, and ended by the server
            return self._send(body)

    def _send(self, body: bytes) -> bytes:
        headers = {"Content-Type": self.target.content_type}
        self.connection.request("POST", self.target.path, body, headers)
        response = self.connection.getresponse()
        answer = response.read()
        if response.status != http.client.OK:
            raise RuntimeError(f"{self.target}: {response.status} {answer[:300]!r}")
        return answer


def ask(target: Target, body: Path) -> bytes:
    """One answer."""
    return _connections(target, 1)[0].send(_body(body))


def load(target: Target, body: Path, connections: int, requests: int) -> float:
    """Seconds that so many requests take, over connections that stay from one call to the next."""
    data, share = _body(body), requests // connections

    def send(connection: Connection) -> None:
        for _ in range(share):
            connection.send(data)

    open_connections = _connections(target, connections)
    start = time.perf_counter()
    with ThreadPoolExecutor(connections) as pool:
        list(pool.map(send, open_connections))
    return time.perf_counter() - start


def latencies(target: Target, body: Path, requests: int) -> list[float]:
    """Seconds of each of so many requests, one at a time."""
    (connection,), data, taken = _connections(target, 1), _body(body), []
    for _ in range(requests):
        start = time.perf_counter()
        connection.send(data)
        taken.append(time.perf_counter() - start)
    return taken


def processor_seconds() -> float:
    """What this client's process has taken so far."""
    return time.process_time()


@functools.cache
def _body(path: Path) -> bytes:
    return path.read_bytes()


@functools.cache
def _connections(target: Target, count: int) -> list[Connection]:
    return [target.connect() for _ in range(count)]
