"""Calls of gRPC that stay open: watches and reflection.

Each holds one of the server's places for as long as its client likes, so they are few, what they
wait for has a deadline where there is one, and they end when the server does: its end would
otherwise wait for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from sealserve.errors import DeadlineExceeded, InvalidArgument, ResourceExhausted

T = TypeVar("T")

OPEN_CALLS = 64  # of one service
MESSAGE_SECONDS = 30.0  # from the call, or the last answer, to the next message


class OpenCalls:
    """The calls of one service that are open now. Belongs to the event loop."""

    def __init__(self) -> None:
        self._open = 0
        self._end = asyncio.Event()

    @property
    def closed(self) -> bool:
        """Whether calls have to end."""
        return self._end.is_set()

    def close(self) -> None:
        """Let every call that is open come to its end."""
        self._end.set()

    @contextmanager
    def one(self) -> Iterator[None]:
        """A call, for as long as the block lasts; ResourceExhausted where there are too many."""
        if self._open >= OPEN_CALLS:
            raise ResourceExhausted(f"{self._open} calls of this kind are open; try again")
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1

    async def unless_closed(self, step: Coroutine[Any, Any, T]) -> T | None:
        """What the step gives; None if calls have to end before it is done."""
        # Handlers are not cancelled: one that gRPC is writing for would end without a status.
        work, end = asyncio.create_task(step), asyncio.create_task(self._end.wait())
        try:
            await asyncio.wait({work, end}, return_when=asyncio.FIRST_COMPLETED)
            return work.result() if work.done() else None
        finally:
            work.cancel()
            end.cancel()


async def next_message(messages: AsyncIterator[bytes]) -> bytes | None:
    """The next message of a call, None at their end; DeadlineExceeded where none comes."""
    try:
        async with asyncio.timeout(MESSAGE_SECONDS):
            return await anext(messages)
    except StopAsyncIteration:
        return None
    except TimeoutError:
        raise DeadlineExceeded("the request did not arrive in time") from None


async def only_message(messages: AsyncIterator[bytes]) -> bytes:
    """The first message of a call that must have one; InvalidArgument without it."""
    message = await next_message(messages)
    if message is None:
        raise InvalidArgument("the call has no message")
    return message
