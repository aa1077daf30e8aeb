"""The REST face: TensorFlow Serving's routes over the data plane, as an ASGI application.

    POST /v1/models/NAME[/versions/V | /labels/L]:predict
    GET  /v1/models/NAME[/versions/V | /labels/L][/metadata]
    GET  the metrics, at the path that the monitoring configuration names

Bodies are read within a limit, requests answered within a deadline, as many at a time as allowed.
Every error is `{"error": "..."}`. What is unforeseen is logged; the peer hears 500 and no more.

Routes, codes and texts: TensorFlow Serving 2.21, model_servers/{http_rest_api_util,http_server}.cc.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, ParamSpec, TypeVar
from urllib.parse import unquote

from google.protobuf import json_format
from google.protobuf.message import Message
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sealserve.errors import (
    DeadlineExceeded,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    ServingError,
    Unimplemented,
)
from sealserve.serving.answers import SIGNATURE_DEF, status_response
from sealserve.serving.dataplane import DataPlane, ModelQuery
from sealserve.serving.metrics import CONTENT_TYPE
from sealserve.serving.rest_json import (
    decode_inputs,
    encode_outputs,
    parse_body,
    request_form,
    signature_name,
)
from sealserve.serving.signature import Array, Signature

log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")

_MODEL = (
    r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>\d{1,19})|/labels/(?P<label>[^/:]+))?"
)
_POST = re.compile(_MODEL + r":(?P<verb>classify|regress|predict)", re.IGNORECASE)
_GET = re.compile(_MODEL + r"(?P<metadata>/metadata)?", re.IGNORECASE)
_INLINE_BYTES = 64 << 10  # up to here converting in the event loop is faster than a thread
_TOO_LARGE = "serving.request-size"

_HTTP_STATUS = {
    "INVALID_ARGUMENT": HTTPStatus.BAD_REQUEST,
    "FAILED_PRECONDITION": HTTPStatus.BAD_REQUEST,
    "NOT_FOUND": HTTPStatus.NOT_FOUND,
    "RESOURCE_EXHAUSTED": HTTPStatus.TOO_MANY_REQUESTS,
    "UNIMPLEMENTED": HTTPStatus.NOT_IMPLEMENTED,
    "UNAVAILABLE": HTTPStatus.SERVICE_UNAVAILABLE,
    "DEADLINE_EXCEEDED": HTTPStatus.GATEWAY_TIMEOUT,
}


@dataclass(frozen=True)
class RestSettings:
    """Limits of one server; `timeout` in seconds, from the request's head to its answer."""

    max_body_bytes: int
    max_concurrent: int
    timeout: float
    metrics_path: str | None = None


class RestApplication:
    """The routes. One instance per server, for it counts who is inside."""

    def __init__(self, plane: DataPlane, settings: RestSettings) -> None:
        self._plane = plane
        self._settings = settings
        self._inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._answer(Request(scope, receive))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        if request.method == "GET" and request.url.path == self._settings.metrics_path:
            return Response(self._plane.metrics.render(), media_type=CONTENT_TYPE)
        try:
            if self._inside >= self._settings.max_concurrent:
                raise ResourceExhausted(f"{self._inside} requests are being served; try again")
            self._inside += 1
            try:
                async with asyncio.timeout(self._settings.timeout):
                    return _json_response(await self._dispatch(request))
            except TimeoutError:
                raise DeadlineExceeded("the request was not answered within the timeout") from None
            finally:
                self._inside -= 1
        except ServingError as error:
            return _error_response(error)
        except ClientDisconnect:
            return Response(status_code=HTTPStatus.BAD_REQUEST)  # to nobody
        except Exception:
            log.exception("%s %s failed", request.method, request.url.path)
            return _error_response(ServingError("internal error"))

    async def _dispatch(self, request: Request) -> bytes:
        path = request.scope.get("raw_path", request.url.path.encode()).decode("latin-1")
        if request.method == "POST" and (match := _POST.fullmatch(path)):
            if match["verb"].lower() != "predict":
                raise Unimplemented(f"{match['verb'].lower()} is not served; use predict")
            return await self._predict(_query(match), request)
        if request.method == "GET" and (match := _GET.fullmatch(path)):
            if match["metadata"]:
                return self._metadata(_query(match))
            status = status_response(self._plane.status(_query(match)))
            return json.dumps(_to_dict(status), indent=1).encode()
        if not path.lower().startswith("/v1/"):
            raise NotFound(f"there is nothing at {path}")
        raise InvalidArgument(f"Malformed request: {request.method} {path}")

    async def _predict(self, query: ModelQuery, request: Request) -> bytes:
        body = await self._body(request)
        document = await _convert(len(body), parse_body, body)
        form = request_form(document)

        async def decode(signature: Signature) -> Mapping[str, Array]:
            return await _convert(len(body), decode_inputs, document, signature)

        named = ModelQuery(query.name, query.version, query.label, signature_name(document))
        prediction = await self._plane.predict(named, decode)
        size = sum(array.nbytes for array in prediction.outputs.values())
        return await _convert(size, encode_outputs, prediction.outputs, form)

    def _metadata(self, query: ModelQuery) -> bytes:
        version, definitions = self._plane.metadata(query)
        spec = {"name": query.name, "signature_name": "", "version": str(version)}
        metadata = {SIGNATURE_DEF: _to_dict(definitions)}
        return json.dumps({"model_spec": spec, "metadata": metadata}, indent=1).encode()

    async def _body(self, request: Request) -> bytes:
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


async def _convert(size: int, step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The step's result; in a thread if `size` bytes would keep the event loop from others."""
    if size <= _INLINE_BYTES:
        return step(*args, **kwargs)
    return await asyncio.to_thread(step, *args, **kwargs)


def _query(match: re.Match[str]) -> ModelQuery:
    return ModelQuery(
        name=unquote(match["name"]),
        version=int(match["version"]) if match["version"] else None,
        label=unquote(match["label"]) if match["label"] else None,
    )


def _to_dict(message: Message) -> Any:
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def _json_response(body: bytes, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(body, status_code=status, media_type="application/json")


def _error_response(error: ServingError) -> Response:
    status = _HTTP_STATUS.get(error.status, HTTPStatus.INTERNAL_SERVER_ERROR)
    if error.code == _TOO_LARGE:
        status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    # What is left of a body is read and dropped, within the deadline of the next head: closing at
    # once would reset the connection before the client has read why.
    return _json_response(json.dumps({"error": error.message}).encode(), status)


def _too_large(limit: int) -> ResourceExhausted:
    return ResourceExhausted(f"the body is larger than {limit} bytes", code=_TOO_LARGE)
