"""HTTP/1.1 connections of a load: one request at a time on each, kept open from one to the next.

Framing is h11's. A connection that the server ended between two requests, as it may (RFC 9112,
section 9.3.1), is opened again, once for a request; one that failed or was too slow is given up.
"""

from __future__ import annotations

import asyncio
import ssl
from itertools import cycle

import h11

from sealserve.client.load.plan import Shot
from sealserve.client.service import Service
from sealserve.hosts import Address, spell

READ_BYTES = 1 << 18
_CODES = {
    400: "serving.invalid-argument",
    404: "serving.not-found",
    429: "serving.resource-exhausted",
    501: "serving.unimplemented",
    503: "serving.unavailable",
    504: "serving.deadline-exceeded",
}


class HttpSender:
    """At most so many connections, opened as they are needed, over the targets in turn."""

    def __init__(
        self, service: Service, shot: Shot, *, connections: int, index: int, timeout: float
    ) -> None:
        context = None if service.credentials is None else service.credentials.for_ssl("http/1.1")
        turn = index % len(service.targets)
        targets = cycle(service.targets[turn:] + service.targets[:turn])
        self._all = tuple(
            _Connection(next(targets), context, service.name, shot) for _ in range(connections)
        )
        self._idle = list(reversed(self._all))
        self._free = asyncio.Semaphore(connections)
        self._timeout = timeout

    async def send(self) -> str | None:
        """See `Sender`; time in which all connections are busy is part of the request's."""
        try:
            async with asyncio.timeout(self._timeout), self._free:
                connection = self._idle.pop()
                try:
                    status = await connection.exchange()
                finally:
                    self._idle.append(connection)
        except TimeoutError:
            return "serving.deadline-exceeded"
        except ConnectionRefusedError:
            return "network.refused"
        except ssl.SSLError:
            return "network.tls.handshake"
        except OSError:
            return "network"
        except h11.RemoteProtocolError:
            return "format"
        return None if status == 200 else _CODES.get(status, f"http.{status}")

    async def close(self) -> None:
        """See `Sender`."""
        for connection in self._all:
            connection.give_up()
        await asyncio.sleep(0)  # the sockets are closed by the loop


class _Connection:
    """One connection to one target, and the request that it sends."""

    def __init__(
        self, address: Address, context: ssl.SSLContext | None, name: str, shot: Shot
    ) -> None:
        self._address = address
        self._context = context
        self._name = name
        self._head = h11.Request(
            method="POST",
            target=shot.path,
            headers=[
                ("Host", spell(name or address.host, address.port)),
                ("Content-Type", shot.media_type),
                ("Content-Length", str(len(shot.body))),
            ],
        )
        self._body = h11.Data(data=shot.body)
        self._framing = h11.Connection(h11.CLIENT)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def exchange(self) -> int:
        """Send the request and read its answer to the end; gives the status.

        Raises OSError for a connection that fails, RemoteProtocolError for an answer without sense.
        """
        kept = self._streams is not None
        try:
            return await self._exchange()
        except ConnectionError:
            self.give_up()
            if not kept:
                raise
            return await self._exchange()

    def give_up(self) -> None:
        """End the connection; the next request opens another."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None

    async def _exchange(self) -> int:
        reader, writer = self._streams or await self._open()
        finished = False
        try:
            for event in (self._head, self._body, h11.EndOfMessage()):
                writer.write(self._framing.send(event) or b"")
            await writer.drain()
            status = await self._status(reader)
            finished = self._framing.our_state is self._framing.their_state is h11.DONE
        finally:
            if not finished:
                self.give_up()
        if finished:
            self._framing.start_next_cycle()
        return status

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self._framing = h11.Connection(h11.CLIENT)
        self._streams = await asyncio.open_connection(
            self._address.host,
            self._address.port,
            ssl=self._context,
            server_hostname=self._name if self._context else None,
        )
        return self._streams

    async def _status(self, reader: asyncio.StreamReader) -> int:
        status = 0
        while True:
            event = self._framing.next_event()
            if event is h11.NEED_DATA:
                await self._read(reader)
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, (h11.EndOfMessage, h11.ConnectionClosed)):
                return status

    async def _read(self, reader: asyncio.StreamReader) -> None:
        data = await reader.read(READ_BYTES)
        if not data and self._framing.their_state is h11.SEND_RESPONSE:
            raise ConnectionResetError("the connection ended before the answer")
        self._framing.receive_data(data)
