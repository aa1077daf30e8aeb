"""The bare peer of the key service: the same handshakes, and an answer to whoever asks.

One event loop, pyOpenSSL over memory, the same certificate and the same clients; it verifies no
quote, decides nothing, keeps no record, has no deadlines and no limits. What it takes is what TLS
with client certificates takes in this language and library.
"""

from __future__ import annotations

import asyncio
import socket

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL

from bench._process import Tell
from bench._site import Site
from sealserve.attester.messages import ALPN

PIECE = 64 << 10  # bytes


def serve_bare(tell: Tell, site: Site, answer: bytes, port: int) -> None:
    """Serve for ever on a port (0: any), which others of this kind may share."""
    asyncio.run(_serve(tell, _context(site), answer, port))


async def _serve(tell: Tell, context: SSL.Context, answer: bytes, port: int) -> None:
    loop = asyncio.get_running_loop()
    listener = socket.create_server(("127.0.0.1", port), backlog=1024, reuse_port=True)
    await loop.create_server(lambda: _Session(context, answer), sock=listener)
    tell(listener.getsockname()[1])
    await asyncio.Event().wait()


class _Session(asyncio.Protocol):
    """Handshake, whatever comes first, the answer, the end."""

    def __init__(self, context: SSL.Context, answer: bytes) -> None:
        self._tls = SSL.Connection(context, None)
        self._tls.set_accept_state()
        self._answer = answer
        self._greeted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._tls.bio_write(data)
        try:
            if not self._greeted:
                self._tls.do_handshake()
                self._greeted = True
            self._tls.recv(PIECE)
        except SSL.WantReadError:
            self._send()
            return
        except SSL.Error:
            self._transport.abort()
            return
        self._tls.sendall(self._answer)
        self._tls.shutdown()
        self._send()
        self._transport.write_eof()

    def eof_received(self) -> None:
        """The client has gone: so do we."""

    def _send(self) -> None:
        try:
            self._transport.write(self._tls.bio_read(PIECE))
        except SSL.WantReadError:
            return


def _context(site: Site) -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    own = (site.folder / "server.pem").read_bytes()
    context.use_certificate(x509.load_pem_x509_certificate(own))
    key = load_pem_private_key((site.folder / "server.key").read_bytes(), None)
    context.use_privatekey(key)  # type: ignore[arg-type]  # ours is an EC key
    context.set_options(SSL.OP_NO_TICKET)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
    context.set_alpn_select_callback(lambda *_: ALPN)
    return context
