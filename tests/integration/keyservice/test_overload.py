"""What many clients do to the listener at once, and that honest ones are served meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives import serialization

from listening import PATIENCE, SECRET, answer, is_closed, listen, release
from sealserve.attester.protocol import REQUEST
from sealserve.deploy.certificates import Validity, make_authority, make_client
from sealserve.keyservice import server

STALLED = b"\x16\x03\x01\x02\x00\x01"  # the start of a ClientHello
ATTACKER, HONEST = "127.0.0.66", "127.0.0.7"


def eventually(holds):
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.01)


@contextlib.contextmanager
def slow_loris(service, sources):
    """Connections that begin a handshake and go no further, one from each of `sources`."""
    with contextlib.ExitStack() as stack:
        streams = []
        for source in sources:
            stream = stack.enter_context(service.connect(source))
            with contextlib.suppress(ConnectionError):
                stream.sendall(STALLED)
            streams.append(stream)
        yield streams


def many(number):
    return [f"127.1.{index // 200}.{index % 200 + 1}" for index in range(number)]


def test_a_slow_loris_of_one_source_gets_its_share_and_others_are_served(tmp_path):
    with (
        listen(tmp_path, max_sessions=300, max_sessions_per_source=80) as service,
        slow_loris(service, [ATTACKER] * 200) as streams,
    ):
        assert service.ask(HONEST) == SECRET
        assert all(is_closed(stream) for stream in streams[80:])
        assert service.ask(ATTACKER) is None
        eventually(lambda: service.seen.refusals == {"overloaded.source-sessions": 121})
        assert service.ask(HONEST) == SECRET
    assert service.seen.handshakes == {True: 2, False: 80}


def test_a_slow_loris_of_many_sources_loses_its_oldest_connections_to_who_comes(tmp_path):
    with (
        listen(tmp_path, max_sessions=100) as service,
        slow_loris(service, many(200)) as streams,
    ):
        assert all(is_closed(stream) for stream in streams[:100])
        assert service.ask(HONEST) == SECRET
        assert is_closed(streams[100])
        assert service.ask(HONEST) == SECRET
        streams[102].setblocking(False)
        with pytest.raises(BlockingIOError):
            streams[102].recv(1)
    evicted = service.seen.refusals["overloaded.evicted"]
    assert evicted in (101, 102)  # the first honest client may have been gone already, or not
    assert service.seen.ends["overloaded.evicted"] == evicted


def test_while_the_slow_loris_goes_on_every_honest_client_is_served(tmp_path):
    with listen(tmp_path, max_sessions=64) as service, contextlib.ExitStack() as stack:
        for index in range(1, 33):
            stack.enter_context(slow_loris(service, many(20)))
            assert service.ask(f"127.0.2.{index}") == SECRET
    assert service.seen.ends["served"] == 32


def test_whoever_stalls_after_the_handshake_makes_room_too(tmp_path):
    with (
        listen(tmp_path, max_sessions=2) as service,
        service.session("127.0.0.1") as oldest,
        service.session("127.0.0.2") as younger,
    ):
        for tls in (oldest, younger):
            tls.sendall(REQUEST[:5])
        assert service.ask(HONEST) == SECRET
        assert is_closed(oldest)


def test_a_session_that_has_asked_is_closed_for_nobody(tmp_path):
    gate = Gate()
    with (
        listen(tmp_path, decide=gate.decide, max_sessions=2) as service,
        ThreadPoolExecutor(2) as pool,
    ):
        waiting = [pool.submit(service.ask, source) for source in many(2)]
        gate.wait_for(2)
        assert service.ask(HONEST) is None
        gate.open()
        assert [each.result() for each in waiting] == [SECRET, SECRET]
        eventually(lambda: service.ask(HONEST) == SECRET)
        assert set(service.seen.refusals) == {"overloaded.sessions"}


class Gate:
    """Decisions that wait until the test lets them go."""

    def __init__(self):
        self._begun, self._open = threading.Semaphore(0), threading.Event()

    async def decide(self, ask):
        self._begun.release()
        while not self._open.is_set():
            await asyncio.sleep(0.01)
        return await release(ask)

    def wait_for(self, decisions):
        for _ in range(decisions):
            assert self._begun.acquire(timeout=PATIENCE)

    def open(self):
        self._open.set()


def test_a_source_that_connects_too_often_is_served_again_once_its_tokens_are_back(
    tmp_path, caplog
):
    rates = {"connections_per_second_per_source": 0.001, "connections_burst_per_source": 3}
    with listen(tmp_path, **rates) as service:
        assert [service.ask(ATTACKER) for _ in range(5)] == [SECRET] * 3 + [None] * 2
        assert service.ask(HONEST) == SECRET
        service.later(1000)
        assert [service.ask(ATTACKER) for _ in range(2)] == [SECRET, None]
    assert service.seen.refusals == {"overloaded.source-rate": 3}
    refusals = [text for text in caplog.messages if "event=refused" in text]
    assert refusals[0] == "event=refused source_rate=1"
    assert sum(int(text.rpartition("=")[2]) for text in refusals) == 3


def test_a_refused_connection_has_cost_no_session(tmp_path):
    with listen(tmp_path, max_sessions_per_source=1) as service:
        with slow_loris(service, [ATTACKER]), service.connect(ATTACKER) as refused:
            assert is_closed(refused)
            assert service.seen.opened == 1
        eventually(lambda: service.ask(ATTACKER) == SECRET)


def test_a_flood_of_certificates_that_are_none_of_ratls_harms_nobody_and_fills_no_log(
    tmp_path, caplog, monkeypatch
):
    caplog.set_level("INFO")
    monkeypatch.setattr(server, "ENDS_BURST", 5)
    monkeypatch.setattr(server, "ENDS_PER_SECOND", 0.001)
    with listen(tmp_path) as service, ThreadPoolExecutor(4) as pool:
        thief = forged_client(service, tmp_path)

        def flood(_):
            with (
                contextlib.suppress(ssl.SSLError, ConnectionError),
                service.connect(ATTACKER) as stream,
                thief.wrap_socket(stream, server_hostname="localhost") as tls,
            ):
                tls.sendall(REQUEST)
                return tls.recv(100)

        floods = pool.map(flood, range(120))
        assert [service.ask(HONEST) for _ in range(5)] == [SECRET] * 5
        assert set(floods) == {None}
        eventually(lambda: service.seen.ends["handshake"] == 120)
    assert len(service.asks) == 5
    assert sum("event=session_ended" in text for text in caplog.messages) == 5
    unlogged = [text for text in caplog.messages if "event=sessions_not_logged" in text]
    assert sum(int(text.rpartition("handshake=")[2]) for text in unlogged) == 115


def forged_client(service, folder):
    """A stock client with a certificate that a CA has signed."""
    validity = Validity(datetime.now(UTC), 2)
    pair = make_client("thief.example", validity, issuer=make_authority(validity))
    file = folder / "thief.pem"
    file.write_bytes(
        pair.certificate.public_bytes(serialization.Encoding.PEM)
        + pair.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.create_default_context(cafile=service.ca_file)
    context.load_cert_chain(file)
    return context


def test_beyond_the_decisions_that_may_wait_a_session_ends_undecided(tmp_path):
    gate = Gate()
    with (
        listen(tmp_path, decide=gate.decide, max_waiting_decisions=2) as service,
        ThreadPoolExecutor(2) as pool,
    ):
        waiting = [pool.submit(service.ask, HONEST) for _ in range(2)]
        gate.wait_for(2)
        assert service.ask(HONEST) is None
        assert len(service.asks) == 2
        gate.open()
        assert [each.result() for each in waiting] == [SECRET, SECRET]
        assert service.ask(HONEST) == SECRET
    assert service.seen.refusals == {"overloaded.decisions": 1}
    assert service.seen.ends == {"served": 3, "overloaded.decisions": 1}


def test_a_fault_in_one_decision_ends_that_session_and_no_other(tmp_path, caplog):
    async def decide(ask):
        if ask.peer.startswith(ATTACKER):
            raise RuntimeError("a fault of ours")
        return await release(ask)

    with listen(tmp_path, decide=decide) as service:
        assert service.ask(ATTACKER) is None
        assert service.ask(HONEST) == SECRET
    assert service.seen.ends == {"fault": 1, "served": 1}
    assert "event=session_fault" in caplog.text


def test_a_crowd_behind_one_address_is_served_to_the_last(tmp_path):
    with listen(tmp_path) as service, ThreadPoolExecutor(16) as pool:
        assert list(pool.map(lambda _: service.ask(HONEST), range(300))) == [SECRET] * 300


def test_a_service_that_drains_says_so_and_serves_until_its_time_is_up(tmp_path):
    with listen(tmp_path, drain_seconds=3000) as service:
        service.stop()
        assert service.draining.wait(PATIENCE)
        assert service.ask(HONEST) == SECRET
        with service.session(HONEST) as tls:
            service.later(3000)
            eventually(lambda: not accepts(service))
            tls.sendall(REQUEST)
            assert answer(tls) in (SECRET, None)  # its own deadline has been put forward, too


def accepts(service):
    try:
        service.connect(HONEST).close()
    except ConnectionError:
        return False
    return True


def test_who_waits_to_be_accepted_when_the_service_stops_is_served(tmp_path):
    with listen(tmp_path) as service, contextlib.ExitStack() as stack:
        held, go_on = threading.Event(), threading.Event()

        def hold():
            held.set()
            go_on.wait(PATIENCE)

        service.loop.call_soon_threadsafe(hold)
        assert held.wait(PATIENCE)
        streams = [stack.enter_context(service.connect(HONEST)) for _ in range(100)]
        service.stop()
        go_on.set()
        for stream in streams:
            with service.context.wrap_socket(stream, server_hostname="localhost") as tls:
                tls.sendall(REQUEST)
                assert answer(tls) == SECRET
        with pytest.raises(ConnectionError):
            socket.create_connection(("127.0.0.1", service.address.port), PATIENCE).close()
