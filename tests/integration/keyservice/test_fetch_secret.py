"""The enclave's side against servers that are absent, wrong, slow or false."""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from fixed_decisions import (
    RESULT,
    Fixed,
    decided,
    make_identity,
    released,
    serve,
    write_credentials,
)
from sealserve.attester.connect import parse_servers
from sealserve.attester.protocol import REQUEST, RESPONSE, SECRET_LIMIT
from sealserve.attester.secrets import fetch_secret
from sealserve.errors import ConfigError, DeniedError, FormatError, NetworkError, UsageError
from sealserve.keyservice.asking import Answer, Outcome

KEY = bytes.fromhex("5ea15e4ce0ff1cea5ea15e4ce0ff1cea")
ANSWER = RESPONSE + b"\0\0\0\x10" + b"0123456789abcdef"


@dataclass
class FalseServer:
    """A TLS server with a good certificate that answers what it is told to."""

    port: int
    received: bytearray


@pytest.fixture
def ca_file(tmp_path):
    """The authority of the servers here; their certificate and key lie beside it."""
    return write_credentials(tmp_path)


@pytest.fixture
def running(tmp_path) -> Iterator[Fixed]:
    """A service that releases KEY to everybody."""
    with serve(tmp_path, lambda ask: Answer((released(None, KEY),), RESULT)) as fixed:
        yield fixed


@pytest.fixture
def false_server(ca_file):
    @contextlib.contextmanager
    def serve(answer: bytes, *, polite: bool = True) -> Iterator[FalseServer]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(ca_file.with_name("server.pem"), ca_file.with_name("server.key"))
        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(30)
        server = FalseServer(listener.getsockname()[1], bytearray())

        def run() -> None:
            with contextlib.suppress(OSError):
                stream, _ = listener.accept()
                with context.wrap_socket(stream, server_side=True) as tls:
                    while len(server.received) < len(REQUEST):
                        server.received += tls.recv(4096)
                    tls.sendall(answer)
                    if polite:
                        tls.unwrap()
                    else:
                        tls.recv(1)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield server
        finally:
            listener.close()
            thread.join()

    return serve


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        return unused.getsockname()[1]


def fetch(ca_file, servers, **options):
    options = {"ca_file": ca_file, "identity": make_identity(), "timeout": 20, **options}
    return fetch_secret(servers, **options)


def test_servers_are_tried_in_order_until_one_connects(running):
    servers = f"localhost:{free_port()};{running.servers};localhost:{free_port()}"
    assert fetch(running.ca_file, servers) == KEY


def test_a_denial_names_the_evidence_whose_record_says_why(tmp_path):
    identity = make_identity()
    denied = Answer((decided(None, Outcome.DENIED),), RESULT)
    with (
        serve(tmp_path, lambda ask: denied) as running,
        pytest.raises(DeniedError, match="closed the session without a secret") as caught,
    ):
        fetch(running.ca_file, running.servers, identity=identity)
    assert identity.evidence_digest in caught.value.hint
    assert caught.value.exit_code == 4


def test_undecided_is_no_denial(tmp_path):
    undecided = Answer((decided(None, Outcome.FAILED),), None)
    with serve(tmp_path, lambda ask: undecided) as running, pytest.raises(NetworkError) as caught:
        fetch(running.ca_file, running.servers)
    assert caught.value.code == "tls"


def test_the_server_must_have_the_name_that_was_asked_for(running):
    with pytest.raises(NetworkError, match=r"not for '127\.0\.0\.1'") as caught:
        fetch(running.ca_file, f"127.0.0.1:{running.port}")
    assert caught.value.code == "server-certificate"
    assert not running.asks


def test_a_name_may_be_given_apart_from_the_address(running):
    assert fetch(running.ca_file, f"127.0.0.1:{running.port}", server_name="localhost") == KEY


def test_a_server_of_another_ca_is_not_asked(running, tmp_path_factory):
    another = write_credentials(tmp_path_factory.mktemp("another"))
    with pytest.raises(NetworkError, match="does not verify") as caught:
        fetch(another, running.servers)
    assert caught.value.code == "server-certificate"


def test_a_file_that_is_no_ca_is_a_configuration_error(running):
    with pytest.raises(ConfigError, match="no CA certificate"):
        fetch(running.ca_file.with_name("server.key"), running.servers)


def test_the_request_on_the_wire_is_gramines(ca_file, false_server):
    with false_server(ANSWER) as server:
        assert fetch(ca_file, f"localhost:{server.port}") == b"0123456789abcdef"
    assert bytes(server.received) == REQUEST


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n", id="http"),
        pytest.param(RESPONSE + bytes(4), id="an empty secret"),
        pytest.param(RESPONSE + (SECRET_LIMIT + 1).to_bytes(4, "big"), id="over the limit"),
        pytest.param(RESPONSE + b"\xff\xff\xff\xff", id="4 GiB"),
        pytest.param(ANSWER + b"more", id="more than announced"),
    ],
)
def test_another_answer_is_refused(ca_file, false_server, answer):
    with false_server(answer) as server, pytest.raises(FormatError):
        fetch(ca_file, f"localhost:{server.port}")


@pytest.mark.parametrize("length", [1, len(RESPONSE), len(ANSWER) - 1])
def test_an_answer_that_breaks_off_is_no_secret_and_no_denial(ca_file, false_server, length):
    with (
        false_server(ANSWER[:length]) as server,
        pytest.raises(NetworkError, match="in the middle of its answer"),
    ):
        fetch(ca_file, f"localhost:{server.port}")


def test_a_server_that_stalls_costs_the_deadline_and_no_more(ca_file, false_server):
    with (
        false_server(ANSWER[:-1], polite=False) as server,
        pytest.raises(NetworkError) as caught,
    ):
        fetch(ca_file, f"localhost:{server.port}", timeout=1.0)
    assert caught.value.code == "deadline"


@contextlib.contextmanager
def cutter(*, read: int, sent: bytes = b"") -> Iterator[int]:
    """A server that takes one connection, reads and sends so much, and cuts it; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def cut() -> None:
            stream, _ = listener.accept()
            with stream:
                if read:
                    stream.recv(read)
                if sent:
                    stream.sendall(sent)
                    stream.shutdown(socket.SHUT_WR)
                    with contextlib.suppress(OSError):  # unread data would make this a reset
                        while stream.recv(4096):
                            pass

        thread = threading.Thread(target=cut)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            thread.join()


CUTS = pytest.mark.parametrize("read", [0, 64, 4096], ids=["at once", "in the hello", "after it"])


@CUTS
def test_a_server_that_ends_before_tls_began_is_passed_over(running, read):
    """A copy that is just stopping: nothing was asked of it, so nothing is lost."""
    with cutter(read=read) as port:
        assert fetch(running.ca_file, f"localhost:{port};{running.servers}") == KEY


@CUTS
def test_alone_it_is_one_that_cannot_be_reached(ca_file, read):
    with (
        cutter(read=read) as port,
        pytest.raises(NetworkError, match=r"before TLS began|reset") as caught,
    ):
        fetch(ca_file, f"localhost:{port}")
    assert not isinstance(caught.value, DeniedError)
    assert str(port) in caught.value.message


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"\x16", id="a byte of TLS"),
        pytest.param(b"\x15\x03\x03\0\x02\x02\x28", id="an alert"),
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n", id="another protocol"),
    ],
)
def test_what_a_server_that_has_begun_to_answer_does_is_final(running, sent):
    """Anybody on the way can cut a connection; only the server itself can end a TLS session."""
    with cutter(read=4096, sent=sent) as port, pytest.raises(NetworkError) as caught:
        fetch(running.ca_file, f"localhost:{port};{running.servers}")
    assert caught.value.code == "tls"
    assert not running.asks


def test_a_server_that_never_answers_costs_its_share_of_the_time(running):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        servers = f"localhost:{silent.getsockname()[1]};{running.servers}"
        assert fetch(running.ca_file, servers, timeout=8) == KEY


def test_alone_it_costs_all_of_it_and_no_more(ca_file):
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(NetworkError, match=r"no answer|did not end"),
    ):
        fetch(ca_file, f"localhost:{silent.getsockname()[1]}", timeout=1)


def test_nobody_there_names_every_server_that_was_tried(ca_file):
    first, second = free_port(), free_port()
    with pytest.raises(NetworkError, match=f"localhost:{first} .*, localhost:{second} "):
        fetch(ca_file, f"localhost:{first};localhost:{second}")


def test_the_secret_is_in_no_log_of_the_client(running, caplog):
    caplog.set_level(logging.DEBUG)
    secret = fetch(running.ca_file, running.servers)
    assert "released a secret of 16 bytes" in caplog.text
    assert secret.hex() not in caplog.text
    assert repr(secret)[2:-1] not in caplog.text


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        ("keys.example:4433", [("keys.example", 4433)]),
        ("a:1; b:65535 ;", [("a", 1), ("b", 65535)]),
        ("[::1]:4433", [("::1", 4433)]),
    ],
)
def test_server_lists_are_read(text, servers):
    assert [(server.host, server.port) for server in parse_servers(text)] == servers


@pytest.mark.parametrize(
    "text",
    ["", ";", "keys.example", "keys.example:", ":4433", "a:0", "a:65536", "a:-1", "a:x", "ä:1",
     ";".join(["a:1"] * 17)],
)  # fmt: skip
def test_server_lists_that_name_no_server_are_usage_errors(text):
    with pytest.raises(UsageError):
        parse_servers(text)
