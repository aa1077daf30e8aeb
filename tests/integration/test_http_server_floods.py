"""The HTTP server and strangers that only connect: they keep nobody out."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from starlette.responses import Response

from sealserve.deploy.certificates import Validity, make_authority, make_server
from sealserve.http_server import HttpServer

PLACES = 4
PATIENCE = 20
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def application(scope: Any, receive: Any, send: Any) -> None:
    await Response(b"hello")(scope, receive, send)


@contextlib.asynccontextmanager
async def listening(context: ssl.SSLContext) -> AsyncIterator[int]:
    server = HttpServer(application, context, purpose="a test", connections=PLACES)
    yield await server.start("127.0.0.1", 0)
    await server.stop(1)


async def answer(port: int, trust: ssl.SSLContext) -> bytes:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=trust, server_hostname="localhost"
    )
    writer.write(REQUEST)
    found = await reader.readuntil(b"hello")
    writer.close()
    return found


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's, and of a client that trusts it."""
    validity = Validity(datetime.now(UTC).replace(microsecond=0), 1)
    authority = make_authority(validity)
    pair = make_server(["localhost"], validity, issuer=authority)
    both = tmp_path_factory.mktemp("tls") / "server.pem"
    both.write_bytes(pair.key_pem + pair.certificate_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    return context, ssl.create_default_context(cadata=authority.certificate_pem.decode())


def test_handshakes_that_do_not_go_on_give_way_to_new_ones(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    async def scene() -> None:
        mine, trust = contexts
        async with asyncio.timeout(PATIENCE), listening(mine) as port:
            held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(PLACES * 5)]
            for _ in range(PLACES):
                assert (await answer(port, trust)).startswith(b"HTTP/1.1 200")
            for _, writer in held:
                writer.close()

    asyncio.run(scene())
