"""A collateral service over a real socket, which is right until a test spoils it.

It speaks versions 3 and 4 of the interface, for SGX and TDX, with the header names of each, and
remembers what it was asked. `tls` and `proxy` put it behind the hosts of the world.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sealserve.endorsements.collateral import Collateral
from sealserve.endorsements.pccs import fetching
from sealserve.lab.world import FMSPC, World

NOW = datetime.now(UTC)
SGX = World.create(now=NOW).collateral()
# The client reads nothing of these; they need only be others than those of SGX.
TDX = replace(SGX, tcb_info=b'{"tcbInfo": "TDX"}', qe_identity=b'{"enclaveIdentity": "TD_QE"}')
EARLY = replace(SGX, tcb_info=b'{"tcbInfo": "early"}', qe_identity=b'{"enclaveIdentity": "early"}')
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@dataclass(frozen=True)
class Asked:
    """One request as it came."""

    host: str
    tee: str
    version: str
    path: str
    query: dict[str, str]
    """Names and values as they were sent, but for one percent-decoding."""
    key: str | None


@dataclass(frozen=True)
class Answer:
    """What the service says to one request."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


Spoil = Callable[[str, int, Answer], Answer | None]


@dataclass
class PccsServer:
    """The service; `spoil` may change an answer, and sees how often its path was asked for."""

    url: str = ""
    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    spoil: Spoil = lambda path, count, answer: answer

    @property
    def paths(self) -> list[str]:
        return [asked.path for asked in self.asked]

    def spoil_only(self, path: str, change: Callable[[Answer], Answer | None]) -> None:
        self.spoil = lambda asked, count, answer: change(answer) if asked == path else answer

    def answer(self, host: str, target: str, key: str | None) -> Answer | None:
        asked = self._read(host, target, key)
        self.asked.append(asked)
        return self.spoil(asked.path, self.paths.count(asked.path), _answer(asked))

    @staticmethod
    def _read(host: str, target: str, key: str | None) -> Asked:
        parts = urlsplit(target)
        pairs = (pair.partition("=") for pair in parts.query.split("&") if pair)
        query = {name: unquote(value) for name, _, value in pairs}
        _, tee, *rest = parts.path.split("/", 4)
        if rest[:1] != ["certification"]:
            return Asked(host, "", "", parts.path, query, key)
        return Asked(host, tee, rest[1], rest[2], query, key)


def _answer(asked: Asked) -> Answer:
    collateral = TDX if asked.tee == "tdx" else EARLY if "update" in asked.query else SGX
    tcb_header = "TCB-Info-Issuer-Chain" if asked.version == "v4" else "SGX-TCB-Info-Issuer-Chain"
    in_hex = collateral.pck_crl.hex().encode()
    pck_crl = collateral.pck_crl if asked.query.get("encoding") == "der" else in_hex
    parts = {
        "tcb": (collateral.tcb_info, tcb_header, collateral.tcb_info_issuer_chain),
        "qe/identity": (
            collateral.qe_identity,
            "SGX-Enclave-Identity-Issuer-Chain",
            collateral.qe_identity_issuer_chain,
        ),
        "pckcrl": (pck_crl, "SGX-PCK-CRL-Issuer-Chain", collateral.pck_crl_issuer_chain),
        "rootcacrl": (collateral.root_ca_crl.hex().encode(), "X-None", b""),
        "/IntelSGXRootCA.der": (collateral.root_ca_crl, "X-None", b""),
    }
    if asked.path not in parts:
        return Answer(404)
    body, header, chain = parts[asked.path]
    return Answer(200, body, {header: quote(chain)})


@contextmanager
def serving(server: PccsServer, tls: ssl.SSLContext | None = None) -> Iterator[PccsServer]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            key = self.headers.get("Ocp-Apim-Subscription-Key")
            answer = server.answer(self.headers["Host"], self.path, key)
            if answer is None:  # say nothing until the client has gone
                self.connection.settimeout(20)
                self.connection.recv(1)
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in ({"Content-Length": str(len(answer.body))} | answer.headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *arguments: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = False  # so that closing waits for them

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that hangs up is what some of these tests are about."""

    listener = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        listener.socket = tls.wrap_socket(listener.socket, server_side=True)
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        server.port = listener.server_port
        server.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.port}"
        yield server
    finally:
        listener.shutdown()
        thread.join()
        listener.server_close()


@dataclass(frozen=True)
class Authority:
    """A private authority, and the certificate of every host that these tests speak of."""

    certificate: Path
    server: ssl.SSLContext


HOSTS = (
    "pccs.example",
    "*.trustedservices.intel.com",
    "*.acccache.azure.net",
    "*.thim.azure.net",
    "*.aliyuncs.com",
    "sgx-dcap-server.cn-hangzhou.aliyuncs.com",
    "sgx-dcap-server-tc.sh.tencent.cn",
    "sgx-dcap-server.bytedance.com",
)


def _authority(folder: Path) -> Authority:
    """An authority that is its own server: at 127.0.0.1 and under each of `HOSTS`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "collateral service")])
    names = [x509.DNSName(host) for host in HOSTS]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1")), *names]),
            critical=False,
        )
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
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return Authority(folder / "cert.pem", tls)


@dataclass
class Proxy:
    """A CONNECT proxy that leads to one port whatever it is asked for, and remembers that."""

    port: int
    leads_to: int
    asked: list[str] = field(default_factory=list)
    credentials: list[str | None] = field(default_factory=list)
    refusal: bytes | None = None


@contextmanager
def proxying(leads_to: int) -> Iterator[Proxy]:
    listener = socket.create_server(("127.0.0.1", 0))
    proxy = Proxy(listener.getsockname()[1], leads_to)
    threads: list[threading.Thread] = []

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=_tunnel, args=(proxy, client)))
            threads[-1].start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield proxy
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        accepting.join()
        listener.close()
        for thread in threads:
            thread.join()


def _tunnel(proxy: Proxy, client: socket.socket) -> None:
    with client, client.makefile("rb") as stream:
        request = stream.readline().decode()
        headers = dict(_headers(iter(stream.readline, b"\r\n")))
        proxy.asked.append(request.removesuffix(" HTTP/1.1\r\n"))
        proxy.credentials.append(headers.get("proxy-authorization"))
        if proxy.refusal is not None:
            client.sendall(proxy.refusal)
            return
        with socket.create_connection(("127.0.0.1", proxy.leads_to)) as server:
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=_pump, args=(server, client))
            back.start()
            _pump(client, server)
            back.join()


def _headers(lines: Iterator[bytes]) -> Iterator[tuple[str, str]]:
    for line in lines:
        name, _, value = line.decode().partition(":")
        yield name.lower(), value.strip()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@pytest.fixture(autouse=True)
def quick_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "_FIRST_PAUSE", 0.001)


@pytest.fixture(autouse=True)
def no_proxies_but_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def fmspc() -> bytes:
    return FMSPC


@pytest.fixture
def sgx() -> Collateral:
    return SGX


@pytest.fixture
def tdx() -> Collateral:
    return TDX


@pytest.fixture
def early() -> Collateral:
    return EARLY


@pytest.fixture
def server() -> Iterator[PccsServer]:
    """The service at 127.0.0.1, over plain HTTP."""
    with serving(PccsServer()) as made:
        yield made


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return _authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def tls_server(authority: Authority) -> Iterator[PccsServer]:
    """The same over TLS."""
    with serving(PccsServer(), authority.server) as made:
        yield made


@pytest.fixture
def proxy(tls_server: PccsServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """The way to every host, which ends at `tls_server`; named in the environment."""
    with proxying(tls_server.port) as made:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{made.port}")
        yield made


@pytest.fixture
def speaking() -> Iterator[Callable[[Callable[[socket.socket], None]], str]]:
    """Starts servers that are no HTTP servers: each connection is handed to a function.

    It is called once the request is there, and again where the connection is used again.
    """
    listeners: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def start(speak: Callable[[socket.socket], None]) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threads.append(threading.Thread(target=handle, args=(connection,)))
                threads[-1].start()

        def handle(connection: socket.socket) -> None:
            with connection, suppress(OSError):
                connection.settimeout(30)
                while connection.recv(1 << 16):
                    speak(connection)

        threads.append(threading.Thread(target=accept))
        threads[-1].start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
    for thread in threads:
        thread.join()
