"""The REST server, as an ASGI application: its routes, its limits, its errors.

What the routes do is the faces' matter: each is a pattern, and a behaviour that is given the match
and the body. Bodies are read within a limit, requests answered within a deadline, as many at a time
as allowed. A large answer leaves in pieces, so that who takes it slowly is told from who does not;
a request whose client goes away is cancelled by the HTTP server. Every error is `{"error": "..."}`.
What is unforeseen is logged; the peer hears 500 and no more.

Codes: TensorFlow Serving 2.21, model_servers/http_rest_api_util.cc.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPMethod, HTTPStatus

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sealserve.errors import (
    DeadlineExceeded,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    ServingError,
)
from sealserve.hosts import spell
from sealserve.serving.calls import Call, Watch

log = logging.getLogger(__name__)

TEXT_LIMIT = 500  # characters of an error: it may repeat what was sent
PIECE_BYTES = 256 << 10  # of an answer
_METHODS = frozenset(HTTPMethod)
_OTHER_METHOD = "_OTHER"  # OpenTelemetry's semantic conventions, http.request.method
_TOO_LARGE = "serving.request-size"
_ENCODED = "serving.content-encoding"

_HTTP_STATUS = {
    "INVALID_ARGUMENT": HTTPStatus.BAD_REQUEST,
    "FAILED_PRECONDITION": HTTPStatus.BAD_REQUEST,
    "NOT_FOUND": HTTPStatus.NOT_FOUND,
    "PERMISSION_DENIED": HTTPStatus.FORBIDDEN,
    "RESOURCE_EXHAUSTED": HTTPStatus.TOO_MANY_REQUESTS,
    "UNIMPLEMENTED": HTTPStatus.NOT_IMPLEMENTED,
    "UNAVAILABLE": HTTPStatus.SERVICE_UNAVAILABLE,
    "DEADLINE_EXCEEDED": HTTPStatus.GATEWAY_TIMEOUT,
}


@dataclass(frozen=True)
class Asked:
    """A request that matched a route: the match, the headers (lower case), the whole body."""

    path: re.Match[str]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What a behaviour answers with status 200."""

    body: bytes
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Route:
    """A method and a pattern of whole paths (still percent-encoded); `api` is what it counts as.

    `api` is None for what is asked by machines again and again: metrics, health.
    """

    method: str
    pattern: re.Pattern[str]
    behave: Callable[[Asked, Call], Awaitable[Answer]]
    api: str | None


@dataclass(frozen=True)
class RestSettings:
    """Limits of one server; `timeout` in seconds, from the request's head to its answer."""

    max_body_bytes: int
    max_concurrent: int
    timeout: float


class RestApplication:
    """The routes. One instance per server, for it counts who is inside."""

    def __init__(self, routes: Sequence[Route], watch: Watch, settings: RestSettings) -> None:
        self._routes = tuple(routes)
        self._watch = watch
        self._settings = settings
        self._inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._answer(Request(scope, receive))
        if len(response.body) <= PIECE_BYTES:
            await response(scope, receive, send)
        else:
            await _in_pieces(response, send)

    async def _answer(self, request: Request) -> Response:
        path = request.scope.get("raw_path", request.url.path.encode()).decode("latin-1")
        try:
            route, match = self._find(request.method, path)
        except ServingError as error:
            return self._nowhere(request, error)
        call = Call(route.api or "", "REST")
        if route.api is not None:
            self._watch.begin(call)
        self._tell_origin(call, request)
        try:
            answer = await self._bounded(route, match, request, call)
        except ServingError as error:
            response, status = _error_response(error), error.status
        except ClientDisconnect:
            response, status = Response(status_code=HTTPStatus.BAD_REQUEST), "CANCELLED"
        except asyncio.CancelledError:
            if route.api is not None:
                self._watch.end(call, "CANCELLED")
            raise
        except Exception:
            log.exception("%s %s failed", request.method, path)
            response, status = _error_response(ServingError("internal error")), "INTERNAL"
        else:
            response, status = _response(answer), "OK"
        call.sent, call.http_status = len(response.body), response.status_code
        if route.api is not None:
            self._watch.end(call, status)
        return response

    def _nowhere(self, request: Request, error: ServingError) -> Response:
        """The answer where no route leads: a call as well, but what it names is not repeated."""
        call = self._watch.begin(Call("", "REST"))
        self._tell_origin(call, request)
        response = _error_response(error)
        call.sent, call.http_status = len(response.body), response.status_code
        self._watch.end(call, error.status)
        return response

    def _tell_origin(self, call: Call, request: Request) -> None:
        if self._watch.origins and request.client is not None:
            call.method = request.method if request.method in _METHODS else _OTHER_METHOD
            call.peer = spell(*request.client)
            call.traceparent = request.headers.get("traceparent", "")

    def _find(self, method: str, path: str) -> tuple[Route, re.Match[str]]:
        for route in self._routes:
            if route.method == method and (match := route.pattern.fullmatch(path)):
                return route, match
        if path.lower().startswith(("/v1/", "/v2/")):
            raise InvalidArgument(f"Malformed request: {method} {path}")
        raise NotFound(f"there is nothing at {path}")

    async def _bounded(
        self, route: Route, match: re.Match[str], request: Request, call: Call
    ) -> Answer:
        if route.api is None:
            return await route.behave(Asked(match, request.headers, b""), call)
        if self._inside >= self._settings.max_concurrent:
            raise ResourceExhausted(f"{self._inside} requests are being served; try again")
        self._inside += 1
        try:
            async with asyncio.timeout(self._settings.timeout):
                body = await self._body(request)
                call.received = len(body)
                return await route.behave(Asked(match, request.headers, body), call)
        except TimeoutError:
            raise DeadlineExceeded("the request was not answered within the timeout") from None
        finally:
            self._inside -= 1

    async def _body(self, request: Request) -> bytes:
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise InvalidArgument("the body is compressed, which is not read", code=_ENCODED)
        limit = self._settings.max_body_bytes
        announced = request.headers.get("content-length", "0")
        if int(announced) > limit:  # h11 has made sure that it is a number
            raise _too_large(limit)
        body = bytearray()
        async for piece in request.stream():
            body += piece
            if len(body) > limit:
                raise _too_large(limit)
        return bytes(body)


async def _in_pieces(response: Response, send: Send) -> None:
    """Send a large answer; each piece once the client has taken most of those before."""
    head = {"status": response.status_code, "headers": response.raw_headers}
    await send({"type": "http.response.start", **head})
    body = memoryview(response.body)
    for start in range(0, len(body), PIECE_BYTES):
        piece = bytes(body[start : start + PIECE_BYTES])
        more = start + PIECE_BYTES < len(body)
        await send({"type": "http.response.body", "body": piece, "more_body": more})


def _response(answer: Answer) -> Response:
    return Response(answer.body, headers=dict(answer.headers), media_type=answer.media_type)


def _error_response(error: ServingError) -> Response:
    status = _HTTP_STATUS.get(error.status, HTTPStatus.INTERNAL_SERVER_ERROR)
    if error.code == _TOO_LARGE:
        status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    elif error.code == _ENCODED:
        status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    # What is left of a body is read and dropped, within the deadline of the next head: closing at
    # once would reset the connection before the client has read why.
    body = json.dumps({"error": error.message[:TEXT_LIMIT]}).encode()
    return Response(body, status_code=status, media_type="application/json")


def _too_large(limit: int) -> ResourceExhausted:
    return ResourceExhausted(f"the body is larger than {limit} bytes", code=_TOO_LARGE)
