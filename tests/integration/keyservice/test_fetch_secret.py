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

from sealserve.attester.protocol import REQUEST, RESPONSE, SECRET_LIMIT
from sealserve.attester.secrets import fetch_secret, parse_servers
from sealserve.errors import ConfigError, DeniedError, FormatError, NetworkError, UsageError
from sealserve.keyservice.config import load_config
from sealserve.keyservice.rules import load_rules
from sealserve.keyservice.verifiers import basis_of
from sealserve.verifier import load_trust_root

ANSWER = RESPONSE + b"\0\0\0\x10" + b"0123456789abcdef"


@dataclass
class FalseServer:
    """A TLS server with a good certificate that answers what it is told to."""

    port: int
    received: bytearray


@pytest.fixture
def false_server(site):
    @contextlib.contextmanager
    def serve(answer: bytes, *, polite: bool = True) -> Iterator[FalseServer]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(site.folder / "server.pem", site.folder / "server.key")
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


def fetch(site, servers, **options):
    options = {"ca_file": site.ca_file, "identity": site.identity(), "timeout": 20, **options}
    return fetch_secret(servers, **options)


def test_servers_are_tried_in_order_until_one_connects(running):
    servers = f"localhost:{free_port()};{running.servers};localhost:{free_port()}"
    assert fetch(running.site, servers) == running.site.secret


def test_a_denial_names_the_record_that_says_why(running):
    running.site.write_policy("mr_enclave = ['" + "00" * 32 + "']")
    identity = running.site.identity()
    running.service.rules = reloaded(running)
    with pytest.raises(DeniedError, match="closed the session without a secret") as caught:
        fetch(running.site, running.servers, identity=identity)
    (record,) = running.site.records()
    assert record["outcome"] == "denied"
    assert record["evidence_sha256"] in caught.value.hint
    assert caught.value.exit_code == 4


def reloaded(running):
    return load_rules(
        load_config(running.site.config), basis_of(load_trust_root(running.site.world.root_ca_pem))
    )


def test_the_server_must_have_the_name_that_was_asked_for(running):
    with pytest.raises(NetworkError, match=r"not for '127\.0\.0\.1'") as caught:
        fetch(running.site, f"127.0.0.1:{running.address.port}")
    assert caught.value.code == "server-certificate"
    assert running.site.records() == []


def test_a_name_may_be_given_apart_from_the_address(running):
    servers = f"127.0.0.1:{running.address.port}"
    assert fetch(running.site, servers, server_name="localhost") == running.site.secret


def test_a_server_of_another_ca_is_not_asked(running, make_site):
    with pytest.raises(NetworkError, match="does not verify") as caught:
        fetch(running.site, running.servers, ca_file=make_site().ca_file)
    assert caught.value.code == "server-certificate"


def test_a_file_that_is_no_ca_is_a_configuration_error(running):
    with pytest.raises(ConfigError, match="no CA certificate"):
        fetch(running.site, running.servers, ca_file=running.site.config)


def test_the_request_on_the_wire_is_gramines(site, false_server):
    with false_server(ANSWER) as server:
        assert fetch(site, f"localhost:{server.port}") == b"0123456789abcdef"
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
def test_another_answer_is_refused(site, false_server, answer):
    with false_server(answer) as server, pytest.raises(FormatError):
        fetch(site, f"localhost:{server.port}")


@pytest.mark.parametrize("length", [1, len(RESPONSE), len(ANSWER) - 1])
def test_an_answer_that_breaks_off_is_no_secret_and_no_denial(site, false_server, length):
    with (
        false_server(ANSWER[:length]) as server,
        pytest.raises(NetworkError, match="in the middle of its answer"),
    ):
        fetch(site, f"localhost:{server.port}")


def test_a_server_that_stalls_costs_the_deadline_and_no_more(site, false_server):
    with (
        false_server(ANSWER[:-1], polite=False) as server,
        pytest.raises(NetworkError) as caught,
    ):
        fetch(site, f"localhost:{server.port}", timeout=1.0)
    assert caught.value.code == "deadline"


def test_a_connection_that_is_cut_is_not_taken_for_a_denial(site):
    """Anybody on the way can cut a connection; only the server itself can end a TLS session."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def cut() -> None:
            stream, _ = listener.accept()
            stream.recv(64)
            stream.close()

        thread = threading.Thread(target=cut)
        thread.start()
        with pytest.raises(NetworkError) as caught:
            fetch(site, f"localhost:{listener.getsockname()[1]}")
        thread.join()
    assert caught.value.code == "tls"


def test_nobody_there_names_every_server_that_was_tried(site):
    first, second = free_port(), free_port()
    with pytest.raises(NetworkError, match=f"localhost:{first} .*, localhost:{second} "):
        fetch(site, f"localhost:{first};localhost:{second}")


def test_the_secret_is_in_no_log_of_the_client(running, caplog):
    caplog.set_level(logging.DEBUG)
    secret = fetch(running.site, running.servers)
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
