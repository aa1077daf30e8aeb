"""One client's session: bytes between its connection, TLS, the protocol and the decision.

1. TLS handshake; without a client certificate it fails. ALPN chooses the protocol.
2. The request, byte by byte as it comes; anything else ends the session.
3. The decision, with its audit record (`keyservice.service`).
4. The answer, or none.
5. The end. After an answer or a denial it is TLS's own closing message: the service has decided.
   Where it could not decide, a client of sealserve/1 is told so; in Gramine's protocol, and where
   the client broke its protocol, the connection just ends, and a client of ours tries again.

What a client sends after its request is never read as another.

Every wait has a deadline: the handshake, each silence of the client, and the session in total. The
client is told nothing but this; why there is no answer, the logs say.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket

from OpenSSL import SSL

from sealserve.attester.messages import ALPN
from sealserve.errors import NetworkError, OverloadedError, SealServeError
from sealserve.keyservice.asking import Ask, Releaser
from sealserve.keyservice.limits import Limits
from sealserve.keyservice.named import NamedConversation
from sealserve.keyservice.protocol import Conversation, GramineConversation
from sealserve.keyservice.tls import TlsServer

PIECE = 16 << 10  # bytes read from the connection at once
LINGER_BYTES = 64 << 10  # what a client may still send while we close
LINGER_SECONDS = 2.0


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
        self.established: float | None = None  # when its handshake was over, by the loop's clock
        self._reader = reader
        self._writer = writer
        self._socket: socket.socket = writer.get_extra_info("socket")
        self._tls = TlsServer(context)
        self._limits = limits
        self._now = asyncio.get_running_loop().time
        self._end = self._now() + limits.session_seconds
        self._alarm = asyncio.timeout_at(self._end)  # one for every wait, moved as they come
        writer.transport.set_write_buffer_limits(high=0)  # what is drained has left this process

    async def run(self, service: Releaser) -> None:
        """Serve the client; raises a SealServeError, TimeoutError or OSError when it ends early."""
        async with self._alarm:
            try:
                await self._converse(service)
            except SealServeError:
                await self._linger()  # with TLS's alert, if TLS itself failed
                raise
            await self._linger()

    async def _converse(self, service: Releaser) -> None:
        await self._handshake()
        named = self._tls.protocol == ALPN
        conversation: Conversation = NamedConversation() if named else GramineConversation()
        await self._request(conversation)
        message = await self._decide(service, conversation)
        self.phase = "answer"
        await self._conclude(message)

    async def _handshake(self) -> None:
        end = min(self._end, self._now() + self._limits.handshake_seconds)
        while not self._tls.handshake():
            await self._exchange(end)
        self.established = self._now()

    async def _request(self, conversation: Conversation) -> None:
        self.phase = "request"
        while True:
            data = self._tls.receive()
            if data is None:
                await self._exchange(self._end)
            elif not data:
                raise NetworkError("the client closed without a request", code="no-request")
            elif conversation.feed(data):
                return

    async def _decide(self, service: Releaser, conversation: Conversation) -> bytes:
        """What to send, once it is decided and on record."""
        self.phase = "decision"
        self._alarm.reschedule(self._end)
        try:
            answer = await service.release(self._ask(conversation.names))
            return conversation.answer(answer)
        except Exception as error:
            retry_after = error.retry_after if isinstance(error, OverloadedError) else None
            apology = conversation.apology(retry_after)
            if apology:
                await self._conclude(apology)
            raise

    async def _conclude(self, message: bytes) -> None:
        """Send the last message, if there is one, and TLS's close with it."""
        if message:
            self._tls.send(message)
        self._tls.close()
        await self._flush()

    def _ask(self, names: tuple[str, ...] | None) -> Ask:
        return Ask(
            request_id=self.identifier,
            peer=self.peer,
            server_name=self._tls.server_name,
            certificate=self._tls.certificate,
            names=names,
        )

    async def _exchange(self, end: float) -> None:
        """Send what TLS has and wait for what it needs: until `end`, and for no long silence."""
        self._alarm.reschedule(min(end, self._now() + self._limits.idle_seconds))
        await self._flush()
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
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

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
