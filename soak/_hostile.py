"""Those who stall and those who flood, as fast as a process of their own can."""

from __future__ import annotations

import itertools
import random
import selectors
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from OpenSSL import SSL

from sealserve.attester.protocol import REQUEST
from sealserve.evidence.ratls import MALFORMED_LEGACY_OID, legacy_report_data, spki_der
from soak._process import Helper, Told, helper
from soak._world import Launcher

CLIENT_HELLO = bytes.fromhex("160301020001")  # a record of 512 bytes begins, and none of them comes
SECONDS = 10.0  # how long a flooding client waits for anything
HUGE = 60_000  # bytes of an extension: the certificate is near what a handshake takes

Sources = Sequence[str]


def sources(number: int, network: int) -> list[str]:
    """So many addresses of 127.`network`.0.0/16."""
    return [f"127.{network}.{index // 200}.{index % 200 + 1}" for index in range(number)]


@contextmanager
def loris(port: int, connections: int, where: Sources) -> Iterator[Helper]:
    """So many connections at a time, from each of `where` in turn, that hardly say anything.

    Whoever is closed by the service connects again. Tells lists of counts.
    """
    with helper(_loris, port, connections, list(where)) as process:
        process.wait()
        yield process


@contextmanager
def flood(folder: Path, port: int, where: Sources) -> Iterator[Helper]:
    """Sessions that come to nothing, one after the other, without a pause; tells one count."""
    with helper(_flood, folder, port, list(where)) as process:
        process.wait()
        yield process


def connect(port: int, source: str) -> socket.socket:
    """A connection from an address of the loopback network."""
    return socket.create_connection(("127.0.0.1", port), SECONDS, source_address=(source, 0))


def _loris(told: Told, port: int, connections: int, where: list[str]) -> None:
    """Half of them say nothing, half a byte of a ClientHello now and then."""
    selector = selectors.DefaultSelector()
    turn = itertools.cycle(where)
    count: Counter[str] = Counter()
    said: dict[socket.socket, int] = {}

    def open_one() -> None:
        try:
            stream = connect(port, next(turn))
        except OSError:
            count["not connected"] += 1
            return
        stream.setblocking(False)
        selector.register(stream, selectors.EVENT_READ)
        said[stream] = 0
        count["opened"] += 1

    def close(stream: socket.socket) -> None:
        selector.unregister(stream)
        stream.close()
        del said[stream]
        count["closed by the service"] += 1

    told_ready = False
    while not told.stopping.is_set():
        for _ in range(min(connections - len(said), 50)):
            open_one()
        if not told_ready and len(said) >= 0.9 * connections:
            told.tell(Counter())
            told_ready = True
        for key, _ in selector.select(0.05):
            close(key.fileobj)  # type: ignore[arg-type]  # whatever it is: they are through
        for stream in random.sample(list(said), min(len(said), 5)):
            if said[stream] % 2 == 0 and said[stream] < 2 * len(CLIENT_HELLO):
                at = said[stream] // 2
                try:
                    stream.send(CLIENT_HELLO[at : at + 1])
                    said[stream] += 2
                except OSError:
                    close(stream)
        count["held at most"] = max(count["held at most"], len(said))
    told.tell(count)
    for stream in said:
        stream.close()


def _flood(told: Told, folder: Path, port: int, where: list[str]) -> None:
    """Each kind in turn."""
    kinds = attacks(folder)
    told.tell(Counter())
    count: Counter[str] = Counter()
    turn = itertools.cycle(where)
    for name, attack in itertools.cycle(kinds.items()):
        if told.stopping.is_set():
            break
        try:
            with connect(port, next(turn)) as stream:
                answer = attack(stream)
        except (OSError, SSL.Error):
            answer = b""
        count[name] += 1
        count["got a secret"] += bool(answer)
    told.tell(count)


def attacks(folder: Path) -> dict[str, Callable[[socket.socket], bytes]]:
    """What a flood is made of, by name; each says what it was answered after its request."""
    launcher = Launcher.of(folder)
    key = ec.generate_private_key(ec.SECP384R1())
    genuine = launcher.quote(legacy_report_data(spki_der(key.public_key())))
    forged = bytearray(genuine)
    forged[500] ^= 1  # in the signature
    certificates = {
        "no evidence": certificate(key, None),
        "forged quote signature": certificate(key, bytes(forged)),
        "huge certificate": certificate(key, genuine + bytes(HUGE)),
    }
    found: dict[str, Callable[[socket.socket], bytes]] = {}
    for name, shown in certificates.items():
        context = client_context(shown, key)
        found[name] = lambda stream, context=context: converse(stream, context, REQUEST)  # type: ignore[misc]
    found["garbage ClientHello"] = _garbage
    return found


def certificate(key: ec.EllipticCurvePrivateKey, quote: bytes | None) -> x509.Certificate:
    """A self-signed certificate with this quote in Gramine's extension."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "RATLS")])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
    )
    if quote is not None:
        extension = x509.UnrecognizedExtension(MALFORMED_LEGACY_OID, quote)
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, hashes.SHA256())


def client_context(
    shown: x509.Certificate,
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
    protocols: Sequence[bytes] = (),
) -> SSL.Context:
    """A TLS client that believes every server."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.use_certificate(shown)
    context.use_privatekey(key)
    if protocols:
        context.set_alpn_protos(list(protocols))
    return context


def converse(
    stream: socket.socket, context: SSL.Context, request: bytes, name: bytes = b"localhost"
) -> bytes:
    """A session with one request; everything that comes back. Raises OSError, SSL.Error."""
    deadline = time.monotonic() + SECONDS
    session = SSL.Connection(context)
    session.set_tlsext_host_name(name)
    session.set_connect_state()
    answer, sent = b"", False
    while True:
        if time.monotonic() > deadline:
            raise TimeoutError("no end to it")
        try:
            if not sent:
                session.do_handshake()
                session.sendall(request)
                sent = True
            while True:
                answer += session.recv(16 << 10)
        except SSL.WantReadError:
            _pass_on(session, stream)
        except SSL.ZeroReturnError:
            return answer
        data = stream.recv(16 << 10)
        if not data:
            raise ConnectionResetError("closed")
        session.bio_write(data)


def _pass_on(session: SSL.Connection, stream: socket.socket) -> None:
    while True:
        try:
            stream.sendall(session.bio_read(16 << 10))
        except SSL.WantReadError:
            return


def _garbage(stream: socket.socket) -> bytes:
    body = random.randbytes(random.choice((64, 512, 4096)))
    stream.sendall(b"\x16\x03\x01" + len(body).to_bytes(2) + body)
    try:
        stream.shutdown(socket.SHUT_WR)
        while stream.recv(4096):  # an alert, and the end
            continue
    except OSError:
        pass
    return b""
