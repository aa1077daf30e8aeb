"""Calls of gRPC that stay open: watches and reflection.

Each holds one of the server's places for as long as its client likes, so they are few, what they
wait for has a deadline where there is one, and they end when the server does: its end would
otherwise wait for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

from sealserve.errors import DeadlineExceeded, InvalidArgument, ResourceExhausted

OPEN_CALLS = 64  # of one service
MESSAGE_SECONDS = 30.0  # from the call, or the last answer, to the next message


class OpenCalls:
    """The calls of one service that are open now. Belongs to the event loop."""

    def __init__(self, limit: int = OPEN_CALLS) -> None:
        self._limit = limit
        self._tasks: set[asyncio.Task[Any]] = set()
        self.closed = False

    @contextmanager
    def one(self) -> Iterator[None]:
        """A call, for as long as the block lasts; `close` ends the block without an error.

        Raises ResourceExhausted where there are too many.
        """
        if len(self._tasks) >= self._limit:
            raise ResourceExhausted(f"{len(self._tasks)} calls of this kind are open; try again")
        task = asyncio.current_task()
        assert task is not None  # a handler is one
        self._tasks.add(task)
        try:
            yield
        except asyncio.CancelledError:
            if not self.closed:
                raise
            task.uncancel()
        finally:
            self._tasks.discard(task)

    def close(self) -> None:
        """End every call that is open."""
        self.closed = True
        for task in self._tasks:
            task.cancel()


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
