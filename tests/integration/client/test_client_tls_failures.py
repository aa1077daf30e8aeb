"""Every usual way in which TLS does not come about, with the reason that a person reads."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from sealserve.client import Client
from sealserve.client.credentials import load_credentials
from sealserve.client.diagnosis import diagnose
from sealserve.deploy.certificates import Pair, Validity, make_server
from sealserve.errors import NetworkError
from sealserve.hosts import Address

NAME = "models.example.com"
ONE = np.ones((1, 4, 4, 1), np.float32)


def _options(world: Any, **changes: Any) -> dict[str, Any]:
    right = {
        "ca": world.authority.certificate_pem,
        "certificate": world.client.certificate_pem,
        "private_key": world.client.key_pem,
        "server_name": NAME,
    }
    return right | changes


def _certificate_of(pair: Any) -> dict[str, bytes]:
    return {"certificate": pair.certificate_pem, "private_key": pair.key_pem}


NO_CERTIFICATE = {"certificate": None, "private_key": None}
SERVER, MUTUAL = "server", True
CASES: dict[str, tuple[str | None, bool, Callable[[Any], dict[str, Any]], str, str]] = {
    "no client certificate": (
        SERVER,
        MUTUAL,
        lambda world: NO_CERTIFICATE,
        "network.tls.client-certificate-required",
        "demands a client certificate, and none was given",
    ),
    "a client certificate of another CA": (
        SERVER,
        MUTUAL,
        lambda world: _certificate_of(world.stranger_client),
        "network.tls.client-certificate-refused",
        "does not accept our client certificate",
    ),
    "an expired client certificate": (
        SERVER,
        MUTUAL,
        lambda world: _certificate_of(world.expired_client),
        "network.tls.client-certificate-refused",
        "which expired on 20",
    ),
    "a server's certificate as the client's": (
        SERVER,
        MUTUAL,
        lambda world: _certificate_of(world.server),
        "network.tls.client-certificate-refused",
        "does not accept our client certificate",
    ),
    "another CA": (
        SERVER,
        MUTUAL,
        lambda world: {"ca": world.stranger.certificate_pem},
        "network.tls.unknown-ca",
        "is not signed by the CA given",
    ),
    "no CA": (
        SERVER,
        MUTUAL,
        lambda world: {"ca": None},
        "network.tls.unknown-ca",
        "is not signed by the public roots",
    ),
    "another name": (
        SERVER,
        MUTUAL,
        lambda world: {"server_name": "other.example.com"},
        "network.tls.name-mismatch",
        "is not for other.example.com but for models.example.com, localhost",
    ),
    "an IP address that the certificate lacks": (
        SERVER,
        MUTUAL,
        lambda world: {"server_name": None},
        "network.tls.name-mismatch",
        "is not for 127.0.0.1 but for models.example.com, localhost",
    ),
    "an expired server certificate": (
        "expired_server",
        MUTUAL,
        lambda world: {},
        "network.tls.expired",
        "has expired",
    ),
    "a server for clients": (
        "client",
        MUTUAL,
        lambda world: {"server_name": "client"},
        "network.tls.certificate",
        "purpose",
    ),
    "a server without TLS": (
        None,
        not MUTUAL,
        lambda world: {},
        "network.tls.not-tls",
        "does not speak TLS",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_failure_of_tls_has_its_own_clear_reason(
    case: str, world: Any, start_replica: Any
) -> None:
    server, mutual, change, code, words = CASES[case]
    replica = start_replica(None if server is None else getattr(world, server), mutual=mutual)
    options = _options(world, **change(world))
    with (
        Client(replica.address, timeout=20.0, **options) as client,
        pytest.raises(NetworkError) as caught,
    ):
        client.predict("double", {"input": ONE})
    assert caught.value.code == code
    assert words in str(caught.value)
    assert caught.value.hint
    assert replica.requests == []


def test_a_port_where_nothing_listens_is_named(world: Any) -> None:
    with (
        Client("127.0.0.1:1", timeout=20.0, **_options(world)) as client,
        pytest.raises(NetworkError, match=r"nothing listens on 127\.0\.0\.1:1") as caught,
    ):
        client.status("double")
    assert caught.value.code == "network.refused"


@pytest.mark.parametrize("targets", ["no-such-host.invalid:1", "no-such-host.invalid:1,[::1]:1"])
def test_a_name_without_an_address_is_named(targets: str, world: Any) -> None:
    with (
        pytest.raises(NetworkError, match=r"no-such-host\.invalid") as caught,
        Client(targets, timeout=20.0, **_options(world)) as client,
    ):
        client.status("double")
    assert caught.value.code == "network.name-resolution"


def test_plaintext_towards_tls_is_named(world: Any, start_replica: Any) -> None:
    with (
        Client(start_replica().address, timeout=20.0, dangerously_plaintext=True) as client,
        pytest.raises(NetworkError) as caught,
    ):
        client.predict("double", {"input": ONE})
    assert caught.value.code == "network.tls.expected"


@pytest.mark.parametrize("mutual", [False, True], ids=["one-way", "mutual"])
def test_nothing_is_found_where_nothing_is_wrong(
    mutual: bool, world: Any, start_replica: Any
) -> None:
    replica = start_replica(mutual=mutual)
    credentials = load_credentials(
        world.authority.certificate_pem, world.client.certificate_pem, world.client.key_pem
    )
    address = Address("127.0.0.1", replica.port)
    assert diagnose(address, credentials, NAME, timeout=10.0) is None


def test_a_self_signed_server_certificate_is_its_own_root(start_replica: Any) -> None:
    """The one-way mode of the guide: the client is given `server/cert.pem`."""
    server = make_server([NAME], Validity(datetime.now(UTC), 1), issuer=None)
    replica = start_replica(server, mutual=False)
    with Client(replica.address, ca=server.certificate_pem, server_name=NAME) as client:
        client.predict("double", {"input": ONE})
    assert len(replica.requests) == 1


def _certificate_without_alternative_names() -> Pair:
    """What the guide's scripts make: RSA, self-signed, a CA, its name in the subject alone."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1))
    builder = builder.not_valid_after(now + timedelta(days=1))
    builder = builder.add_extension(x509.BasicConstraints(True, None), critical=True)
    return Pair(builder.sign(key, hashes.SHA256()), key)


def test_a_certificate_of_the_published_guide_works_with_its_common_name_alone(
    start_replica: Any,
) -> None:
    server = _certificate_without_alternative_names()
    replica = start_replica(server, mutual=False)
    with Client(replica.address, ca=server.certificate_pem, server_name=NAME) as client:
        client.predict("double", {"input": ONE})
    credentials = load_credentials(server.certificate_pem, None, None)
    address = Address("127.0.0.1", replica.port)
    assert diagnose(address, credentials, NAME, timeout=10.0) is None


Serve = Callable[[socket.socket], None]


@pytest.fixture
def peer() -> Iterator[Callable[[Serve], Address]]:
    """Serve connections, one after the other, by a function; returns the address."""
    listener = socket.create_server(("127.0.0.1", 0))

    def start(serve: Serve) -> Address:
        def loop() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with closing(connection):
                    connection.settimeout(10)
                    serve(connection)

        thread = threading.Thread(target=loop, daemon=True)
        thread.start()
        return Address("127.0.0.1", listener.getsockname()[1])

    yield start
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def _server_context(world: Any, folder: Path) -> ssl.SSLContext:
    (folder / "both.pem").write_bytes(world.server.certificate_pem + world.server.key_pem)
    (folder / "ca.pem").write_bytes(world.authority.certificate_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "both.pem")
    context.load_verify_locations(folder / "ca.pem")
    return context


def _serve_tls(context: ssl.SSLContext) -> Serve:
    def serve(connection: socket.socket) -> None:
        try:
            with context.wrap_socket(connection, server_side=True) as tls:
                tls.recv(1)
        except OSError:
            return

    return serve


def test_servers_that_send_alerts_are_understood_in_both_versions_of_tls(
    world: Any, peer: Any, tmp_path: Path
) -> None:
    context = _server_context(world, tmp_path)
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"])
    address = peer(_serve_tls(context))
    bare = load_credentials(world.authority.certificate_pem, None, None)
    stranger = load_credentials(
        world.authority.certificate_pem,
        world.stranger_client.certificate_pem,
        world.stranger_client.key_pem,
    )
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context.maximum_version = version
        without = diagnose(address, bare, NAME, timeout=10.0)
        with_another = diagnose(address, stranger, NAME, timeout=10.0)
        assert without is not None and with_another is not None
        assert without.code == "network.tls.client-certificate-required"
        assert with_another.code == "network.tls.client-certificate-refused"


@pytest.mark.parametrize("protocols", [["http/1.1"], []], ids=["REST", "no ALPN"])
def test_a_tls_server_that_is_no_grpc_server_is_named(
    protocols: list[str], world: Any, peer: Any, tmp_path: Path
) -> None:
    context = _server_context(world, tmp_path)
    context.set_alpn_protocols(protocols)
    address = peer(_serve_tls(context))
    credentials = load_credentials(world.authority.certificate_pem, None, None)
    finding = diagnose(address, credentials, NAME, timeout=10.0)
    assert finding is not None
    assert finding.code == "network.tls.not-grpc"


def test_a_peer_that_closes_at_once_and_one_that_says_nothing_are_told_apart(
    world: Any, peer: Any
) -> None:
    credentials = load_credentials(world.authority.certificate_pem, None, None)
    at_once = diagnose(peer(lambda connection: None), credentials, NAME, timeout=10.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = Address("127.0.0.1", silent.getsockname()[1])
        never = diagnose(address, credentials, NAME, timeout=0.3)
    assert at_once is not None and never is not None
    assert (at_once.code, never.code) == ("network.tls.closed", "network.timeout")
