"""What a client may do wrong, by malice or not, and that it harms nobody but itself."""

from __future__ import annotations

import contextlib
import socket
import ssl
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, rsa
from OpenSSL import SSL

from sealserve.attester.protocol import REQUEST
from sealserve.attester.secrets import fetch_secret
from sealserve.deploy.certificates import Validity, make_authority, make_client
from sealserve.errors import NetworkError


def fetch(running):
    identity = running.site.identity()
    return fetch_secret(
        running.servers, ca_file=running.site.ca_file, identity=identity, timeout=30
    )


@contextlib.contextmanager
def connect(running):
    with socket.create_connection(("127.0.0.1", running.address.port), timeout=30) as stream:
        yield stream


@pytest.fixture
def context(running, tmp_path):
    """A stock TLS client with the RA-TLS certificate of the enclave that the policy names."""
    context = ssl.create_default_context(cafile=running.site.ca_file)
    load_identity(context, running.site.identity(), tmp_path)
    return context


def load_identity(context, identity, folder):
    parsed = x509.load_der_x509_certificate(identity.certificate_der)
    load_pair(context, parsed, identity.private_key, folder)


def load_pair(context, certificate, key, folder):
    file = folder / "client.pem"
    file.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context.load_cert_chain(file)


def converse(running, context, *messages):
    """What a TLS client gets that sends these messages; None when the session breaks."""
    with (
        connect(running) as stream,
        context.wrap_socket(stream, server_hostname="localhost") as tls,
    ):
        try:
            for message in messages:
                tls.sendall(message)
            return b"".join(iter(lambda: tls.recv(4096), b""))
        except (ssl.SSLError, ConnectionError):
            return None


def test_the_stock_client_of_these_tests_is_served(running, context):
    assert converse(running, context, REQUEST).endswith(running.site.secret)


def test_a_request_in_small_pieces_is_served(running, context):
    pieces = [REQUEST[at : at + 1] for at in range(len(REQUEST))]
    assert converse(running, context, *pieces).endswith(running.site.secret)


@pytest.mark.parametrize(
    "messages",
    [
        pytest.param([b"GET / HTTP/1.1\r\n\r\n"], id="another protocol"),
        pytest.param([REQUEST + b"x"], id="a byte too many"),
        pytest.param([REQUEST[:-1], b"\n"], id="wrong at its end"),
        pytest.param([bytes(1 << 20)], id="a megabyte of zeros"),
        pytest.param([REQUEST * 1000], id="a thousand requests"),
    ],
)
def test_any_other_request_gets_nothing_and_no_decision(running, context, messages):
    assert not converse(running, context, *messages)
    assert running.site.records() == []
    assert fetch(running) == running.site.secret


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: keys\r\n\r\n", id="http"),
        pytest.param(bytes(range(256)) * 64, id="noise"),
        pytest.param(b"\x16\x03\x01\xff\xff" + bytes(70_000), id="an oversize TLS record"),
        pytest.param(REQUEST, id="the request without TLS"),
    ],
)
def test_who_speaks_no_tls_is_closed_and_others_are_served(running, sent):
    with connect(running) as stream, contextlib.suppress(ConnectionError):
        stream.sendall(sent)
        stream.shutdown(socket.SHUT_WR)
        while stream.recv(4096):
            pass
    assert fetch(running) == running.site.secret


def test_without_a_certificate_there_is_no_session(running):
    context = ssl.create_default_context(cafile=running.site.ca_file)
    with pytest.raises(ssl.SSLError, match=r"(?i)certificate.required|handshake.failure"):
        raise_alert(running, context)
    assert running.site.records() == []


def noise_signer(bits, exponent):
    """An RSA key of these measures that nobody has: it signs with noise, at no cost."""
    half = (1 << bits // 2) - 1
    numbers = [0, (1 << bits) - 1, exponent, 3, half, half - 2, 3, 3, 3]
    body = b"".join(der(0x02, number.to_bytes(number.bit_length() // 8 + 1)) for number in numbers)
    private = serialization.load_der_private_key(
        der(0x30, body), None, unsafe_skip_rsa_key_validation=True
    )
    return rsa.RSAPublicNumbers(exponent, numbers[1]).public_key(), private


def der(tag, content):
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(octets)]) + octets + content


@pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION])
@pytest.mark.parametrize(
    ("bits", "exponent", "cut"),
    [
        pytest.param(3072, 65537, "bad signature", id="a usual key that is not one's own"),
        pytest.param(16384, 65537, "certificate verify failed", id="16384 bits"),
        pytest.param(
            3072, (1 << 3071) + 1, "certificate verify failed", id="an exponent of 3072 bits"
        ),
    ],
)
def test_who_does_not_hold_the_key_ends_in_the_handshake_a_slow_key_before_it_is_used(
    running, caplog, bits, exponent, cut, version
):
    caplog.set_level("INFO")
    public_key, private_key = noise_signer(bits, exponent)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "RATLS")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public_key)
        .serial_number(1)
        .not_valid_before(datetime(2001, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2030, 12, 31, tzinfo=UTC))
        .sign(rsa.generate_private_key(65537, 2048), hashes.SHA256())
    )
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_max_proto_version(version)
    context.use_certificate(certificate)
    context.use_privatekey(private_key)
    with connect(running) as stream:
        stream.settimeout(None)  # pyOpenSSL would take a timeout for a socket that does not block
        tls = SSL.Connection(context, stream)
        tls.set_connect_state()
        with pytest.raises(SSL.Error):
            tls.do_handshake()
            tls.recv(1)
    assert fetch(running) == running.site.secret
    assert [record["outcome"] for record in running.site.records()] == ["released"]
    (ended,) = (text for text in caplog.messages if "event=session_ended" in text)
    assert cut in ended


def test_a_key_for_dsa_is_refused_before_it_is_used(running, tmp_path, caplog):
    """OpenSSL takes one of 10,000 bits, which is as slow to check as an RSA key of that size."""
    caplog.set_level("INFO")
    key = dsa.generate_private_key(2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "RATLS")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2001, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2030, 12, 31, tzinfo=UTC))
        .sign(key, hashes.SHA256())
    )
    context = ssl.create_default_context(cafile=running.site.ca_file)
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # TLS 1.3 knows no DSA
    load_pair(context, certificate, key, tmp_path)
    with connect(running) as stream, pytest.raises(ssl.SSLError):
        context.wrap_socket(stream, server_hostname="localhost").close()
    assert fetch(running) == running.site.secret
    assert [record["outcome"] for record in running.site.records()] == ["released"]
    (ended,) = (text for text in caplog.messages if "event=session_ended" in text)
    assert "certificate verify failed" in ended


def test_a_certificate_that_a_ca_has_signed_is_none_of_ratls(running, tmp_path):
    validity = Validity(datetime.now(UTC), 2)
    pair = make_client("thief.example", validity, issuer=make_authority(validity))
    context = ssl.create_default_context(cafile=running.site.ca_file)
    load_pair(context, pair.certificate, pair.key, tmp_path)
    with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
        raise_alert(running, context)
    assert running.site.records() == []


def raise_alert(running, context):
    """In TLS 1.3 a client hears that its certificate was refused when it reads."""
    with (
        connect(running) as stream,
        context.wrap_socket(stream, server_hostname="localhost") as tls,
    ):
        tls.sendall(REQUEST)
        tls.recv(4096)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_tls_older_than_1_2_is_refused(running, context, version):
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        context.minimum_version = context.maximum_version = version
    with pytest.raises((ssl.SSLError, ConnectionError)):
        raise_alert(running, context)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_is_never_resumed_so_each_shows_its_evidence(running, context, version):
    context.minimum_version = context.maximum_version = version
    session, resumed = None, []
    for _ in range(2):
        with (
            connect(running) as stream,
            context.wrap_socket(stream, server_hostname="localhost", session=session) as tls,
        ):
            tls.sendall(REQUEST)
            assert tls.recv(4096)
            resumed.append(tls.session_reused)
            session = tls.session
    assert resumed == [False, False]
    assert len(running.site.records()) == 2


def test_a_session_is_not_renegotiated(running):
    identity = running.site.identity()
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    context.use_certificate(x509.load_der_x509_certificate(identity.certificate_der))
    context.use_privatekey(identity.private_key)
    with connect(running) as stream:
        stream.setblocking(True)
        client = SSL.Connection(context, stream)
        client.set_connect_state()
        client.do_handshake()
        assert client.renegotiate()
        with pytest.raises(SSL.Error, match="no renegotiation"):
            client.do_handshake()
    assert fetch(running) == running.site.secret


@pytest.mark.parametrize(
    "start_of_session",
    [
        pytest.param(b"", id="before the first byte"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01", id="in the ClientHello"),
    ],
)
def test_a_client_that_stalls_in_the_handshake_is_dropped_while_others_are_served(
    make_site, start, start_of_session
):
    site = make_site(limits="handshake_seconds = 4")
    with start(site) as running, connect(running) as stalled:
        stalled.sendall(start_of_session)
        assert fetch(running) == site.secret
        assert stalled.recv(1) == b""


def hear_every_end(context: ssl.SSLContext, stream: socket.socket) -> ssl.SSLSocket:
    """A session in which an end without TLS's close message is an error, on every OpenSSL."""
    context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    return context.wrap_socket(stream, server_hostname="localhost", suppress_ragged_eofs=False)


def test_a_client_that_stalls_before_its_request_is_dropped_while_others_are_served(
    make_site, start, tmp_path
):
    site = make_site(limits="idle_seconds = 4")
    context = ssl.create_default_context(cafile=site.ca_file)
    load_identity(context, site.identity(), tmp_path)
    with (
        start(site) as running,
        connect(running) as stream,
        hear_every_end(context, stream) as stalled,
    ):
        stalled.sendall(REQUEST[:10])
        assert fetch(running) == site.secret
        with pytest.raises((ssl.SSLError, ConnectionError)):
            stalled.recv(1) or stalled.unwrap()
    assert len(site.records()) == 1


def test_a_client_that_drips_is_dropped_when_its_whole_time_is_up(make_site, start, tmp_path):
    site = make_site(limits="session_seconds = 6")
    context = ssl.create_default_context(cafile=site.ca_file)
    load_identity(context, site.identity(), tmp_path)
    with (
        start(site) as running,
        connect(running) as stream,
        hear_every_end(context, stream) as dripping,
    ):
        dripping.settimeout(0.05)
        for byte in REQUEST[:-1]:
            dripping.sendall(bytes([byte]))
            with contextlib.suppress(TimeoutError):
                dripping.recv(1)
        dripping.settimeout(30)  # it has half a request, and waits
        with pytest.raises((ssl.SSLError, ConnectionError)):
            dripping.recv(1) or dripping.unwrap()
    assert site.records() == []


def test_beyond_the_limit_of_sessions_who_stalls_makes_room(make_site, start, caplog):
    site = make_site(limits="max_sessions = 2")
    with start(site) as running:
        with connect(running) as oldest, connect(running) as younger:
            oldest.sendall(b"\x16")
            younger.sendall(b"\x16")
            assert fetch(running) == site.secret
            assert is_closed(oldest)
        assert fetch(running) == site.secret
    assert "event=refused evicted=1" in caplog.text


def is_closed(stream):
    with contextlib.suppress(ConnectionError):
        return stream.recv(1) == b""
    return True


def test_a_stopping_service_lets_open_sessions_end(make_site, start, tmp_path):
    site = make_site()
    context = ssl.create_default_context(cafile=site.ca_file)
    load_identity(context, site.identity(), tmp_path)
    with contextlib.ExitStack() as stack:
        service = stack.enter_context(contextlib.ExitStack())
        running = service.enter_context(start(site))
        stream = stack.enter_context(connect(running))
        tls = stack.enter_context(context.wrap_socket(stream, server_hostname="localhost"))
        assert fetch(running) == site.secret  # by now the first session is accepted
        running.stop()
        with pytest.raises(NetworkError):
            refused_everywhere(running)
        tls.sendall(REQUEST)
        answer = b"".join(iter(lambda: tls.recv(4096), b""))
    assert answer.endswith(site.secret)


def refused_everywhere(running):
    for _ in range(50):
        fetch(running)
