"""Those who watch the key service: over real sockets, honest ones and others."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence

import httpx
import pytest

from sealserve import http_server
from sealserve.errors import AuditError, UsageError
from sealserve.hosts import Address, ListenAddress
from sealserve.keyservice import watch as watching
from sealserve.keyservice.metrics import Metrics
from sealserve.keyservice.watch import Watch
from tools import needs_promtool

ANY = ListenAddress("127.0.0.1", 0)


class Service:
    """A service whose troubles are made by hand."""

    def __init__(self) -> None:
        self.troubles: list[str] = []
        self.examined = 0
        self.slow = asyncio.Event()
        self.slow.set()
        self.failure: Exception | None = None

    async def problems(self) -> Sequence[str]:
        self.examined += 1
        await self.slow.wait()
        if self.failure is not None:
            raise self.failure
        return self.troubles


@contextlib.asynccontextmanager
async def watched(
    service: Service, metrics: Metrics | None = None
) -> AsyncIterator[tuple[httpx.AsyncClient, Address]]:
    watch = Watch(metrics or Metrics(), service, ANY)
    address = await watch.start()
    try:
        async with httpx.AsyncClient(base_url=f"http://{address}", trust_env=False) as http:
            yield http, address
    finally:
        await watch.stop()


def run(test: Callable[[], Coroutine[None, None, None]]) -> None:
    async def within() -> None:
        async with asyncio.timeout(60):
            await test()

    asyncio.run(within())


@pytest.fixture(autouse=True)
def examined_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "FRESH_SECONDS", 0.0)


def test_a_service_that_can_release_is_alive_and_ready() -> None:
    async def test() -> None:
        async with watched(Service()) as (http, _):
            for path, text in (("/livez", "alive\n"), ("/readyz", "ready\n")):
                answer = await http.get(path)
                assert (answer.status_code, answer.text) == (200, text)
                assert (await http.head(path)).status_code == 200

    run(test)


def test_each_trouble_is_a_line_and_goes_as_it_came(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        service, metrics = Service(), Metrics()
        async with watched(service, metrics) as (http, _):
            await http.get("/readyz")
            service.troubles = ["the database does not answer", "the log takes\nno records" * 50]
            answer = await http.get("/readyz")
            first, second = answer.text.splitlines()
            assert answer.status_code == 503
            assert first == "the database does not answer"
            assert second.startswith("the log takes no records")
            assert len(second) == watching.REASON_CHARACTERS
            assert b"sealserve_keyservice_ready 0.0" in metrics.show()
            assert (await http.get("/livez")).status_code == 200
            service.troubles = []
            assert (await http.get("/readyz")).status_code == 200
            assert b"sealserve_keyservice_ready 1.0" in metrics.show()

    with caplog.at_level("INFO"):
        run(test)
    told = [text.split()[0] for text in caplog.messages if text.startswith("event=")]
    assert told == ["event=not_ready", "event=ready_again"]


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        pytest.param(
            AuditError("the log /secret/path is broken", code="audit-unavailable"),
            "the examination failed: audit-unavailable\n",
            id="an error of ours",
        ),
        pytest.param(
            RuntimeError("password=hunter2"),
            "a fault in the examination; the log has it\n",
            id="a fault",
        ),
    ],
)
def test_an_examination_that_fails_is_a_service_that_is_not_ready(
    failure: Exception, told: str
) -> None:
    async def test() -> None:
        service = Service()
        service.failure = failure
        async with watched(service) as (http, _):
            answer = await http.get("/readyz")
            assert (answer.status_code, answer.text) == (503, told)

    run(test)


def test_an_examination_that_hangs_is_waited_for_up_to_its_deadline_and_not_begun_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watching, "EXAMINED_SECONDS", 0.1)

    async def test() -> None:
        service = Service()
        service.slow.clear()
        async with watched(service) as (http, _):
            for _ in range(3):
                answer = await http.get("/readyz")
                assert answer.status_code == 503
                assert answer.text == "the examination takes longer than 0.1 seconds\n"
            assert service.examined == 1
            assert (await http.get("/livez")).status_code == 200
            service.slow.set()
            while (await http.get("/readyz")).status_code != 200:
                await asyncio.sleep(0.01)
            service.slow.clear()  # and one that hangs when the service stops
            assert (await http.get("/readyz")).status_code == 503

    run(test)


def test_many_who_ask_at_once_are_answered_by_one_examination(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watching, "FRESH_SECONDS", 60.0)

    async def test() -> None:
        service = Service()
        async with watched(service) as (http, _):
            answers = await asyncio.gather(*(http.get("/readyz") for _ in range(20)))
            assert {answer.status_code for answer in answers} == {200}
            assert service.examined == 1

    run(test)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/metrics/x", 404),
        ("GET", "/../etc/passwd", 404),
        ("POST", "/readyz", 405),
        ("DELETE", "/metrics", 405),
    ],
)
def test_nothing_else_is_there(method: str, path: str, status: int) -> None:
    async def test() -> None:
        async with watched(Service()) as (http, _):
            answer = await http.request(method, path, content=b"x" * 100)
            assert answer.status_code == status
            assert "server" not in answer.headers

    run(test)


def test_the_metrics_are_there_and_say_whether_the_service_is_ready() -> None:
    async def test() -> None:
        service, metrics = Service(), Metrics()
        service.troubles = ["draining"]
        metrics.decision("released", "policy.allowed", 0.01)
        async with watched(service, metrics) as (http, _):
            answer = await http.get("/metrics")
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/plain; version=")
            assert "sealserve_keyservice_ready 0.0\n" in answer.text
            labels = 'code="policy.allowed",outcome="released"'
            assert f"sealserve_keyservice_decisions_total{{{labels}}} 1.0\n" in answer.text

    run(test)


@needs_promtool
def test_prometheus_own_linter_finds_nothing_in_the_metrics() -> None:
    metrics = Metrics()
    metrics.decision("denied", "policy.measurement", 0.1)
    metrics.log_head(1, 1)
    # process_virtual_memory_max_bytes and the like are Prometheus' own names.
    text = b"\n".join(row for row in metrics.show().split(b"\n") if b"process_" not in row)
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, timeout=60, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_an_address_that_is_taken_is_said() -> None:
    async def test() -> None:
        async with watched(Service()) as (_, address):
            taken = Watch(Metrics(), Service(), ListenAddress(address.host, address.port))
            with pytest.raises(UsageError, match=r"cannot listen on .* for the watch"):
                await taken.start()

    run(test)


def test_silent_and_slow_connections_leave_room_for_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Twice as many as there may be, each silent or in the middle of a head."""
    monkeypatch.setattr(http_server, "HEAD_SECONDS", 0.5)
    most = 2 * watching.CONNECTIONS

    async def test() -> None:
        async with watched(Service()) as (http, address):
            others = [
                await asyncio.open_connection(address.host, address.port) for _ in range(most)
            ]
            for _, writer in others[::2]:
                writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\nX: ")
            while True:  # those that are one too many go at once, the others at their deadline
                try:
                    if (await http.get("/livez")).status_code == 200:
                        break
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.05)
            for reader, writer in others:
                with contextlib.suppress(OSError):
                    assert await reader.read() in (b"", None)
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

    run(test)


@pytest.mark.parametrize(
    "garbage",
    [
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 500, id="TLS"),
        pytest.param(b"GET /" + b"x" * (1 << 20), id="an endless request line"),
        pytest.param(
            b"POST /readyz HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n"
            + b"x" * 4096,
            id="a body that never ends",
        ),
        pytest.param(b"\r\n" * 1000, id="empty lines"),
    ],
)
def test_what_is_no_request_is_answered_shortly_or_not_at_all(
    garbage: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "HEAD_SECONDS", 0.5)

    async def test() -> None:
        async with watched(Service()) as (http, address):
            reader, writer = await asyncio.open_connection(address.host, address.port)
            answer = b""
            with contextlib.suppress(OSError):
                writer.write(garbage)
                await writer.drain()
                answer = await reader.read(1 << 20)
            assert answer == b"" or answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 405"))
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            assert (await http.get("/livez")).status_code == 200

    run(test)
