"""The PCCS client against a real HTTP server that is right, or wrong in the ways we could name."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sealserve.endorsements import pccs
from sealserve.endorsements.collateral import PART_LIMIT, Collateral
from sealserve.endorsements.pccs import DEFAULT_PATH, PccsClient
from sealserve.errors import CollateralError, ConfigError
from sealserve.lab.world import FMSPC, World

NOW = datetime.now(UTC)
COLLATERAL = World.create(now=NOW).collateral()
CHAINS = {
    "tcb": ("TCB-Info-Issuer-Chain", COLLATERAL.tcb_info_issuer_chain),
    "qe/identity": ("SGX-Enclave-Identity-Issuer-Chain", COLLATERAL.qe_identity_issuer_chain),
    "pckcrl": ("SGX-PCK-CRL-Issuer-Chain", COLLATERAL.pck_crl_issuer_chain),
}
BODIES = {
    "tcb": COLLATERAL.tcb_info,
    "qe/identity": COLLATERAL.qe_identity,
    "pckcrl": COLLATERAL.pck_crl,
    "rootcacrl": COLLATERAL.root_ca_crl.hex().encode(),
}


@dataclass
class Answer:
    """What the service says to one request."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Service:
    """A collateral service; `spoil` may change its answers, and sees how often it was asked."""

    url: str = ""
    asked: list[tuple[str, dict[str, list[str]]]] = field(default_factory=list)
    spoil: Callable[[str, int, Answer], Answer | None] = lambda path, count, answer: answer

    def answer(self, target: str) -> Answer | None:
        parts = urlsplit(target)
        path = parts.path.removeprefix(f"{DEFAULT_PATH}/")
        self.asked.append((path, parse_qs(parts.query)))
        good = Answer(body=BODIES.get(path, b""), status=200 if path in BODIES else 404)
        if path in CHAINS:
            name, chain = CHAINS[path]
            good.headers[name] = quote(chain)
        return self.spoil(path, self.paths.count(path), good)

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]


@contextmanager
def running(service: Service, tls: ssl.SSLContext | None = None) -> Iterator[Service]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            answer = service.answer(self.path)
            if answer is None:  # say nothing until the client has gone
                self.connection.settimeout(20)
                self.connection.recv(1)
                self.close_connection = True
                return
            self.send_response(answer.status)
            headers = {"Content-Length": str(len(answer.body))} | answer.headers
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *arguments: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = False  # so that closing waits for them

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that hangs up is what some of these tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        service.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
        yield service
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def service() -> Iterator[Service]:
    with running(Service()) as made:
        yield made


@pytest.fixture(autouse=True)
def quick_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pccs, "_FIRST_PAUSE", 0.001)


def fetch(service: Service, *, timeout: float = 20.0) -> Collateral:
    return PccsClient(service.url, timeout=timeout).collateral(FMSPC, "platform")


def only(wanted: str, change: Callable[[Answer], Answer | None]) -> Callable:
    return lambda path, count, answer: change(answer) if path == wanted else answer


def test_all_parts_are_asked_for_and_come_back_as_they_were_sent(service: Service) -> None:
    assert fetch(service) == COLLATERAL
    assert dict(service.asked) == {
        "tcb": {"fmspc": ["53494D000000"]},
        "qe/identity": {},
        "pckcrl": {"ca": ["platform"], "encoding": ["der"]},
        "rootcacrl": {},
    }


@pytest.mark.parametrize("suffix", ["", "/", DEFAULT_PATH, f"{DEFAULT_PATH}/"])
def test_the_base_url_may_have_its_path_or_not(service: Service, suffix: str) -> None:
    assert PccsClient(service.url + suffix).collateral(FMSPC, "platform") == COLLATERAL


def test_the_older_name_of_the_tcb_header_will_do(service: Service) -> None:
    def rename(answer: Answer) -> Answer:
        return Answer(
            body=answer.body, headers={"SGX-TCB-Info-Issuer-Chain": quote(CHAINS["tcb"][1])}
        )

    service.spoil = only("tcb", rename)
    assert fetch(service) == COLLATERAL


def test_crls_may_be_hex_whatever_was_asked_for(service: Service) -> None:
    def in_hex(answer: Answer) -> Answer:
        return Answer(body=answer.body.hex().encode(), headers=answer.headers)

    service.spoil = only("pckcrl", in_hex)
    assert fetch(service) == COLLATERAL


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_may_get_better_is_tried_again(service: Service, status: int) -> None:
    service.spoil = lambda path, count, answer: Answer(status) if count < 3 else answer
    assert fetch(service) == COLLATERAL
    assert service.paths.count("tcb") == 3


def test_a_connection_that_is_dropped_is_tried_again(service: Service) -> None:
    def drop_first(path: str, count: int, answer: Answer) -> Answer:
        return (
            Answer(headers={"Content-Length": "9", "Connection": "close"}) if count == 1 else answer
        )

    service.spoil = drop_first
    assert fetch(service) == COLLATERAL


def test_attempts_come_to_an_end(service: Service) -> None:
    service.spoil = lambda path, count, answer: Answer(503)
    with pytest.raises(CollateralError, match="HTTP 503"):
        fetch(service)
    assert max(service.paths.count(path) for path in BODIES) == 4


@pytest.mark.parametrize(
    ("status", "told"),
    [(404, "nothing for this platform"), (410, "no longer speaks"), (400, "HTTP 400")],
)
def test_what_will_not_get_better_is_not_tried_again(
    service: Service, status: int, told: str
) -> None:
    service.spoil = only("tcb", lambda answer: Answer(status))
    with pytest.raises(CollateralError, match=told):
        fetch(service)
    assert service.paths.count("tcb") == 1


def test_a_redirect_is_not_followed(service: Service) -> None:
    service.spoil = only("tcb", lambda answer: Answer(302, headers={"Location": "/elsewhere"}))
    with pytest.raises(CollateralError, match="HTTP 302"):
        fetch(service)
    assert "/elsewhere" not in service.paths


@pytest.mark.parametrize(
    ("change", "told"),
    [
        pytest.param(lambda a: Answer(body=a.body), "no TCB-Info-Issuer-Chain", id="no-chain"),
        pytest.param(
            lambda a: Answer(body=a.body, headers={"TCB-Info-Issuer-Chain": "x" * 40000}),
            "too long",
            id="long-chain",
        ),
        pytest.param(
            lambda a: Answer(body=bytes(PART_LIMIT + 1), headers=a.headers),
            "exceeds",
            id="large-body",
        ),
        pytest.param(
            lambda a: Answer(body=a.body, headers=a.headers | {"Content-Encoding": "gzip"}),
            "compressed",
            id="compressed",
        ),
    ],
)
def test_an_answer_that_is_wrong_is_no_collateral(
    service: Service, change: Callable[[Answer], Answer], told: str
) -> None:
    service.spoil = only("tcb", change)
    with pytest.raises(CollateralError, match=told):
        fetch(service)


def test_a_service_that_says_nothing_is_given_up_at_the_deadline(service: Service) -> None:
    service.spoil = only("qe/identity", lambda answer: None)
    with pytest.raises(CollateralError, match=r"did not answer within 0\.5 seconds"):
        fetch(service, timeout=0.5)


def test_a_long_retry_after_does_not_move_the_deadline(service: Service) -> None:
    service.spoil = only("tcb", lambda answer: Answer(429, headers={"Retry-After": "86400"}))
    with pytest.raises(CollateralError, match="did not answer within"):
        fetch(service, timeout=0.5)


@pytest.mark.parametrize("part", ["header", "body"])
def test_a_service_that_drips_is_given_up_at_the_deadline(part: str) -> None:
    """Each byte comes in good time; all of them never would."""
    stop = threading.Event()

    def drip(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=drip_to, args=(connection,), daemon=True).start()

    def drip_to(connection: socket.socket) -> None:
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            if part == "body":
                connection.sendall(b"Content-Length: 1000\r\n\r\n")
            while not stop.is_set():
                try:
                    connection.sendall(b"x")
                except OSError:
                    return
                time.sleep(0.02)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,), daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            with pytest.raises(CollateralError, match="did not answer within"):
                PccsClient(url, timeout=0.5).collateral(FMSPC, "platform")
        finally:
            stop.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_nobody_there_is_told_with_the_host() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(CollateralError, match=r"cannot reach 127\.0\.0\.1"):
        PccsClient(f"http://127.0.0.1:{port}").collateral(FMSPC, "platform")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `cert.pem` and `key.pem` of a server at 127.0.0.1, its own authority."""
    folder = tmp_path_factory.mktemp("authority")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "pccs")])
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(True, None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return folder


def test_a_private_authority_is_trusted_when_it_is_named(authority: Path) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(authority / "cert.pem", authority / "key.pem")
    with running(Service(), tls) as service:
        client = PccsClient(service.url, ca_file=authority / "cert.pem")
        assert client.collateral(FMSPC, "platform") == COLLATERAL
        with pytest.raises(CollateralError, match="cannot reach"):
            fetch(service)


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("http://pccs.example:8081", id="http-to-elsewhere"),
        pytest.param("http://10.0.0.1", id="http-to-a-private-address"),
        pytest.param("http://127.0.0.1.example", id="http-to-a-name-like-loopback"),
        pytest.param("ftp://127.0.0.1/", id="ftp"),
        pytest.param("file:///etc/passwd", id="file"),
        pytest.param("pccs.example", id="no-scheme"),
        pytest.param("https://", id="no-host"),
        pytest.param("https://user:secret@pccs.example", id="credentials"),
        pytest.param("https://pccs.example/?a=b", id="query"),
        pytest.param("https://pccs.example/#a", id="fragment"),
        pytest.param("https://[::1", id="no-url"),
    ],
)
def test_a_url_that_is_unsafe_or_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        PccsClient(url)
    assert "secret" not in caught.value.message


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "[::1]", "localhost"])
def test_plain_http_is_for_this_machine(host: str) -> None:
    PccsClient(f"http://{host}:8081")


def test_an_authority_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.pem"):
        PccsClient("https://pccs.example", ca_file=tmp_path / "missing.pem")


def test_an_fmspc_has_six_bytes(service: Service) -> None:
    with pytest.raises(ConfigError, match="6 bytes"):
        PccsClient(service.url).collateral(b"\0" * 5, "platform")
    assert service.asked == []
