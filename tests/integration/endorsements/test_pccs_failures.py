"""The PCCS client against services that are wrong in the ways that we could name."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from sealserve.endorsements.collateral import PART_LIMIT, Collateral
from sealserve.endorsements.pccs import PccsClient, service
from sealserve.errors import CollateralError

Speaking = Callable[[Callable[[socket.socket], None]], str]


def fetch(url: str, *, timeout: float = 20.0) -> Collateral:
    return PccsClient(service(url, timeout=timeout)).collateral(bytes(6), "platform")


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_may_get_better_is_tried_again(server: Any, sgx: Collateral, status: int) -> None:
    server.spoil = lambda path, count, answer: (
        replace(answer, status=status) if count < 3 else answer
    )
    assert fetch(server.url) == sgx
    assert server.paths.count("tcb") == 3


def test_the_pause_that_the_service_asks_for_is_kept(
    server: Any, sgx: Collateral, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", note)
    server.spoil = lambda path, count, answer: (
        replace(answer, status=429, headers={"Retry-After": "7"})
        if (path, count) == ("tcb", 1)
        else answer
    )
    assert fetch(server.url) == sgx
    assert pauses == [7]


@pytest.mark.parametrize(
    "wait", ["86400", "99999999999999999999", "-1", "1e9", "Wed, 21 Oct 2099 07:28:00 GMT", "²"]
)
def test_a_retry_after_beyond_the_deadline_or_none_ends_nothing_but_the_attempts(
    server: Any, wait: str
) -> None:
    server.spoil_only("tcb", lambda answer: replace(answer, status=429, headers=header(wait)))
    with pytest.raises(CollateralError, match="HTTP 429 for the TCB info: it asks for fewer"):
        fetch(server.url)
    assert server.paths.count("tcb") == (1 if wait == "86400" else 4)


def header(wait: str) -> dict[str, str]:
    return {"Retry-After": wait.encode().decode("latin-1")}


def test_a_connection_that_is_dropped_is_tried_again(server: Any, sgx: Collateral) -> None:
    def drop_first(path: str, count: int, answer: Any) -> Any:
        short = {"Content-Length": "9", "Connection": "close"}
        return replace(answer, body=b"", headers=short) if count == 1 else answer

    server.spoil = drop_first
    assert fetch(server.url) == sgx


def test_attempts_come_to_an_end(server: Any) -> None:
    server.spoil = lambda path, count, answer: replace(answer, status=503)
    with pytest.raises(CollateralError, match="HTTP 503"):
        fetch(server.url)
    assert server.paths == ["tcb"] * 4


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (400, "does not take these parameters"),
        (401, "may want a subscription key"),
        (403, "may want a subscription key"),
        (404, "nothing for this platform"),
        (410, "no longer speaks"),
        (204, "HTTP 204"),
        (206, "HTTP 206"),
        (418, "HTTP 418"),
    ],
)
def test_what_will_not_get_better_is_not_tried_again(server: Any, status: int, told: str) -> None:
    server.spoil_only("tcb", lambda answer: replace(answer, status=status, body=b""))
    with pytest.raises(CollateralError, match=told):
        fetch(server.url)
    assert server.paths.count("tcb") == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(server: Any, status: int) -> None:
    server.spoil_only(
        "tcb", lambda answer: replace(answer, status=status, headers={"Location": "/elsewhere"})
    )
    with pytest.raises(CollateralError, match=f"HTTP {status}"):
        fetch(server.url)
    assert server.paths == ["tcb"]


@pytest.mark.parametrize(
    ("path", "change", "told"),
    [
        pytest.param("tcb", lambda a: {"headers": {}}, "no TCB-Info-Issuer-Chain", id="no-chain"),
        pytest.param(
            "qe/identity", lambda a: {"headers": {}}, "with the QE identity", id="no-qe-chain"
        ),
        pytest.param("pckcrl", lambda a: {"headers": {}}, "with the PCK CRL", id="no-crl-chain"),
        pytest.param(
            "tcb",
            lambda a: {"headers": {"TCB-Info-Issuer-Chain": "x" * 40000}},
            "too long",
            id="long-chain",
        ),
        pytest.param("tcb", lambda a: {"body": bytes(PART_LIMIT + 1)}, "exceeds", id="large-body"),
        pytest.param(
            "rootcacrl", lambda a: {"body": bytes(PART_LIMIT + 1)}, "exceeds", id="large-root-crl"
        ),
        pytest.param(
            "tcb",
            lambda a: {"headers": a.headers | {"Content-Encoding": "gzip"}},
            "compressed",
            id="compressed",
        ),
        pytest.param(
            "tcb",
            lambda a: {"headers": a.headers | {"Content-Encoding": "identity, br"}},
            "compressed",
            id="compressed-twice",
        ),
    ],
)
def test_an_answer_that_is_wrong_is_no_collateral(
    server: Any, path: str, change: Callable[[Any], dict[str, Any]], told: str
) -> None:
    server.spoil_only(path, lambda answer: replace(answer, **change(answer)))
    with pytest.raises(CollateralError, match=told):
        fetch(server.url)
    assert server.paths.count(path) == 1


def test_the_largest_part_that_is_read_is_read(server: Any) -> None:
    server.spoil_only("tcb", lambda answer: replace(answer, body=bytes(PART_LIMIT)))
    assert fetch(server.url).tcb_info == bytes(PART_LIMIT)


def test_a_service_that_says_nothing_is_given_up_at_the_deadline(server: Any) -> None:
    server.spoil_only("qe/identity", lambda answer: None)
    with pytest.raises(
        CollateralError, match=r"127\.0\.0\.1 did not send the QE identity in the 0\.5 seconds"
    ):
        fetch(server.url, timeout=0.5)


def test_what_went_wrong_before_the_deadline_is_told_too(server: Any) -> None:
    server.spoil = lambda path, count, answer: None
    with pytest.raises(CollateralError, match=r"\(before: 127\.0\.0\.1 was silent for 0\.25"):
        fetch(server.url, timeout=0.5)


@pytest.fixture
def stop() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"", id="status"),
        pytest.param(b"HTTP/1.1 200 OK\r\n", id="header"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", id="body"),
    ],
)
def test_a_service_that_drips_is_given_up_at_the_deadline(
    speaking: Speaking, stop: threading.Event, head: bytes
) -> None:
    """Each byte comes in good time; all of them never would."""

    def drip(connection: socket.socket) -> None:
        connection.sendall(head)
        while not stop.wait(0.02):
            connection.sendall(b"x" if head else b"H")

    with pytest.raises(CollateralError, match="did not send the TCB info in the"):
        fetch(speaking(drip), timeout=0.5)


def test_a_body_without_end_is_cut_off_at_the_limit(
    speaking: Speaking, stop: threading.Event
) -> None:
    def pour(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not stop.is_set():
            connection.sendall(b"10000\r\n" + bytes(1 << 16) + b"\r\n")

    with pytest.raises(CollateralError, match=f"the TCB info exceeds {PART_LIMIT} bytes"):
        fetch(speaking(pour))


def test_headers_without_end_are_not_read_without_end(
    speaking: Speaking, stop: threading.Event
) -> None:
    def pour(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while not stop.is_set():
            connection.sendall(b"X-Header: " + b"x" * 1000 + b"\r\n")

    with pytest.raises(CollateralError, match=r"cannot reach 127\.0\.0\.1"):
        fetch(speaking(pour))


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", id="shorter-than-said"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", id="negative-length"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", id="lengths"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffffffff\r\n",
            id="chunk-without-end",
        ),
        pytest.param(b"SSH-2.0-OpenSSH_9.6\r\n", id="no-HTTP"),
        pytest.param(b"\x15\x03\x03\x00\x02\x02\x28", id="TLS"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_what_is_no_http_is_told_as_no_service(speaking: Speaking, answer: bytes) -> None:
    def say(connection: socket.socket) -> None:
        connection.sendall(answer)
        connection.shutdown(socket.SHUT_RDWR)

    with pytest.raises(CollateralError, match=r"cannot reach 127\.0\.0\.1"):
        fetch(speaking(say))


def test_an_answer_longer_than_it_said_is_cut_where_it_said(speaking: Speaking) -> None:
    """What is over is not taken for the next answer: the connection is not used again."""

    def say(connection: socket.socket) -> None:
        chains = b"".join(
            name + b": x\r\n"
            for name in (
                b"TCB-Info-Issuer-Chain",
                b"SGX-Enclave-Identity-Issuer-Chain",
                b"SGX-PCK-CRL-Issuer-Chain",
            )
        )
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + chains + b"Content-Length: 4\r\n\r\nabcdEXTRA")

    collateral = fetch(speaking(say))
    assert collateral.tcb_info == b"abcd"
    assert collateral.qe_identity == b"abcd"


def test_nobody_there_is_told_with_the_host() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(CollateralError, match=r"cannot reach 127\.0\.0\.1"):
        fetch(f"http://127.0.0.1:{port}")
