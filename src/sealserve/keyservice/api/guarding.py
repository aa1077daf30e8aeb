"""What stands before every endpoint: role first, then a body of bounded size and depth.

The body of somebody who may not do a thing is never read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Final

from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute
from starlette.types import Message, Receive

from sealserve.errors import FormatError, UsageError
from sealserve.keyservice.administration.answers import ErrorAnswer
from sealserve.keyservice.administration.wire import BODY_LIMIT
from sealserve.keyservice.api.access import OPERATIONS, check
from sealserve.keyservice.api.calls import Visit, visit_of

TOO_LARGE: Final = "request.too-large"
BRACKETS_LIMIT: Final = 16  # no request of ours has more than two
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_BRACKET: Final = re.compile(rb"[\[{]")

Asking = Annotated[Visit, Depends(visit_of)]

ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    400: {"model": ErrorAnswer, "description": "The request is none, or asks for what cannot be."},
    403: {"model": ErrorAnswer, "description": "The certificate is nobody's, or the role too low."},
    404: {"model": ErrorAnswer, "description": "There is no such thing."},
    409: {"model": ErrorAnswer, "description": "What is in force now does not allow it."},
    413: {"model": ErrorAnswer, "description": "The request is too large."},
    422: {"model": ErrorAnswer, "description": "A value is not what the schema says."},
    500: {"model": ErrorAnswer, "description": "A fault, or the log or a secret is not sound."},
    503: {"model": ErrorAnswer, "description": "Not now: the database, a deadline, a limit."},
}


class GuardedRoute(APIRoute):
    """A route whose operation is in the table of roles."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        operation = self.operation_id
        if operation is None or operation not in OPERATIONS:
            raise ValueError(f"{operation} is not in the table of roles")

        async def guarded(request: Request) -> Response:
            visit = await visit_of(request)
            visit.operation = operation
            check(operation, visit.known)
            body = await read_body(request)
            return await handle(Request(request.scope, _once(body)))

        return guarded


async def read_body(request: Request) -> bytes:
    """The whole body; raises UsageError (`request.too-large`), FormatError (`request.depth`)."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_LIMIT:
            raise UsageError(
                f"the request has more than the {BODY_LIMIT} bytes allowed", code=TOO_LARGE
            )
    check_depth(bytes(body))
    return bytes(body)


def check_depth(body: bytes) -> None:
    """Raise FormatError for JSON of more objects and lists than any request has."""
    brackets = _BRACKET.findall(_STRING.sub(b"", body))
    if len(brackets) > BRACKETS_LIMIT:
        raise FormatError("the request has too many objects and lists", code="request.depth")


def _once(body: bytes) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return messages.pop() if messages else {"type": "http.disconnect"}

    return receive
