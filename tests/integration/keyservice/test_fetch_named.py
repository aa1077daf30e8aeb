"""Secrets by name, from the client's side: what it is given, and what it takes for no answer."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import ssl
import threading
from collections.abc import Iterator

import pytest

from fixed_decisions import (
    RESULT,
    by_name,
    decided,
    make_identity,
    released,
    serve,
    write_credentials,
)
from sealserve.attester.messages import ANSWER_LIMIT, encode_request
from sealserve.attester.named import Provision, fetch_named
from sealserve.attester.protocol import SECRET_LIMIT
from sealserve.errors import (
    AuditError,
    DeniedError,
    FormatError,
    NetworkError,
    OverloadedError,
    UsageError,
)
from sealserve.keyservice.asking import Answer, Outcome
from sealserve.keyservice.named import NamedConversation

KEY, OLDER = bytes.fromhex("5ea15e4ce0ff1cea5ea15e4ce0ff1cea"), b"an older key 123"
RECORD = b'{"files":[],"format":1,"model":"resnet50","version":null}'
HELD = {
    "resnet50": released("resnet50", KEY, OLDER, record=RECORD),
    "aux": released("aux", b"\0" * SECRET_LIMIT),
}


@pytest.fixture
def ca_file(tmp_path):
    """The authority of the servers here; their certificate and key lie beside it."""
    return write_credentials(tmp_path)


def fetch(ca_file, servers, *names, **options) -> Provision:
    options = {"ca_file": ca_file, "identity": make_identity(), "timeout": 20, **options}
    return fetch_named(servers, names, **options)


def test_each_name_comes_with_all_its_versions_and_its_record(tmp_path):
    with serve(tmp_path, by_name(HELD)) as fixed:
        provision = fetch(fixed.ca_file, fixed.servers, "aux", "resnet50")
    assert list(provision.secrets) == ["aux", "resnet50"]
    versions = provision.secrets["resnet50"].versions
    assert [(version.number, version.value) for version in versions] == [(2, KEY), (1, OLDER)]
    assert provision.records == {"resnet50": RECORD}
    assert provision.denied == ()
    assert provision.result == RESULT


def test_a_name_that_is_not_required_may_be_denied(tmp_path):
    with serve(tmp_path, by_name(HELD)) as fixed:
        provision = fetch(fixed.ca_file, fixed.servers, "ssl", "aux", "nope", required=["aux"])
    assert provision.denied == ("ssl", "nope")
    assert list(provision.secrets) == ["aux"]


@pytest.mark.parametrize("required", [None, ["ssl"], ["aux", "ssl"]])
def test_a_denial_of_what_is_required_names_it_and_the_evidence(tmp_path, required):
    identity = make_identity()
    with (
        serve(tmp_path, by_name(HELD)) as fixed,
        pytest.raises(DeniedError, match="denies ssl: it has no such secret, or not") as caught,
    ):
        fetch(fixed.ca_file, fixed.servers, "aux", "ssl", required=required, identity=identity)
    assert caught.value.code == "release-denied"
    assert identity.evidence_digest in caught.value.hint


def test_no_value_shows_in_a_repr_or_a_log(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    with serve(tmp_path, by_name(HELD)) as fixed:
        provision = fetch(fixed.ca_file, fixed.servers, "resnet50")
    assert "released resnet50 (version 2, 1)" in caplog.text
    for text in (caplog.text, repr(provision), str(provision.secrets)):
        assert "an older key" not in text
        assert KEY.hex() not in text
        assert repr(KEY)[2:-1] not in text


def failing(error):
    def fail(ask):
        raise error

    return fail


def test_a_busy_service_says_when_to_come_again(tmp_path):
    busy = failing(OverloadedError("full", retry_after=7))
    with serve(tmp_path, busy) as fixed, pytest.raises(OverloadedError) as caught:
        fetch(fixed.ca_file, fixed.servers, "aux")
    assert isinstance(caught.value, NetworkError)
    assert caught.value.retry_after == 7.0


@pytest.mark.parametrize(
    "decide",
    [
        failing(AuditError("no record")),
        lambda ask: Answer((decided("aux", Outcome.FAILED),), None),
    ],
    ids=["no record", "no decision"],
)
def test_undecided_is_no_denial(tmp_path, decide):
    with serve(tmp_path, decide) as fixed, pytest.raises(NetworkError) as caught:
        fetch(fixed.ca_file, fixed.servers, "aux")
    assert caught.value.code == "undecided"


@pytest.mark.parametrize("names", [(), ("a", "a"), ("no/name",)])
def test_what_cannot_be_asked_for_asks_nobody(names, ca_file):
    with pytest.raises(UsageError):
        fetch(ca_file, "localhost:1", *names)


def test_the_largest_answers_are_read(tmp_path):
    held = {f"n{i}": released(f"n{i}", bytes([i]) * SECRET_LIMIT) for i in range(45)}
    with serve(tmp_path, by_name(held)) as fixed:
        provision = fetch(fixed.ca_file, fixed.servers, *held)
    assert [secret.versions[0].value[0] for secret in provision.secrets.values()] == [*range(45)]


@pytest.fixture
def false_server(ca_file):
    """TLS servers with a good certificate that answer what they are told to; gives their port."""

    @contextlib.contextmanager
    def start(answer: bytes, *, alpn=("sealserve/1",), piece: int = 1 << 20) -> Iterator[int]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(ca_file.with_name("server.pem"), ca_file.with_name("server.key"))
        if alpn:
            context.set_alpn_protocols(list(alpn))
        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(30)

        def run() -> None:
            with contextlib.suppress(OSError):
                stream, _ = listener.accept()
                with context.wrap_socket(stream, server_side=True) as tls:
                    tls.recv(4096)
                    for at in range(0, len(answer), piece):
                        tls.sendall(answer[at : at + piece])
                    tls.unwrap()

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.close()
            thread.join()

    return start


ANSWER = NamedConversation().answer(Answer((HELD["resnet50"],), RESULT))


def test_an_answer_may_come_in_pieces(ca_file, false_server):
    with false_server(ANSWER, piece=3) as port:
        assert fetch(ca_file, f"localhost:{port}", "resnet50").result == RESULT


@pytest.mark.parametrize("alpn", [(), ("http/1.1",)], ids=["no ALPN", "others"])
def test_a_server_that_does_not_speak_it_is_told_apart(ca_file, false_server, alpn):
    """An older key service, or Gramine's own: it would take the request for another's."""
    with false_server(ANSWER, alpn=alpn) as port, pytest.raises(NetworkError) as caught:
        fetch(ca_file, f"localhost:{port}", "resnet50")
    assert caught.value.code == "protocol"
    assert "does not speak sealserve/1" in caught.value.message


@pytest.mark.parametrize("length", [0, 1, 4, len(ANSWER) - 1])
def test_an_answer_that_breaks_off_is_no_secret_and_no_denial(ca_file, false_server, length):
    with false_server(ANSWER[:length]) as port, pytest.raises(NetworkError, match="closed"):
        fetch(ca_file, f"localhost:{port}", "resnet50")


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n", id="http"),
        pytest.param((ANSWER_LIMIT + 1).to_bytes(4, "big"), id="over the limit"),
        pytest.param(ANSWER + b"\0", id="a byte after it"),
        pytest.param(ANSWER.replace(b"resnet50", b"resnet51"), id="about another name"),
        pytest.param(ANSWER.replace(b'"version":1', b'"version":2'), id="a version twice"),
        pytest.param(encode_request(["resnet50"]), id="the request"),
    ],
)
def test_another_answer_is_refused_without_showing_it(ca_file, false_server, answer):
    with false_server(answer) as port, pytest.raises(FormatError) as caught:
        fetch(ca_file, f"localhost:{port}", "resnet50")
    values = [entry["value"] for entry in json.loads(ANSWER[4:])["secrets"]["resnet50"]["versions"]]
    assert not any(value in str(caught.value) for value in values)


def test_a_copy_that_is_just_stopping_is_passed_over(tmp_path):
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        serve(tmp_path, by_name(HELD)) as fixed,
    ):
        thread = threading.Thread(target=lambda: listener.accept()[0].close())
        thread.start()
        servers = f"localhost:{listener.getsockname()[1]};{fixed.servers}"
        assert fetch(fixed.ca_file, servers, "aux").denied == ()
        thread.join()
