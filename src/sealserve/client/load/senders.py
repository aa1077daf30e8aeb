"""Who sends: a number of connections that take a request and say how it ended.

A sender gives back None for an answer and the stable code of an error otherwise, and never sends
again what failed: a measurement that hides failures is none. Answers are not decoded.
"""

from __future__ import annotations

import itertools
from typing import Any, Protocol

import grpc
import grpc.aio

from sealserve.client.load.http_sender import HttpSender
from sealserve.client.load.plan import Plan, Shot
from sealserve.client.service import Service
from sealserve.client.statuses import as_serving_error


class Sender(Protocol):
    """Connections to a service."""

    async def send(self) -> str | None:
        """Send the request over the next connection and wait for its end."""

    async def close(self) -> None:
        """End the connections."""


class GrpcSender:
    """Channels in turn, each with a connection of its own to every target."""

    def __init__(
        self, service: Service, shot: Shot, *, connections: int, index: int, timeout: float
    ) -> None:
        self._channels = [
            service.channel(grpc.aio, service.resolved(turn=index + turn), retries=False)
            for turn in range(connections)
        ]
        self._calls = itertools.cycle(
            [channel.unary_unary(shot.path) for channel in self._channels]
        )
        self._body = shot.body
        self._timeout = timeout

    async def send(self) -> str | None:
        """See `Sender`."""
        call: Any = next(self._calls)
        try:
            await call(self._body, timeout=self._timeout)
        except grpc.aio.AioRpcError as error:
            return as_serving_error(error).code
        return None

    async def close(self) -> None:
        """See `Sender`."""
        for channel in self._channels:
            await channel.close()


def make_sender(plan: Plan) -> Sender:
    """The sender of a plan's part; it may wait for a resolver, and connects later."""
    kind = GrpcSender if plan.shot.transport == "grpc" else HttpSender
    return kind(
        plan.service,
        plan.shot,
        connections=plan.connections,
        index=plan.index,
        timeout=plan.timeout,
    )
