"""What the REST faces speak, as an OpenAPI 3.1 description, served at `/openapi.json`.

Bodies are described as far as they are the same for every model; what a tensor's values must be
the model's own metadata says. Sources: TensorFlow Serving's RESTful API; Open Inference Protocol,
inference_rest.
"""

from __future__ import annotations

import json
import re
from typing import Any

from sealserve import __version__
from sealserve.serving.calls import Call
from sealserve.serving.faces.rest import Answer, Asked, Route

PATH = "/openapi.json"

Json = dict[str, Any]

_ERRORS = {
    "400": "The request, or a value in it, is wrong; or the model has no such label or signature",
    "404": "No such model or version",
    "413": "The body is larger than the server takes",
    "415": "The body is compressed, which is not read",
    "429": "Too many requests are being served, or wait",
    "501": "The engine cannot do this with this model",
    "503": "Not available at the moment",
    "504": "Not answered within the server's deadline",
}
_NAME = {"type": "string", "minLength": 1, "pattern": "^[^/:]+$"}
_ANY: Json = {}
_OBJECT = {"type": "object"}
_EXAMPLES: Json = {
    "type": "object",
    "required": ["examples"],
    "properties": {
        "signature_name": {"type": "string"},
        "context": _OBJECT,
        "examples": {"type": "array", "minItems": 1, "items": _OBJECT},
    },
}
_PREDICT: Json = {
    "type": "object",
    "properties": {"signature_name": {"type": "string"}},
    "oneOf": [
        {
            "required": ["instances"],
            "properties": {"instances": {"type": "array", "minItems": 1}},
            "not": {"required": ["inputs"]},
        },
        {"required": ["inputs"], "not": {"required": ["instances"]}},
    ],
}
_TENSOR = {
    "type": "object",
    "required": ["name", "shape", "datatype"],
    "properties": {
        "name": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "datatype": {"type": "string"},
        "parameters": _OBJECT,
        "data": {"type": "array"},
    },
}
_INFER = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": "string"},
        "parameters": _OBJECT,
        "inputs": {"type": "array", "minItems": 1, "items": _TENSOR},
        "outputs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"type": "string"}, "parameters": _OBJECT},
            },
        },
    },
}


def description() -> Json:
    """The whole description, for both faces."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "SealServe, REST", "version": __version__},
        "paths": {**_tensorflow_paths(), **_v2_paths()},
        "components": {"schemas": {"Error": _required({"error": {"type": "string"}})}},
    }


def openapi_route() -> Route:
    """The route that shows the description."""
    body = json.dumps(description(), indent=1).encode()

    async def show(_asked: Asked, _call: Call) -> Answer:
        return Answer(body)

    return Route("GET", re.compile(re.escape(PATH)), show, None)


def _tensorflow_paths() -> Json:
    answers: dict[str, tuple[Json, Json]] = {
        ":predict": (
            _PREDICT,
            {
                "type": "object",
                "oneOf": [{"required": ["predictions"]}, {"required": ["outputs"]}],
            },
        ),
        ":classify": (_EXAMPLES, _required({"results": {"type": "array"}})),
        ":regress": (_EXAMPLES, _required({"results": {"type": "array"}})),
    }
    status = _required({"model_version_status": {"type": "array", "items": _OBJECT}})
    metadata = _required({"model_spec": _OBJECT, "metadata": _OBJECT})
    version = {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}
    which: dict[str, Json] = {
        "": {},
        "/versions/{version}": {"version": version},
        "/labels/{label}": {"label": _NAME},
    }
    paths: Json = {}
    for suffix, more in which.items():
        base, parameters = f"/v1/models/{{name}}{suffix}", {"name": _NAME, **more}
        paths[base] = _operation("get", "Status of versions", parameters, status)
        paths[f"{base}/metadata"] = _operation("get", "Signatures", parameters, metadata)
        for verb, (asked, answered) in answers.items():
            paths[base + verb] = _operation("post", verb[1:].title(), parameters, answered, asked)
    return paths


def _v2_paths() -> Json:
    server = _required({"name": {"type": "string"}, "version": {"type": "string"}})
    model = _required({"name": {"type": "string"}, "inputs": {"type": "array"}})
    infer = _required({"model_name": {"type": "string"}, "outputs": {"type": "array"}})
    paths = {
        "/v2": _operation("get", "The server", {}, server),
        "/v2/health/live": _operation("get", "Whether it lives", {}, _ANY),
        "/v2/health/ready": _operation("get", "Whether it is ready", {}, _ANY),
    }
    version = {"type": "string", "pattern": "^[0-9]{1,19}$"}
    for suffix, more in (("", {}), ("/versions/{version}", {"version": version})):
        base, parameters = f"/v2/models/{{name}}{suffix}", {"name": _NAME, **more}
        paths[base] = _operation("get", "Metadata", parameters, model)
        paths[f"{base}/ready"] = _operation("get", "Whether it is ready", parameters, _ANY)
        paths[f"{base}/infer"] = _operation("post", "Infer", parameters, infer, _INFER)
    return paths


def _operation(
    method: str, summary: str, parameters: Json, answer: Json, body: Json | None = None
) -> Json:
    operation: Json = {
        "summary": summary,
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": schema}
            for name, schema in parameters.items()
        ],
        "responses": {
            "200": {"description": "OK", "content": {"application/json": {"schema": answer}}},
            **{code: _error(text) for code, text in _ERRORS.items()},
        },
    }
    if body is not None:
        content = {"application/json": {"schema": body}}
        operation["requestBody"] = {"required": True, "content": content}
    return {method: operation}


def _error(text: str) -> Json:
    schema = {"$ref": "#/components/schemas/Error"}
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _required(properties: Json) -> Json:
    return {"type": "object", "required": list(properties), "properties": properties}
