"""One client's session: bytes between its connection, TLS, the protocol and the decision.

1. TLS handshake; without a client certificate it fails.
2. The request, byte by byte as it comes; anything else ends the session.
3. The decision, with its audit record (`keyservice.service`).
4. The answer, or none.
5. The end. After an answer or a denial it is TLS's own closing message: the service has decided.
   Where it could not decide, or the client broke the protocol, the connection just ends, and a
   client of ours tries again.

Every wait has a deadline: the handshake, each silence of the client, and the session in total. The
client is told nothing but this; why there is no answer, the logs say.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Protocol

from OpenSSL import SSL

from sealserve.errors import NetworkError, SealServeError
from sealserve.keyservice.config import Limits
from sealserve.keyservice.protocol import RequestParser, encode_answer
from sealserve.keyservice.service import Ask, Decision, Outcome
from sealserve.keyservice.tls import TlsServer

PIECE = 16 << 10  # bytes read from the connection at once
LINGER_BYTES = 64 << 10  # what a client may still send while we close
LINGER_SECONDS = 2.0


class Releaser(Protocol):
    """Whoever decides; `sealserve.keyservice.service.KeyService` does."""

    async def release(self, ask: Ask) -> Decision:
        """The decision on one request, on record."""
        ...


class Session:
    """One connection from first byte to last. `phase` says where it stands, for the log."""

    def __init__(
        self,
        identifier: str,
        peer: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        context: SSL.Context,
        limits: Limits,
    ) -> None:
        self.identifier = identifier
        self.peer = peer
        self.phase = "handshake"
        self._reader = reader
        self._writer = writer
        self._tls = TlsServer(context)
        self._limits = limits

    async def run(self, service: Releaser) -> None:
        """Serve the client; raises a SealServeError, TimeoutError or OSError when it ends early."""
        async with asyncio.timeout(self._limits.session_seconds):
            try:
                await self._converse(service)
            except SealServeError:
                await self._linger()  # with TLS's alert, if TLS itself failed
                raise
            self._tls.close()
            await self._linger()

    async def _converse(self, service: Releaser) -> None:
        await self._handshake()
        await self._request()
        self.phase = "decision"
        decision = await service.release(self._ask())
        if decision.verdict.outcome is Outcome.FAILED:
            raise NetworkError("no decision was possible", code="undecided")
        if decision.release is not None:
            self.phase = "answer"
            secret, encoding = decision.release
            self._tls.send(encode_answer(secret.reveal(), encoding))
            await self._flush()

    async def _handshake(self) -> None:
        async with asyncio.timeout(self._limits.handshake_seconds):
            while not self._tls.handshake():
                await self._exchange()
            await self._flush()

    async def _request(self) -> None:
        self.phase = "request"
        request = RequestParser()
        while True:
            data = self._tls.receive()
            if data is None:
                await self._exchange()
            elif not data:
                raise NetworkError("the client closed without a request", code="no-request")
            elif request.feed(data):
                return

    def _ask(self) -> Ask:
        return Ask(
            session=self.identifier,
            peer=self.peer,
            asked_for=self._tls.server_name,
            certificate=self._tls.certificate,
        )

    async def _exchange(self) -> None:
        """Send what TLS has, wait for what it needs."""
        await self._flush()
        async with asyncio.timeout(self._limits.idle_seconds):
            data = await self._reader.read(PIECE)
        if not data:
            raise NetworkError("the client went away", code="closed")
        self._acknowledge()
        self._tls.feed(data)

    def _acknowledge(self) -> None:
        """Acknowledge what the client sent at once.

        A client with Nagle's algorithm, as Gramine's is, sends a certificate of 10 KiB in pieces,
        and holds each back until the one before is acknowledged: 40 ms, if the kernel may wait.
        """
        stream = self._writer.get_extra_info("socket")
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    async def _flush(self) -> None:
        data = self._tls.take()
        if data:
            self._writer.write(data)
            await self._writer.drain()

    async def _linger(self) -> None:
        """Send what is left and wait for the client to go: a reset would take the answer with it.

        It may have what it wanted and be gone already; that is no failure.
        """
        left = LINGER_BYTES
        with contextlib.suppress(OSError):  # TimeoutError is one
            await self._flush()
            self._writer.write_eof()
            async with asyncio.timeout(LINGER_SECONDS):
                while left > 0 and (data := await self._reader.read(PIECE)):
                    left -= len(data)
