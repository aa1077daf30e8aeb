"""A real listener on loopback, with a decision that the test makes, and clients from any source."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from fixed_decisions import make_identity, released
from sealserve.attester.protocol import REQUEST, ResponseParser
from sealserve.deploy.certificates import Validity, make_authority, make_server
from sealserve.hosts import Address, ListenAddress
from sealserve.keyservice.asking import Answer, Ask
from sealserve.keyservice.limits import Limits
from sealserve.keyservice.server import KeyServer
from sealserve.keyservice.tls import server_context
from sealserve.keyservice.visit import Network

SECRET = bytes.fromhex("5ea15e4ce0ff1cea5ea15e4ce0ff1cea")
PATIENCE = 60
LONG = {"handshake_seconds": 60, "idle_seconds": 60, "session_seconds": 100}

Deciding = Callable[[Ask], Awaitable[Answer]]


class SteppedLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock a test may put forward."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


@dataclass
class Recorder:
    """An observer that keeps count."""

    opened: int = 0
    ends: Counter = field(default_factory=Counter)
    refusals: Counter = field(default_factory=Counter)
    handshakes: Counter = field(default_factory=Counter)

    def session_opened(self) -> None:
        self.opened += 1

    def session_ended(self, how: str) -> None:
        self.ends[how] += 1

    def refused(self, reason: str) -> None:
        self.refusals[reason] += 1

    def handshake(self, seconds: float, ok: bool) -> None:
        assert seconds >= 0
        self.handshakes[ok] += 1


async def release(_ask: Ask) -> Answer:
    """Everybody gets the secret."""
    return Answer((released(None, SECRET),), {})


@dataclass
class Listening:
    """A key service's listener in a thread of its own."""

    address: Address
    ca_file: Path
    context: ssl.SSLContext
    loop: SteppedLoop
    server: KeyServer
    seen: Recorder
    asks: list[Ask]
    draining: threading.Event
    stop: Callable[[], None]

    def later(self, seconds: float) -> None:
        """Put the service's clock forward."""

        def step() -> None:
            self.loop.ahead += seconds

        self.loop.call_soon_threadsafe(step)

    def connect(self, source: str = "127.0.0.1") -> socket.socket:
        """A connection from `source`, any address of 127.0.0.0/8."""
        where = ("127.0.0.1", self.address.port)
        return socket.create_connection(where, PATIENCE, source_address=(source, 0))

    @contextlib.contextmanager
    def session(
        self, source: str = "127.0.0.1", *, first: bytes = b"", port: int | None = None
    ) -> Iterator[ssl.SSLSocket]:
        """A session past its handshake; `first` goes before TLS, `port` is another than ours."""
        where = ("127.0.0.1", port or self.address.port)
        with socket.create_connection(where, PATIENCE, source_address=(source, 0)) as stream:
            stream.sendall(first)
            with self.context.wrap_socket(stream, server_hostname="localhost") as tls:
                yield tls

    def ask(self, source: str = "127.0.0.1", **options) -> bytes | None:
        """The secret that a client gets; None where the service just ends the connection."""
        try:
            with self.session(source, **options) as tls:
                tls.sendall(REQUEST)
                return answer(tls)
        except (ssl.SSLError, ConnectionError):
            return None


def answer(tls: ssl.SSLSocket) -> bytes | None:
    """The secret in the answer that comes; None where there is none."""
    parser, secret = ResponseParser(), None
    while data := received(tls, 4096):
        secret = parser.feed(data)
    return secret


def is_closed(stream: socket.socket) -> bool:
    """Wait until the peer has ended this connection."""
    with contextlib.suppress(ConnectionError):
        return received(stream, 1) == b""
    return True


def received(stream: socket.socket, count: int) -> bytes:
    """What comes next; nothing at the end, which some versions of Python's `ssl` call an error."""
    try:
        return stream.recv(count)
    except ssl.SSLError as error:
        if error.reason != "UNEXPECTED_EOF_WHILE_READING":
            raise
        return b""


@contextlib.contextmanager
def listen(
    folder: Path,
    *,
    decide: Deciding = release,
    proxies: Sequence[Network] = (),
    **limits: float,
) -> Iterator[Listening]:
    """Listen; leaving asks the service to stop and waits until it has."""
    validity = Validity(datetime.now(UTC), 2)
    authority = make_authority(validity)
    pair = make_server(["localhost"], validity, issuer=authority, key_type="p256")
    ca_file = folder / "ca.pem"
    ca_file.write_bytes(authority.certificate_pem)
    loop, stop, ready, asks = SteppedLoop(), asyncio.Event(), threading.Event(), []
    seen, draining, started = Recorder(), threading.Event(), []

    class Service:
        async def release(self, ask: Ask) -> Answer:
            asks.append(ask)
            return await decide(ask)

    server = KeyServer(
        Service(),
        server_context(pair.certificate_pem, pair.key_pem),
        Limits(**(LONG | limits)),
        proxies=proxies,
        observer=seen,
    )

    async def main() -> None:
        started.append(await server.start(ListenAddress("127.0.0.1", 0)))
        ready.set()
        await stop.wait()
        await server.stop(draining.set)

    def run() -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(main())
        finally:
            ready.set()

    def ask_to_stop() -> None:
        with contextlib.suppress(RuntimeError):  # it has stopped
            loop.call_soon_threadsafe(stop.set)

    thread = threading.Thread(target=run, name="listener")
    thread.start()
    ready.wait()
    try:
        yield Listening(
            started[0], ca_file, stock_client(ca_file, folder), loop, server, seen, asks,
            draining, ask_to_stop,
        )  # fmt: skip
    finally:
        ask_to_stop()
        thread.join()
    assert seen.opened == sum(seen.ends.values())


def stock_client(ca_file: Path, folder: Path) -> ssl.SSLContext:
    """The standard library's TLS, with an RA-TLS certificate whose quote nobody verifies."""
    identity, file = make_identity(), folder / f"client-{os.urandom(4).hex()}.pem"
    certificate = x509.load_der_x509_certificate(identity.certificate_der)
    file.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + identity.private_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.create_default_context(cafile=ca_file)
    context.load_cert_chain(file)
    context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    return context
