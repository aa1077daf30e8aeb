"""A TLS client connection that shows an RA-TLS certificate and verifies the server.

pyOpenSSL and not the standard library's `ssl`, because the private key must reach the TLS library
without a file: `ssl` loads keys from paths alone, and inside Gramine there is neither memfd_create
(Documentation/devel/features.md) nor another path of which the process could know that no disk of
the host lies under it. Whoever has the RA-TLS key has the enclave's name.

The server is verified before anything but the handshake is sent: OpenSSL checks the chain to the CA
file, `is_for` the name (RFC 9525, DNS names and IP addresses in subjectAltName only). With ALPN the
server must choose the protocol that is offered: one that knows none would take what we send for
another protocol's request.
"""

from __future__ import annotations

import contextlib
import ipaddress
import select
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from OpenSSL import SSL, crypto

from sealserve.attester.deadline import Deadline
from sealserve.attester.ratls import RatlsIdentity
from sealserve.errors import ConfigError, NetworkError

T = TypeVar("T")

PIECE = 16 << 10  # bytes, the size of a TLS record


def client_context(
    identity: RatlsIdentity, ca_file: Path, *, server_name: str, alpn: bytes | None = None
) -> SSL.Context:
    """TLS 1.2 or later, our certificate, and the server verified against `ca_file` and its name."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.use_certificate(x509.load_der_x509_certificate(identity.certificate_der))
    context.use_privatekey(identity.private_key)
    if alpn is not None:
        context.set_alpn_protos([alpn])
    try:
        context.load_verify_locations(str(ca_file))
    except SSL.Error as error:
        raise ConfigError(
            f"{ca_file} holds no CA certificate in PEM", hint="name the key service's CA file"
        ) from error

    def verify(_: SSL.Connection, found: crypto.X509, error: int, depth: int, ok: int) -> bool:
        if not ok:
            raise NetworkError(
                f"the key service's certificate does not verify against {ca_file} (X.509 error"
                f" {error} at depth {depth})",
                code="server-certificate",
                hint="this CA file is not the server's, or somebody stands in between",
            )
        if depth == 0 and not is_for(found.to_cryptography(), server_name):
            raise NetworkError(
                f"the key service's certificate is not for {server_name!r}",
                code="server-certificate",
                hint="connect by a name that stands in the certificate's subjectAltName",
            )
        return True

    context.set_verify(SSL.VERIFY_PEER, verify)
    return context


class TlsClient:
    """One TLS session over a connected socket; every step shares one deadline.

    The TLS library works in memory and the socket is read and written here, so that it is known
    whether a byte has come from the other side.
    """

    def __init__(
        self, context: SSL.Context, stream: socket.socket, deadline: Deadline, *, server_name: str
    ) -> None:
        stream.setblocking(False)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._stream = stream
        self._deadline = deadline
        self._connection = SSL.Connection(context, None)
        self._connection.set_connect_state()
        if not _is_address(server_name):  # RFC 6066 section 3: no literal addresses in SNI
            name = server_name.removesuffix(".")  # nor the root's dot
            self._connection.set_tlsext_host_name(name.encode("ascii"))

    def greet(self, seconds: float) -> None:
        """Send the first message, and wait so long for the first byte of an answer.

        Raises OSError when none comes: nobody is there to speak TLS with, and nothing is lost by
        asking somebody else.
        """
        with contextlib.suppress(SSL.WantReadError):
            self._connection.do_handshake()
        self._flush()
        if not _is_ready(self._stream, select.POLLIN, seconds):
            raise TimeoutError("no answer to TLS's first message")
        if not self._stream.recv(1, socket.MSG_PEEK):
            raise ConnectionResetError("closed before TLS began")

    def handshake(self) -> None:
        """Agree on keys; raises NetworkError when the server is not the one that was named."""
        self._until(self._connection.do_handshake)

    @property
    def protocol(self) -> bytes:
        """The protocol that the server chose of those offered by ALPN; nothing: none."""
        return self._connection.get_alpn_proto_negotiated()

    def send(self, data: bytes) -> None:
        """All of `data`."""
        self._until(partial(self._connection.sendall, data))

    def receive(self) -> bytes:
        """The next bytes; nothing once the server has closed the session by TLS's own message."""
        try:
            return self._until(partial(self._connection.recv, PIECE))
        except SSL.ZeroReturnError:
            return b""

    def close(self) -> None:
        """Tell the server that we are done; it may have gone already."""
        with contextlib.suppress(SSL.Error, OSError, NetworkError):
            self._connection.shutdown()
            self._flush()

    def _until(self, step: Callable[[], T]) -> T:
        """The result of `step` once it has had the bytes that it needs."""
        try:
            while True:
                try:
                    result = step()
                except SSL.WantReadError:
                    self._flush()
                    self._fill()
                else:
                    self._flush()
                    return result
        except SSL.ZeroReturnError:
            raise
        except (SSL.Error, OSError) as error:
            raise _broken(error) from error
        finally:
            with contextlib.suppress(OSError, NetworkError):
                self._flush()  # an alert, where it failed

    def _flush(self) -> None:
        """Send what the TLS library has."""
        with contextlib.suppress(SSL.WantReadError):  # nothing is left
            while data := self._connection.bio_read(PIECE):
                while data:
                    self._wait(select.POLLOUT)
                    data = data[self._stream.send(data) :]

    def _fill(self) -> None:
        """Hand the TLS library the next bytes that come."""
        self._wait(select.POLLIN)
        data = self._stream.recv(PIECE)
        if not data:
            raise ConnectionError("the connection was closed")
        while data:
            data = data[self._connection.bio_write(data) :]

    def _wait(self, event: int) -> None:
        if not _is_ready(self._stream, event, self._deadline.remaining()):
            raise self._deadline.passed()


def _broken(error: Exception) -> NetworkError:
    return NetworkError(
        f"the TLS session with the key service broke: {reason(error)}",
        code="tls",
        hint="it may be stopping or short of something: its log says so; try again",
    )


def _is_ready(stream: socket.socket, event: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(stream, event)
    return bool(poll.poll(seconds * 1000))


def reason(error: Exception) -> str:
    """What OpenSSL says of a failure, without the parts that nobody reads."""
    details = error.args[0] if error.args else None
    if isinstance(details, list) and details:
        return "; ".join(str(entry[-1]) for entry in details)
    return str(error) or "the connection was closed"


def is_for(certificate: x509.Certificate, name: str) -> bool:
    """Whether subjectAltName holds `name`, or a wildcard for its first label (RFC 9525, 6.3)."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return False
    if _is_address(name):
        return ipaddress.ip_address(name) in names.get_values_for_type(x509.IPAddress)
    wanted = name.lower().removesuffix(".")
    _, dot, parent = wanted.partition(".")
    accepted = {wanted, f"*.{parent}"} if dot and "." in parent else {wanted}
    return any(known.lower() in accepted for known in names.get_values_for_type(x509.DNSName))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
