"""The HTTP connections of a load, on servers that answer as they like."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from sealserve.client.load import Shot
from sealserve.client.load.http_sender import HttpSender
from sealserve.client.service import find_service

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
SHOT = Shot("http", "/v1/models/m:predict", b'{"inputs": 1}', "application/json")


class Server:
    """Answers each request with the next of `answers`; None ends the connection instead."""

    def __init__(self, *answers: bytes | None, then_close: bool = False) -> None:
        self.answers = list(answers)
        self.then_close = then_close
        self.requests: list[bytes] = []
        self.connections: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.requests.append(head + await reader.readexactly(len(SHOT.body)))
                answer = self.answers.pop(0)
                if answer is None:
                    break
                writer.write(answer)
                await writer.drain()
                if self.then_close:
                    break
        writer.close()

    @asynccontextmanager
    async def sender(self, connections: int, timeout: float) -> AsyncIterator[HttpSender]:
        """A sender of requests to this server, while it runs."""
        listening = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        service = find_service(f"127.0.0.1:{port}", dangerously_plaintext=True)
        sender = HttpSender(service, SHOT, connections=connections, index=0, timeout=timeout)
        try:
            yield sender
        finally:
            await sender.close()
            listening.close()
            for writer in self.connections:
                writer.close()
                with suppress(ConnectionError):
                    await writer.wait_closed()


def send(server: Server, times: int = 1, *, timeout: float = 20.0) -> list[str | None]:
    """What a sender of one connection gives, one request after the other."""

    async def run() -> list[str | None]:
        found = []
        async with server.sender(1, timeout) as sender:
            for _ in range(times):
                found.append(await sender.send())
                await asyncio.sleep(0.01)  # for the end of a connection to arrive
        return found

    return asyncio.run(run())


def test_requests_follow_each_other_on_one_connection() -> None:
    server = Server(OK, OK, OK)
    assert send(server, 3) == [None, None, None]
    assert len(server.connections) == 1
    assert all(request.startswith(b"POST /v1/models/m:predict") for request in server.requests)
    assert all(request.endswith(SHOT.body) for request in server.requests)


def test_answers_in_chunks_are_read_to_their_end() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    server = Server(chunked, OK)
    assert send(server, 2) == [None, None]
    assert len(server.connections) == 1


def test_a_connection_that_ended_between_two_requests_is_opened_again() -> None:
    server = Server(OK, OK, then_close=True)
    assert send(server, 2) == [None, None]
    assert len(server.connections) == 2


@pytest.mark.parametrize(
    "closing",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    ],
)
def test_a_server_that_says_that_it_will_close_is_taken_at_its_word(closing: bytes) -> None:
    server = Server(closing, OK)
    assert send(server, 2) == [None, None]
    assert len(server.connections) == 2


def test_a_connection_that_ends_instead_of_an_answer_is_an_error_and_is_not_tried_twice() -> None:
    server = Server(None)
    assert send(server) == ["network"]
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"HTTP/1.1 400 X\r\nContent-Length: 0\r\n\r\n", "serving.invalid-argument"),
        (b"HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n", "serving.not-found"),
        (b"HTTP/1.1 429 X\r\nContent-Length: 0\r\n\r\n", "serving.resource-exhausted"),
        (b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n", "serving.unavailable"),
        (b"HTTP/1.1 504 X\r\nContent-Length: 0\r\n\r\n", "serving.deadline-exceeded"),
        (b"HTTP/1.1 418 X\r\nContent-Length: 0\r\n\r\n", "http.418"),
        (b"HTTP/1.1 301 X\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", "http.301"),
        (b"hello\r\n\r\n", "format"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "format"),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 10_000, "format"),
    ],
)
def test_each_answer_that_is_none_has_its_code(answer: bytes, code: str) -> None:
    assert send(Server(answer)) == [code]


def test_half_an_answer_is_none() -> None:
    server = Server(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{}", then_close=True)
    assert send(server) == ["format"]


def test_an_answer_that_does_not_come_meets_the_deadline_and_the_next_request_is_well() -> None:
    server = Server(b"HTTP/1.1 200 OK\r\n", OK)
    assert send(server, 2, timeout=0.3) == ["serving.deadline-exceeded", None]
    assert len(server.connections) == 2


def test_requests_beyond_the_connections_wait_for_one() -> None:
    server = Server(*[OK] * 8)

    async def run() -> list[str | None]:
        async with server.sender(2, 20.0) as sender:
            return list(await asyncio.gather(*(sender.send() for _ in range(8))))

    assert asyncio.run(run()) == [None] * 8
    assert len(server.connections) == 2
