"""The Open Inference Protocol's REST routes over the data plane.

    GET  /v2, /v2/health/live, /v2/health/ready
    GET  /v2/models/NAME[/versions/V][/ready]
    POST /v2/models/NAME[/versions/V]/infer

What is not ready is answered by a status that is not 200. Routes: Open Inference Protocol,
inference_rest.md; the header of the binary tensor data extension: Triton Inference Server,
protocol/extension_binary_data.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any
from urllib.parse import unquote

from sealserve.errors import Unavailable
from sealserve.serving.calls import Call
from sealserve.serving.dataplane import DataPlane, ModelQuery
from sealserve.serving.faces.converting import in_thread_if_large
from sealserve.serving.faces.rest import Answer, Asked, Route
from sealserve.serving.faces.v2_json import decode_inputs, encode_response, parse_request
from sealserve.serving.faces.v2_models import (
    ENGINE,
    EXTENSIONS,
    SERVER_NAME,
    SERVER_VERSION,
    is_model_ready,
    model_metadata,
    model_query,
)
from sealserve.serving.readiness import Readiness
from sealserve.serving.signature import Array, Signature

HEADER_LENGTH = "Inference-Header-Content-Length"
_BINARY = "application/octet-stream"
_MODEL = r"/v2/models/(?P<name>[^/]+)(?:/versions/(?P<version>[0-9]{1,19}))?"


class OpenInferenceRest:
    """The routes below /v2."""

    def __init__(self, plane: DataPlane, readiness: Readiness, *, engine: str) -> None:
        """`engine` is what models are said to run on."""
        self._plane = plane
        self._readiness = readiness
        self._engine = engine

    def routes(self) -> Sequence[Route]:
        """What this face serves."""
        return (
            Route("GET", re.compile(r"/v2/?"), self._server_metadata, "ServerMetadata"),
            Route("GET", re.compile(r"/v2/health/live"), self._server_live, None),
            Route("GET", re.compile(r"/v2/health/ready"), self._server_ready, None),
            Route("GET", re.compile(_MODEL), self._model_metadata, "ModelMetadata"),
            Route("GET", re.compile(_MODEL + "/ready"), self._model_ready, None),
            Route("POST", re.compile(_MODEL + "/infer"), self._infer, "ModelInfer"),
        )

    async def _server_live(self, _asked: Asked, _call: Call) -> Answer:
        return _answer({"live": True})

    async def _server_ready(self, _asked: Asked, _call: Call) -> Answer:
        if not self._readiness.ready:
            raise Unavailable("the server is not ready")
        return _answer({"ready": True})

    async def _server_metadata(self, _asked: Asked, _call: Call) -> Answer:
        described = {"name": SERVER_NAME, "version": SERVER_VERSION, "extensions": EXTENSIONS}
        return _answer(described)

    async def _model_ready(self, asked: Asked, _call: Call) -> Answer:
        query = _query(asked.path)
        if not is_model_ready(self._plane, query):
            raise Unavailable("the model is not ready")
        return _answer({"name": query.name, "ready": True})

    async def _model_metadata(self, asked: Asked, call: Call) -> Answer:
        metadata = model_metadata(self._plane, _query(asked.path), call)
        return _answer({**asdict(metadata), "properties": {ENGINE: self._engine}})

    async def _infer(self, asked: Asked, call: Call) -> Answer:
        size = len(asked.body)
        header_length = asked.headers.get(HEADER_LENGTH.lower())
        request = await in_thread_if_large(size, parse_request, asked.body, header_length)

        async def decode(signature: Signature) -> Mapping[str, Array]:
            return await in_thread_if_large(size, decode_inputs, request, signature)

        query = _query(asked.path, request.signature)
        prediction = await self._plane.predict(query, decode, call, list(request.outputs))
        size_out = sum(array.nbytes for array in prediction.outputs.values())
        body, head = await in_thread_if_large(size_out, encode_response, prediction, request)
        if head is None:
            return Answer(body)
        return Answer(body, _BINARY, {HEADER_LENGTH: str(head)})


def _query(match: re.Match[str], signature: str = "") -> ModelQuery:
    return model_query(unquote(match["name"]), match["version"] or "", signature)


def _answer(described: Mapping[str, Any]) -> Answer:
    return Answer(json.dumps(described).encode())
