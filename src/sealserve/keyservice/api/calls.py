"""Calls of the administration: they block, so they run in a few threads, and only so many wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from fastapi import Request, Response
from pydantic import BaseModel

from sealserve.errors import OverloadedError
from sealserve.keyservice.administration.values import Actor, Administration
from sealserve.keyservice.api.access import Person

THREADS: Final = 4  # the database has twice as many connections
WAITING: Final = 32  # calls that run or wait

Make = Callable[[Actor], Administration]
Work = Callable[[Administration], BaseModel]


class Calls:
    """The threads of one API."""

    def __init__(self, administration: Make) -> None:
        self._administration = administration
        self._threads = ThreadPoolExecutor(THREADS, "admin")
        self._places = threading.BoundedSemaphore(WAITING)

    async def run(self, actor: Actor, work: Work) -> bytes:
        """The JSON of what `work` returns; raises what it raises, and OverloadedError.

        Whoever gives up waiting does not end the work: a change may be made all the same.
        """
        if not self._places.acquire(blocking=False):
            raise OverloadedError(
                "too many requests are being answered", code="overloaded.requests"
            )
        try:
            job = self._threads.submit(self._work, actor, work)
        except BaseException:
            self._places.release()
            raise
        job.add_done_callback(lambda _: self._places.release())
        return await asyncio.wrap_future(job)

    async def close(self) -> None:
        """Let what runs end."""
        await asyncio.to_thread(self._threads.shutdown, wait=True, cancel_futures=True)

    def _work(self, actor: Actor, work: Work) -> bytes:
        return work(self._administration(actor)).model_dump_json().encode()


@dataclass
class Visit:
    """One request: who asks, and for what."""

    request_id: str
    calls: Calls = field(repr=False)
    person: Person | None = None
    operation: str | None = None

    @property
    def known(self) -> Person:
        """The person; there is one wherever a request is answered."""
        if self.person is None:
            raise AssertionError("a request without a person got through")
        return self.person

    async def answer(self, work: Work, status: int = 200) -> Response:
        """What `work` finds, done in this person's name."""
        person = self.known
        content = await self.calls.run(Actor(person.name, person.role, self.request_id), work)
        return Response(content, status, media_type="application/json")


async def visit_of(request: Request) -> Visit:
    """The visit that this request belongs to: a dependency of every endpoint."""
    visit = request.state.visit
    if not isinstance(visit, Visit):
        raise TypeError("the gate makes a visit of every request")
    return visit
