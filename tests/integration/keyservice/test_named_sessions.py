"""Both protocols on one listener: which is spoken, what each end sends, and that they never mix."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import socket
import ssl
import subprocess
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL

from fixed_decisions import (
    PATIENT,
    RESULT,
    by_name,
    decided,
    make_identity,
    released,
    serve,
)
from sealserve.attester.messages import encode_request
from sealserve.attester.protocol import REQUEST, SECRET_LIMIT
from sealserve.errors import AuditError, FormatError, NetworkError, OverloadedError
from sealserve.keyservice.asking import Answer, Outcome
from sealserve.keyservice.protocol import encode_answer

KEY = bytes.fromhex("5ea15e4ce0ff1cea5ea15e4ce0ff1cea")
HELD = {"resnet50": released("resnet50", KEY, b"an older key 123")}


def gramine(ask) -> Answer:
    """One key for who asks by no name."""
    return Answer((released(None, KEY, b"an older key"),), RESULT)


def either(ask) -> Answer:
    return gramine(ask) if ask.names is None else by_name(HELD)(ask)


@pytest.fixture
def client(tmp_path):
    """The file with a client's certificate and key."""
    identity = make_identity()
    certificate = x509.load_der_x509_certificate(identity.certificate_der)
    file = tmp_path / "client.pem"
    file.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + identity.private_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return file


@contextlib.contextmanager
def session(fixed, client, *, alpn=(), version=None, server_name="localhost"):
    """A TLS session of a stock client, in which every end without TLS's close is an error."""
    context = ssl.create_default_context(cafile=fixed.ca_file)
    context.load_cert_chain(client)
    context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    if version is not None:
        context.minimum_version = context.maximum_version = version
    if alpn:
        context.set_alpn_protocols(list(alpn))
    with (
        socket.create_connection(("127.0.0.1", fixed.port), timeout=30) as stream,
        context.wrap_socket(stream, server_hostname=server_name, suppress_ragged_eofs=False) as tls,
    ):
        yield tls


def converse(fixed, client, *messages, **options) -> bytes:
    """What comes until TLS's close; raises SSLError or ConnectionError when there is none."""
    with session(fixed, client, **options) as tls:
        for message in messages:
            tls.sendall(message)
        return b"".join(iter(lambda: tls.recv(65536), b""))


def ends_without_close(fixed, client, *messages, **options) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)):
        converse(fixed, client, *messages, **options)


VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
NAMED = ("sealserve/1",)


@VERSIONS
def test_who_offers_the_protocol_is_asked_for_names_and_answered(tmp_path, client, version):
    with serve(tmp_path, either) as fixed:
        sent = converse(
            fixed, client, encode_request(["ssl", "resnet50"]), alpn=NAMED, version=version
        )
    message = json.loads(sent[4:])
    assert len(sent) == 4 + int.from_bytes(sent[:4], "big")
    assert message["outcome"] == "answered"
    assert [version["version"] for version in message["secrets"]["resnet50"]["versions"]] == [2, 1]
    assert message["denied"] == ["ssl"]
    (asked,) = fixed.asks
    assert asked.names == ("ssl", "resnet50")
    assert asked.certificate == ssl.PEM_cert_to_DER_cert(
        client.read_text().split("-----BEGIN PRIVATE")[0].strip()
    )
    assert fixed.ends == [None]


@pytest.mark.parametrize(
    "offered", [("h2", "sealserve/1"), ("sealserve/1", "http/1.1"), ("sealserve/2", "sealserve/1")]
)
def test_the_protocol_is_found_wherever_it_stands_in_the_offer(tmp_path, client, offered):
    with serve(tmp_path, either) as fixed, session(fixed, client, alpn=offered) as tls:
        assert tls.selected_alpn_protocol() == "sealserve/1"
        tls.sendall(encode_request(["resnet50"]))
        assert tls.recv(4)


@VERSIONS
def test_without_alpn_the_protocol_is_gramines(tmp_path, client, version):
    with serve(tmp_path, either) as fixed:
        assert converse(fixed, client, REQUEST, version=version) == encode_answer(KEY, "raw")
    assert [asked.names for asked in fixed.asks] == [None]


def test_in_gramines_protocol_the_current_version_goes_out_as_its_rule_encodes_it(tmp_path, client):
    def in_hex(ask):
        return Answer((released(None, KEY, b"older", encoding="hex", record=b"{}"),), RESULT)

    with serve(tmp_path, in_hex) as fixed:
        assert converse(fixed, client, REQUEST) == encode_answer(KEY, "hex")


@VERSIONS
@pytest.mark.parametrize(
    "offered",
    [("http/1.1",), ("sealserve/2",), ("Sealserve/1",), ("sealserve/1 ",), ("h2", "http/1.1")],
)
def test_who_offers_other_protocols_alone_is_ended_and_served_in_none(
    tmp_path, client, offered, version
):
    with serve(tmp_path, either) as fixed:
        with pytest.raises(ssl.SSLError, match=r"(?i)no.application.protocol"):
            converse(fixed, client, REQUEST, alpn=offered, version=version)
        assert converse(fixed, client, REQUEST) == encode_answer(KEY, "raw")
    assert [asked.names for asked in fixed.asks] == [None]
    error, _ = fixed.ends
    assert isinstance(error, NetworkError)
    assert error.code == "protocol"


@VERSIONS
def test_gramines_request_in_the_other_protocol_decides_nothing(tmp_path, client, version):
    with serve(tmp_path, either) as fixed:
        ends_without_close(fixed, client, REQUEST, alpn=NAMED, version=version)
    assert not fixed.asks
    assert isinstance(fixed.ends[0], FormatError)


@VERSIONS
def test_a_named_request_in_gramines_protocol_decides_nothing(tmp_path, client, version):
    with serve(tmp_path, either) as fixed:
        ends_without_close(fixed, client, encode_request(["resnet50"]), version=version)
    assert not fixed.asks
    assert isinstance(fixed.ends[0], FormatError)


def test_the_two_protocols_part_at_their_first_byte():
    assert REQUEST[:1] != encode_request(["n" * 128] + [f"n{i}" for i in range(63)])[:1] == b"\0"


def test_the_host_name_asks_for_nothing_where_names_do(tmp_path, client):
    """The decision is told both; which of them counts is not for who stands in between."""
    with serve(tmp_path, either) as fixed:
        sent = converse(
            fixed,
            client,
            encode_request(["ssl"]),
            alpn=NAMED,
            server_name="resnet50.keys.example.com",
        )
    message = json.loads(sent[4:])
    assert (message["secrets"], message["denied"]) == ({}, ["ssl"])
    assert fixed.asks[0].server_name == "resnet50.keys.example.com"
    assert fixed.asks[0].names == ("ssl",)


class Between(threading.Thread):
    """Somebody on the way, who rewrites the first thing that the client says."""

    def __init__(self, port: int, old: bytes, new: bytes) -> None:
        super().__init__()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._server = port
        self._old, self._new = old, new
        self.start()

    def run(self) -> None:
        with (
            self._listener,
            self._listener.accept()[0] as client,
            socket.create_connection(("127.0.0.1", self._server)) as server,
        ):
            hello = client.recv(65536)
            assert self._old in hello
            server.sendall(hello.replace(self._old, self._new))
            back = threading.Thread(target=pump, args=(server, client))
            back.start()
            pump(client, server)
            back.join()


def pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@VERSIONS
@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(b"\0\x0c\x0bsealserve/1", b"\0\x0c\x0bsealserve/2", id="another protocol"),
        pytest.param(b"\0\x0c\x0bsealserve/1", b"\0\x0c\x0bsealserve/1"[::-1], id="garbage"),
        pytest.param(b"\0\x10\0\x0e\0\x0c\x0b", b"\xfa\xfa\0\x0e\0\x0c\x0b", id="no protocol"),
        pytest.param(b"resnet50.keys", b"resnet51.keys", id="another name"),
    ],
)
def test_who_stands_in_between_can_change_neither_the_protocol_nor_the_name(
    tmp_path, client, old, new, version
):
    """The handshake signs the ClientHello; so whatever is changed in it ends the session."""
    with serve(tmp_path, either) as fixed:
        between = Between(fixed.port, old, new)
        context = ssl.create_default_context(cafile=fixed.ca_file)
        context.load_cert_chain(client)
        context.minimum_version = context.maximum_version = version
        context.set_alpn_protocols(["sealserve/1"])
        with (
            socket.create_connection(("127.0.0.1", between.port), timeout=30) as stream,
            pytest.raises((ssl.SSLError, ConnectionError)),
            context.wrap_socket(stream, server_hostname="resnet50.keys.example.com") as tls,
        ):
            tls.sendall(encode_request(["resnet50"]))
            assert tls.recv(1) == b"no answer can come"
        between.join()
    assert not fixed.asks


@pytest.mark.parametrize("alpn", [(), NAMED], ids=["gramine", "named"])
def test_two_requests_in_one_message_are_none(tmp_path, client, alpn):
    request = encode_request(["resnet50"]) if alpn else REQUEST
    with serve(tmp_path, either) as fixed:
        ends_without_close(fixed, client, request * 2, alpn=alpn)
    assert not fixed.asks


@pytest.mark.parametrize("alpn", [(), NAMED], ids=["gramine", "named"])
def test_of_two_requests_in_a_session_one_is_answered(tmp_path, client, alpn):
    request = encode_request(["resnet50"]) if alpn else REQUEST
    with serve(tmp_path, either) as fixed, session(fixed, client, alpn=alpn) as tls:
        tls.sendall(request)
        answer = tls.recv(65536)
        with contextlib.suppress(OSError):
            tls.sendall(request)
        with contextlib.suppress(OSError):
            answer += b"".join(iter(lambda: tls.recv(65536), b""))
        alone = converse(fixed, client, request, alpn=alpn)
    assert answer == alone
    assert len(fixed.asks) == 2


@pytest.mark.parametrize("alpn", [[], [b"sealserve/1"]], ids=["gramine", "named"])
def test_a_session_is_not_renegotiated_in_either_protocol(tmp_path, alpn):
    identity = make_identity()
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    context.use_certificate(x509.load_der_x509_certificate(identity.certificate_der))
    context.use_privatekey(identity.private_key)
    if alpn:
        context.set_alpn_protos(alpn)
    with (
        serve(tmp_path, either) as fixed,
        socket.create_connection(("127.0.0.1", fixed.port)) as stream,
    ):
        tls = SSL.Connection(context, stream)
        tls.set_connect_state()
        tls.do_handshake()
        assert tls.renegotiate()
        with pytest.raises(SSL.Error, match="no renegotiation"):
            tls.do_handshake()
    assert not fixed.asks


@pytest.mark.parametrize("size", [1, 5, 4096])
def test_a_request_may_come_in_pieces(tmp_path, client, size):
    request = encode_request(["resnet50", *(f"none-{index}" for index in range(63))])
    pieces = [request[at : at + size] for at in range(0, min(len(request), 4096 * 4), size)]
    with serve(tmp_path, either) as fixed:
        sent = converse(fixed, client, *pieces, alpn=NAMED)
    assert len(json.loads(sent[4:])["denied"]) == 63


def test_a_denial_is_told_in_one_protocol_and_closed_in_both(tmp_path, client):
    def denied(ask):
        return Answer(tuple(decided(name, Outcome.DENIED) for name in ask.names or [None]), RESULT)

    with serve(tmp_path, denied) as fixed:
        assert converse(fixed, client, REQUEST) == b""
        sent = converse(fixed, client, encode_request(["a", "b"]), alpn=NAMED)
    assert json.loads(sent[4:])["denied"] == ["a", "b"]
    assert fixed.ends == [None, None]


def failing(error):
    def fail(ask):
        raise error

    return fail


def undecided(ask):
    return Answer((decided((ask.names or (None,))[0], Outcome.FAILED),), None)


@pytest.mark.parametrize(
    ("decide", "message", "code"),
    [
        pytest.param(
            failing(OverloadedError("full", retry_after=2.5)),
            {"outcome": "busy", "retry_after_seconds": 2.5},
            "overloaded",
            id="busy",
        ),
        pytest.param(
            failing(AuditError("no record")),
            {"outcome": "undecided"},
            "integrity.audit",
            id="audit",
        ),
        pytest.param(undecided, {"outcome": "undecided"}, "undecided", id="undecided"),
        pytest.param(failing(ZeroDivisionError()), {"outcome": "undecided"}, None, id="a fault"),
        pytest.param(failing(ConnectionError()), {"outcome": "undecided"}, None, id="no database"),
    ],
)
def test_where_nothing_is_decided_one_protocol_says_so_and_the_other_just_ends(
    tmp_path, client, decide, message, code
):
    with serve(tmp_path, decide) as fixed:
        ends_without_close(fixed, client, REQUEST)
        sent = converse(fixed, client, encode_request(["a"]), alpn=NAMED)
    assert json.loads(sent[4:]) == message
    assert [getattr(error, "code", None) for error in fixed.ends] == [code, code]
    assert None not in fixed.ends


def test_an_answer_too_large_to_send_is_undecided(tmp_path, client):
    names = [f"n{index}" for index in range(64)]
    held = {name: released(name, bytes(SECRET_LIMIT)) for name in names}
    with serve(tmp_path, by_name(held)) as fixed:
        sent = converse(fixed, client, encode_request(names), alpn=NAMED)
    assert json.loads(sent[4:]) == {"outcome": "undecided"}
    assert fixed.ends[0].code == "answer-size"


def test_a_client_that_reads_slowly_gets_a_large_answer_whole(tmp_path, client):
    names = [f"n{index}" for index in range(40)]
    held = {name: released(name, bytes(SECRET_LIMIT)) for name in names}
    with serve(tmp_path, by_name(held)) as fixed, session(fixed, client, alpn=NAMED) as tls:
        tls.sendall(encode_request(names))
        received = bytearray()
        while data := tls.recv(7001):
            received += data
    assert len(received) > 40 * SECRET_LIMIT
    assert len(json.loads(bytes(received[4:]))["secrets"]) == 40
    assert fixed.ends == [None]


def test_a_client_that_reads_nothing_is_dropped_when_its_time_is_up(tmp_path, client):
    limits = PATIENT.model_copy(update={"session_seconds": 3.0})
    names = [f"n{index}" for index in range(45)]
    held = {name: released(name, bytes(SECRET_LIMIT)) for name in names}
    with serve(tmp_path, by_name(held), limits=limits) as fixed:
        context = ssl.create_default_context(cafile=fixed.ca_file)
        context.load_cert_chain(client)
        context.set_alpn_protocols(["sealserve/1"])
        stream = socket.socket()
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stream.connect(("127.0.0.1", fixed.port))
        with stream, context.wrap_socket(stream, server_hostname="localhost") as tls:
            tls.sendall(encode_request(names))
            while not fixed.ends:
                threading.Event().wait(0.05)
    assert isinstance(fixed.ends[0], TimeoutError)


@pytest.mark.skipif(not shutil.which("openssl"), reason="the openssl command is missing")
@pytest.mark.parametrize("protocol", ["-tls1_2", "-tls1_3"])
def test_another_tls_library_speaks_it(tmp_path, client, protocol):
    command = [
        "openssl", "s_client", "-quiet", "-verify_quiet", "-verify_return_error", "-ign_eof",
        "-alpn", "sealserve/1", protocol, "-servername", "localhost",
        "-cert", str(client), "-key", str(client),
    ]  # fmt: skip
    with serve(tmp_path, either) as fixed:
        finished = subprocess.run(
            [*command, "-connect", f"127.0.0.1:{fixed.port}", "-CAfile", str(fixed.ca_file)],
            input=encode_request(["resnet50"]), capture_output=True, timeout=60, check=False,
        )  # fmt: skip
    assert json.loads(finished.stdout[4:])["outcome"] == "answered", finished.stderr.decode()
    assert fixed.ends == [None]


@pytest.mark.skipif(not shutil.which("openssl"), reason="the openssl command is missing")
def test_another_tls_library_is_told_that_no_protocol_is_common(tmp_path, client):
    with serve(tmp_path, either) as fixed:
        finished = subprocess.run(
            ["openssl", "s_client", "-alpn", "h2", "-connect", f"127.0.0.1:{fixed.port}",
             "-CAfile", str(fixed.ca_file), "-cert", str(client), "-key", str(client)],
            input=b"", capture_output=True, timeout=60, check=False,
        )  # fmt: skip
    assert re.search(rb"no application protocol", finished.stderr)
