"""The bare server of comparisons: `grpc.aio` with mutual TLS, which looks at no request.

What it takes is what gRPC and TLS take, without a model server: a limit to come near to.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import grpc.aio
import uvloop

from bench._process import Tell
from sealserve.messages.services import PREDICT
from sealserve.serving.textconfig import parse_tls
from sealserve.serving.tls import grpc_credentials


def serve_echo(tell: Tell, ssl_config: Path, answer: bytes, loop: str = "asyncio") -> None:
    """`answer` to every Predict, for ever, in asyncio's own event loop or in uvloop's."""
    run = uvloop.run if loop == "uvloop" else asyncio.run
    tls = parse_tls(ssl_config.read_bytes(), str(ssl_config))
    run(_serve(tell, grpc_credentials(tls), answer))


async def _serve(tell: Tell, credentials: grpc.ServerCredentials, answer: bytes) -> None:
    async def behaviour(_request: bytes, _context: object) -> bytes:
        return answer

    method = grpc.unary_unary_rpc_method_handler(behaviour)
    echo = grpc.aio.server()
    echo.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(PREDICT.service, {PREDICT.name: method}),)
    )
    port = echo.add_secure_port("127.0.0.1:0", credentials)
    await echo.start()
    tell(port)
    await echo.wait_for_termination()
