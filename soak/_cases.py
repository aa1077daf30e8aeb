"""Attacks on the release port, one at a time: what each sends, and that it gets nothing.

A case returns what it was answered after its request; nothing is what every attack must get.
`ALLOWED` are the same clients without the attack, which must be served: or the cases would prove
nothing.
"""

from __future__ import annotations

import random
import socket
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_private_key
from OpenSSL import SSL

from sealserve.attester.messages import ALPN, encode_request
from sealserve.attester.protocol import REQUEST
from sealserve.attester.ratls import RatlsIdentity
from sealserve.attester.secrets import fetch_secret
from sealserve.evidence.ratls import legacy_report_data, spki_der
from soak._hostile import SECONDS, certificate, client_context, connect, converse
from soak._site import KEY_DOMAIN, Copy
from soak._world import NAME, STRANGER, Launcher

SOURCE = "127.0.0.66"
Case = Callable[[], bytes]


@dataclass(frozen=True)
class Target:
    """The service, and an enclave of the owner's that the attacker has watched."""

    copy: Copy
    folder: Path
    launcher: Launcher
    victim: RatlsIdentity

    @classmethod
    def of(cls, copy: Copy, folder: Path) -> Target:
        """A target with a fresh victim."""
        launcher = Launcher.of(folder)
        return cls(copy, folder, launcher, launcher.identity())

    def ask(
        self,
        shown: RatlsIdentity,
        request: bytes = REQUEST,
        *,
        protocols: Sequence[bytes] = (),
        name: bytes = b"localhost",
    ) -> bytes:
        """What a client gets that holds this identity."""
        parsed = x509.load_der_x509_certificate(shown.certificate_der)
        return self.converse(parsed, shown.private_key, request, protocols=protocols, name=name)

    def converse(
        self,
        shown: x509.Certificate,
        key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
        request: bytes = REQUEST,
        *,
        protocols: Sequence[bytes] = (),
        name: bytes = b"localhost",
    ) -> bytes:
        """What a client gets that shows this certificate and signs with this key."""
        context = client_context(shown, key, protocols)
        try:
            with connect(self.copy.port, SOURCE) as stream:
                return converse(stream, context, request, name)
        except (SSL.Error, ConnectionError):
            return b""

    def send(self, data: bytes) -> bytes:
        """Bytes without TLS, and nothing is looked for in what comes back."""
        try:
            with connect(self.copy.port, SOURCE) as stream:
                stream.sendall(data)
                stream.shutdown(socket.SHUT_WR)
                while stream.recv(1 << 16):
                    continue
        except ConnectionError:
            pass
        return b""


def allowed(target: Target) -> Mapping[str, Case]:
    """Who is served."""
    victim, under = target.victim, f"{NAME}.{KEY_DOMAIN}".encode()
    named = encode_request([NAME])
    return {
        "Gramine's protocol": lambda: target.ask(victim),
        "Gramine's protocol, the secret by SNI": lambda: target.ask(victim, name=under),
        "sealserve/1": lambda: target.ask(victim, named, protocols=[ALPN]),
    }


def denied(target: Target) -> Mapping[str, Case]:
    """Who is not."""
    return {**_evidence(target), **_confusion(target), **_garbage(target)}


def _evidence(target: Target) -> dict[str, Case]:
    own = ec.generate_private_key(ec.SECP384R1())
    victims = x509.load_der_x509_certificate(target.victim.certificate_der)
    spki = spki_der(victims.public_key())  # type: ignore[arg-type]  # an enclave's is EC
    genuine = target.launcher.quote(legacy_report_data(spki))
    stranger = target.launcher.identity(STRANGER)
    watched = target.launcher.rsa_identity()
    return {
        "a captured certificate, without its key": lambda: target.converse(
            x509.load_der_x509_certificate(watched.certificate_der),
            _noise_signer(watched),
        ),
        "a recorded session, sent again": lambda: target.send(_recorded(target)),
        "a genuine quote in another's certificate": lambda: target.converse(
            certificate(own, genuine), own
        ),
        "an enclave of another measurement": lambda: target.ask(stranger),
    }


def _confusion(target: Target) -> dict[str, Case]:
    victim, named = target.victim, encode_request([NAME])
    stranger = target.launcher.identity(STRANGER)
    under = f"{NAME}.{KEY_DOMAIN}".encode()
    other = f"other.{KEY_DOMAIN}".encode()
    return {
        "ALPN of other protocols alone": lambda: target.ask(victim, protocols=[b"h2", b"http/1.1"]),
        "Gramine's request under sealserve/1": lambda: target.ask(victim, protocols=[ALPN]),
        "a request of sealserve/1 without ALPN": lambda: target.ask(victim, named),
        "SNI of a secret that is not there": lambda: target.ask(victim, name=other),
        "SNI of a secret that is another's": lambda: target.ask(stranger, name=under),
    }


def _garbage(target: Target) -> dict[str, Case]:
    victim = target.victim
    deep = b'{"secrets":' + b"[" * 8000 + b"]" * 8000 + b"}"

    def framed(body: bytes) -> bytes:
        return target.ask(victim, struct.pack(">I", len(body)) + body, protocols=[ALPN])

    return {
        "before TLS: HTTP": lambda: target.send(b"GET / HTTP/1.1\r\nHost: keys\r\n\r\n"),
        "before TLS: noise": lambda: target.send(random.randbytes(1 << 16)),
        "before TLS: an oversize record": lambda: target.send(
            b"\x16\x03\x01\xff\xff" + bytes(1 << 17)
        ),
        "before TLS: the request, in the open": lambda: target.send(REQUEST),
        "after TLS: a megabyte of zeros": lambda: target.ask(victim, bytes(1 << 20)),
        "after TLS: a thousand requests": lambda: target.ask(victim, 1000 * REQUEST),
        "after TLS: a message of 4 GiB begins": lambda: target.ask(
            victim, b"\xff\xff\xff\xff" + bytes(1 << 16), protocols=[ALPN]
        ),
        "after TLS: deep JSON": lambda: framed(deep),
        "after TLS: a name of 100 kB": lambda: framed(b'{"secrets":["' + b"a" * 100_000 + b'"]}'),
        "after TLS: noise as a message": lambda: framed(random.randbytes(4096)),
    }


def _noise_signer(watched: RatlsIdentity) -> rsa.RSAPrivateKey:
    """A key that fits the watched certificate to the eye, and signs with noise."""
    key = watched.private_key.public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        raise TypeError("only an RSA key can be imitated so")
    public, half = key.public_numbers(), (1 << key.key_size // 2) - 1
    numbers = [0, public.n, public.e, 3, half, half - 2, 3, 3, 3]  # RFC 8017, appendix A.1.2
    body = b"".join(_der(0x02, each.to_bytes(each.bit_length() // 8 + 1)) for each in numbers)
    found = load_der_private_key(_der(0x30, body), None, unsafe_skip_rsa_key_validation=True)
    if not isinstance(found, rsa.RSAPrivateKey):
        raise TypeError("it is no RSA key")
    return found


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(octets)]) + octets + content


def _recorded(target: Target) -> bytes:
    """All that a client sends in a session that is served, as somebody in between sees it."""
    seen = bytearray()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        relay = threading.Thread(target=_relay, args=(listener, target.copy.port, seen))
        relay.start()
        fetch_secret(
            f"127.0.0.1:{listener.getsockname()[1]}",
            ca_file=target.folder / "ca.pem",
            identity=target.victim,
            server_name="localhost",
            timeout=SECONDS,
        )
        relay.join()
    return bytes(seen)


def _relay(listener: socket.socket, port: int, seen: bytearray) -> None:
    listener.settimeout(SECONDS)
    client, _ = listener.accept()
    with client, connect(port, SOURCE) as server:
        back = threading.Thread(target=_pump, args=(server, client, bytearray()))
        back.start()
        _pump(client, server, seen)
        back.join()


def _pump(source: socket.socket, sink: socket.socket, seen: bytearray) -> None:
    try:
        while data := source.recv(1 << 16):
            seen += data
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        return
