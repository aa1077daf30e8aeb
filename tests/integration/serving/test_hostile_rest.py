"""REST clients that hold on to what they should let go, and that go away."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

PATIENCE = 20
PATH = "/v1/models/scale:predict"
BODY = b'{"inputs": [[1, 2]]}'
REQUEST = (
    f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(BODY)}\r\n\r\n".encode()
    + BODY
)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def small(start: Any, publish: Any, tmp_path: Path) -> Iterator[Any]:
    """A server with two places."""
    publish(tmp_path / "scale", 3)
    running = start(tmp_path / "scale", max_concurrent_requests=2)
    yield running
    running.stop()


@pytest.fixture
def connect(tmp_path: Path) -> Iterator[Callable[..., ssl.SSLSocket]]:
    """Bare TLS connections to a server's REST port."""
    opened: list[socket.socket] = []

    def open_one(server: Any, *, receive_buffer: int | None = None) -> ssl.SSLSocket:
        context = ssl.create_default_context(
            cadata=server.world.authority.certificate_pem.decode("ascii")
        )
        both = tmp_path / "client.pem"
        both.write_bytes(server.world.client.key_pem + server.world.client.certificate_pem)
        context.load_cert_chain(both)
        stream = socket.socket()
        stream.settimeout(PATIENCE)
        if receive_buffer is not None:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        stream.connect((server.listening.rest.host, server.listening.rest.port))
        session = context.wrap_socket(stream, server_hostname="localhost")
        opened.append(session)
        return session

    yield open_one
    for session in opened:
        session.close()


def test_a_request_whose_client_went_away_gives_up_its_place(
    small: Any, connect: Any, tmp_path: Path
) -> None:
    small.engine.gate.clear()
    for _ in range(3):
        sessions = [connect(small) for _ in range(2)]
        for session in sessions:
            session.sendall(REQUEST)
        until(lambda: _is_refused(small, tmp_path))
        for session in sessions:
            session.close()
        until(lambda: not _is_refused(small, tmp_path))
    small.engine.gate.set()
    with small.http(tmp_path, small.world.client) as http:
        assert http.post(PATH, content=BODY).json()["outputs"]["sum"] == [9.0]
    assert len(small.engine.seen) == 2  # the first, and this one: the others never reached it


def _is_refused(server: Any, folder: Path) -> bool:
    with server.http(folder, server.world.client) as http:
        return http.get("/v1/models/scale").status_code == 429


@pytest.mark.parametrize("requests", [0, 1], ids=["silent", "idle"])
def test_the_end_does_not_wait_for_clients_that_only_hold_a_connection(
    requests: int, start: Any, publish: Any, connect: Any, tmp_path: Path
) -> None:
    publish(tmp_path / "scale", 3)
    running = start(tmp_path / "scale", shutdown_timeout_seconds=600)
    session = connect(running)
    for _ in range(requests):
        session.sendall(REQUEST)
        assert session.recv(1 << 16).startswith(b"HTTP/1.1 200")
    running.stop()  # which fails if it takes longer than 30 seconds


def test_a_client_that_does_not_take_its_answers_is_cut_off(
    small: Any, connect: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sealserve.http_server.STALLED_SECONDS", 0.5)
    rows = b'{"inputs": [' + b"[0.1234567, 0.7654321]," * 200_000 + b"[1, 2]]}"
    session = connect(small, receive_buffer=4096)
    head = f"POST {PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(rows)}\r\n\r\n".encode()
    session.sendall(head + rows)
    with pytest.raises(OSError, match=r"reset|EOF|Broken pipe|timed out"):
        while True:
            session.sendall(b"\r\n")
            time.sleep(0.01)
    with small.http(tmp_path, small.world.client) as http:
        assert http.post(PATH, content=BODY).json()["outputs"]["sum"] == [9.0]


def test_a_client_that_takes_a_large_answer_slowly_gets_all_of_it(
    small: Any, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sealserve.http_server.HEAD_SECONDS", 0.5)
    monkeypatch.setattr("sealserve.http_server.STALLED_SECONDS", 5)
    rows = b'{"inputs": [' + b"[0.1234567, 0.7654321]," * 100_000 + b"[1, 2]]}"
    session = connect(small, receive_buffer=65536)
    head = f"POST {PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(rows)}\r\n\r\n".encode()
    session.sendall(head + rows)
    received = session.recv(65536)
    wanted = int(received.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    wanted += received.index(b"\r\n\r\n") + 4
    while len(received) < wanted:
        time.sleep(0.02)
        piece = session.recv(65536)
        assert piece
        received += piece
    assert received.endswith(b"}")


@pytest.mark.parametrize("start_with", [b"", b"POST /v1", REQUEST[:-5]], ids=["", "head", "body"])
def test_clients_that_send_slowly_take_no_place_from_others(
    start_with: bytes, small: Any, connect: Any, tmp_path: Path
) -> None:
    sessions = [connect(small) for _ in range(20)]
    for session in sessions:
        session.sendall(start_with)
    with small.http(tmp_path, small.world.client) as http:
        statuses = {http.get("/v2/health/live").status_code for _ in range(5)}
    assert statuses == {200}
    for session in sessions:
        session.close()
    until(lambda: not _is_refused(small, tmp_path))


def test_nothing_is_answered_to_whoever_shows_no_certificate(server: Any, tmp_path: Path) -> None:
    for path in ("/v1/models/scale", "/v2/health/live", "/v2", "/openapi.json", "/metrics", PATH):
        with server.http(tmp_path) as http, pytest.raises(httpx.TransportError):
            http.get(path)
