"""One accepted connection, from a bare socket to a session of its own.

It knows both ends of a proxy: `host` and `port` are the client's, once the proxy's header is read,
and what limits, log and audit record go by; `proxy` is the peer that the header came from.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any

from OpenSSL import SSL

from sealserve.errors import NetworkError
from sealserve.hosts import spell
from sealserve.keyservice.limits import Limits
from sealserve.keyservice.proxy import HeaderParser
from sealserve.keyservice.session import Session

STREAM_LIMIT = 64 << 10  # bytes buffered for one client

Network = IPv4Network | IPv6Network


class Visit:
    """A connection that asks for, or has, a place (`sealserve.keyservice.admission.Visitor`)."""

    __slots__ = ("_socket", "_transport", "began", "evicted", "host", "how", "port", "proxy",
                 "session")  # fmt: skip

    def __init__(self, connection: socket.socket, peer: Any, now: float) -> None:
        """`connection` is not blocking and is ours from now on; `now` is the loop's time."""
        self.host: str = peer[0]
        self.port: int = peer[1]
        self.began = now
        self.proxy: str | None = None
        self.session: Session | None = None
        self.evicted = False
        self.how = "cancelled"
        self._socket = connection
        self._transport: asyncio.Transport | None = None

    @property
    def is_asking(self) -> bool:
        """Whether its request is whole, so that it is our turn."""
        return self.session is not None and self.session.phase not in ("handshake", "request")

    @property
    def facts(self) -> dict[str, object]:
        """What the log says about it."""
        session = self.session
        return {
            "request_id": None if session is None else session.identifier,
            "peer": spell(self.host, self.port),
            "proxy": self.proxy,
            "phase": "proxy" if session is None else session.phase,
        }

    def comes_from(self, networks: Sequence[Network]) -> bool:
        """Whether the direct peer is in one of `networks`."""
        if not networks:
            return False
        address = ip_address(self.host)
        return any(address in network for network in networks)

    async def read_proxy_header(self) -> None:
        """Learn from the proxy who its client is; raises FormatError, NetworkError."""
        loop, parser = asyncio.get_running_loop(), HeaderParser()
        self.proxy = spell(self.host, self.port)
        header = None
        while header is None:
            data = await loop.sock_recv(self._socket, parser.wanted)
            if not data:
                raise NetworkError("the proxy closed before its header was whole", code="closed")
            header = parser.feed(data)
        if header.source is not None:
            self.host, self.port = header.source.host, header.source.port

    async def begin(self, context: SSL.Context, limits: Limits) -> Session:
        """The session, over the rest of the connection."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=STREAM_LIMIT)
        protocol = asyncio.StreamReaderProtocol(reader)
        self._transport, _ = await loop.connect_accepted_socket(lambda: protocol, self._socket)
        writer = asyncio.StreamWriter(self._transport, protocol, reader, loop)
        peer = spell(self.host, self.port)
        self.session = Session(secrets.token_hex(8), peer, reader, writer, context, limits)
        return self.session

    def close(self) -> None:
        """End the connection, without a word where something is still on its way."""
        if self._transport is not None:
            self._transport.abort()
        else:
            self._socket.close()
