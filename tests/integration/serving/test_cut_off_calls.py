"""Calls that are cut off at a server's end: as many ends as it takes for two clocks to meet."""

from __future__ import annotations

import asyncio

import grpc
import grpc.aio

from sealserve.messages.services import PREDICT
from sealserve.serving.calls import Call, Watch
from sealserve.serving.faces.grpc import GrpcServer, GrpcSettings

SERVERS, TOGETHER = 100, 20
GRACE_SECONDS = 0.1


async def _end_with_a_stuck_call() -> grpc.StatusCode:
    began = asyncio.Event()

    async def stuck(_request: bytes, _call: Call) -> bytes:
        began.set()
        await asyncio.Event().wait()
        raise AssertionError

    server = GrpcServer({PREDICT: stuck}, Watch(), GrpcSettings(1000, 10), None)
    address = f"127.0.0.1:{await server.start('127.0.0.1', 0)}"
    async with grpc.aio.insecure_channel(address) as channel:
        call = channel.unary_unary(PREDICT.path)(b"")
        await began.wait()
        assert await server.stop(GRACE_SECONDS)
        return await call.code()


def test_a_server_that_cuts_off_a_stuck_call_lives_to_tell() -> None:
    async def run() -> None:
        for _ in range(SERVERS // TOGETHER):
            codes = await asyncio.gather(*(_end_with_a_stuck_call() for _ in range(TOGETHER)))
            assert set(codes) == {grpc.StatusCode.UNAVAILABLE}

    asyncio.run(run())
