"""The same arrays as a request of each protocol, serialized once.

TensorFlow Serving 2.21: apis/predict.proto, g3doc/api_rest.md (columns, `inputs`). Open Inference
Protocol: inference_grpc.md and inference_rest.md, here with the binary form over gRPC and plain
JSON over REST.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import quote

import numpy as np

from sealserve.client.answers import Array
from sealserve.client.load.plan import Shot
from sealserve.errors import InvalidArgument, UsageError
from sealserve.messages.services import MODEL_INFER, PREDICT
from sealserve.messages.wire import Spec, encode_predict_request

Protocol = Literal["grpc", "rest", "v2-grpc", "v2-rest"]
_JSON = "application/json"
_V2_TYPES = {
    "bool": "BOOL",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    **{f"int{bits}": f"INT{bits}" for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": f"UINT{bits}" for bits in (8, 16, 32, 64)},
}


def make_shot(
    protocol: Protocol,
    model: str,
    inputs: Mapping[str, Array],
    *,
    signature: str = "serving_default",
    version: int | None = None,
) -> Shot:
    """The request; InvalidArgument for arrays that the protocol has no form for.

    Raises UsageError for a signature of one's own where the protocol knows none.
    """
    if protocol == "grpc":
        spec = Spec(model, version, signature=signature)
        return Shot("grpc", PREDICT.path, encode_predict_request(spec, inputs))
    if protocol == "rest":
        body = {
            "signature_name": signature,
            "inputs": {name: _json(a) for name, a in inputs.items()},
        }
        return json_shot(model, body, version=version)
    if signature != "serving_default":
        raise UsageError("the Open Inference Protocol knows no signatures")
    return (_v2_grpc if protocol == "v2-grpc" else _v2_rest)(model, inputs, version)


def json_shot(model: str, body: Any, *, version: int | None = None) -> Shot:
    """A body of TensorFlow Serving's REST API as it is, as a request to predict."""
    at = "" if version is None else f"/versions/{version}"
    path = f"/v1/models/{quote(model, safe='')}{at}:predict"
    return Shot("http", path, _encoded(body), _JSON)


def _encoded(body: Any) -> bytes:
    try:
        return json.dumps(body, allow_nan=False).encode()
    except ValueError as error:
        raise InvalidArgument("JSON has no infinities and no NaN") from error


def _json(array: Array) -> Any:
    if array.dtype.kind == "c":
        raise InvalidArgument("JSON has no complex numbers")
    if array.dtype.kind not in "OSU":
        return array.tolist()
    wrapped = [{"b64": base64.b64encode(_bytes(one)).decode()} for one in array.ravel().tolist()]
    nested = np.empty(len(wrapped), object)
    nested[:] = wrapped
    return nested.reshape(array.shape).tolist()


def _bytes(element: Any) -> bytes:
    if not isinstance(element, (bytes, str)):
        raise InvalidArgument(f"an array holds {type(element).__name__}; expected bytes or str")
    return element.encode() if isinstance(element, str) else element


def _v2_grpc(model: str, inputs: Mapping[str, Array], version: int | None) -> Shot:
    from sealserve.messages.open_inference_pb2 import ModelInferRequest

    request = ModelInferRequest(model_name=model, model_version=_v2_version(version))
    for name, array in inputs.items():
        request.inputs.add(name=name, datatype=_v2_type(array), shape=array.shape)
        stored = array.astype(array.dtype.newbyteorder("<"), copy=False)
        request.raw_input_contents.append(stored.tobytes())
    return Shot("grpc", MODEL_INFER.path, request.SerializeToString())


def _v2_rest(model: str, inputs: Mapping[str, Array], version: int | None) -> Shot:
    tensors = [
        {
            "name": name,
            "datatype": _v2_type(array),
            "shape": list(array.shape),
            "data": array.ravel().tolist(),
        }
        for name, array in inputs.items()
    ]
    at = "" if version is None else f"/versions/{version}"
    path = f"/v2/models/{quote(model, safe='')}{at}/infer"
    return Shot("http", path, _encoded({"inputs": tensors}), _JSON)


def _v2_version(version: int | None) -> str:
    return "" if version is None else str(version)


def _v2_type(array: Array) -> str:
    found = _V2_TYPES.get(array.dtype.name)
    if found is None:
        raise InvalidArgument(f"arrays of {array.dtype} are not sent in this protocol here")
    return found
