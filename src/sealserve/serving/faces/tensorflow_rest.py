"""TensorFlow Serving's REST routes over the data plane.

    POST /v1/models/NAME[/versions/V | /labels/L]:predict | :classify | :regress
    GET  /v1/models/NAME[/versions/V | /labels/L][/metadata]

Routes and texts: TensorFlow Serving 2.21, model_servers/{http_rest_api_util,http_server}.cc.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from google.protobuf import json_format
from google.protobuf.message import Message

from sealserve.messages.inference_pb2 import Input
from sealserve.serving.calls import Call
from sealserve.serving.dataplane import DataPlane, ModelQuery
from sealserve.serving.faces.answers import SIGNATURE_DEF, status_response
from sealserve.serving.faces.converting import in_thread_if_large
from sealserve.serving.faces.rest import Answer, Asked, Route
from sealserve.serving.faces.rest_examples import (
    decode_examples,
    encode_classification,
    encode_regression,
)
from sealserve.serving.faces.rest_json import (
    decode_inputs,
    encode_outputs,
    parse_body,
    request_form,
    signature_name,
)
from sealserve.serving.inference import Inference
from sealserve.serving.signature import Array, Signature

_MODEL = (
    r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>\d{1,19})|/labels/(?P<label>[^/:]+))?"
)


class TensorFlowRest:
    """The routes below /v1."""

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane

    def routes(self) -> Sequence[Route]:
        """What this face serves."""
        return (
            Route("POST", _below_model(":predict"), self._predict, "Predict"),
            Route("GET", _below_model("/metadata"), self._metadata, "GetModelMetadata"),
            Route("GET", _below_model(""), self._status, "GetModelStatus"),
        )

    async def _predict(self, asked: Asked, call: Call) -> Answer:
        document = await in_thread_if_large(len(asked.body), parse_body, asked.body)
        form = request_form(document)

        async def decode(signature: Signature) -> Mapping[str, Array]:
            return await in_thread_if_large(len(asked.body), decode_inputs, document, signature)

        query = _query(asked.path, signature_name(document))
        prediction = await self._plane.predict(query, decode, call)
        size = sum(array.nbytes for array in prediction.outputs.values())
        return Answer(await in_thread_if_large(size, encode_outputs, prediction.outputs, form))

    async def _metadata(self, asked: Asked, call: Call) -> Answer:
        query = _query(asked.path)
        version, definitions = self._plane.metadata(query)
        call.model, call.version = query.name, version
        spec = {"name": query.name, "signature_name": "", "version": str(version)}
        metadata = {SIGNATURE_DEF: _to_dict(definitions)}
        return Answer(json.dumps({"model_spec": spec, "metadata": metadata}, indent=1).encode())

    async def _status(self, asked: Asked, call: Call) -> Answer:
        query = _query(asked.path)
        versions = self._plane.status(query)
        call.model = query.name
        return Answer(json.dumps(_to_dict(status_response(versions)), indent=1).encode())


class ExamplesRest:
    """The routes below /v1 that are asked about examples."""

    def __init__(self, inference: Inference) -> None:
        self._inference = inference

    def routes(self) -> Sequence[Route]:
        """What this face serves."""
        return (
            Route("POST", _below_model(":classify"), self._classify, "Classify"),
            Route("POST", _below_model(":regress"), self._regress, "Regress"),
        )

    async def _classify(self, asked: Asked, call: Call) -> Answer:
        query, examples = await _examples(asked)
        inferred = await self._inference.classify(query, examples, call)
        size = inferred.result.labels.nbytes + inferred.result.scores.nbytes
        return Answer(await in_thread_if_large(size, encode_classification, inferred.result))

    async def _regress(self, asked: Asked, call: Call) -> Answer:
        query, examples = await _examples(asked)
        inferred = await self._inference.regress(query, examples, call)
        size = inferred.result.values.nbytes
        return Answer(await in_thread_if_large(size, encode_regression, inferred.result))


async def _examples(asked: Asked) -> tuple[ModelQuery, Input]:
    document = await in_thread_if_large(len(asked.body), parse_body, asked.body)
    query = _query(asked.path, signature_name(document))
    return query, await in_thread_if_large(len(asked.body), decode_examples, document)


def _below_model(rest: str) -> re.Pattern[str]:
    return re.compile(_MODEL + rest, re.IGNORECASE)


def _query(match: re.Match[str], signature: str = "") -> ModelQuery:
    return ModelQuery(
        name=unquote(match["name"]),
        version=int(match["version"]) if match["version"] else None,
        label=unquote(match["label"]) if match["label"] else None,
        signature=signature,
    )


def _to_dict(message: Message) -> Any:
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
