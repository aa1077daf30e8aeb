"""The faces of the Open Inference Protocol over a real data plane, without sockets."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np

from sealserve.messages import services, tensor_pb2
from sealserve.messages.graph_pb2 import GraphDef
from sealserve.messages.open_inference_pb2 import ModelInferRequest, ModelInferResponse
from sealserve.messages.saved_model_pb2 import SavedModel
from sealserve.models.graph import shape_proto
from sealserve.models.saved_model import tensor_info
from sealserve.serving.calls import Call
from sealserve.serving.capacity import plan
from sealserve.serving.dataplane import DataPlane
from sealserve.serving.engines.openvino import OpenVinoEngine
from sealserve.serving.faces.rest import Answer, Asked
from sealserve.serving.faces.v2_grpc import OpenInference
from sealserve.serving.faces.v2_rest import OpenInferenceRest
from sealserve.serving.life.lifecycle import ModelManager, Pace
from sealserve.serving.life.models import ModelSettings
from sealserve.serving.life.servable import Loader
from sealserve.serving.opening.vault import Vault
from sealserve.serving.readiness import Readiness

TYPES = {
    "BOOL": tensor_pb2.DT_BOOL,
    "UINT8": tensor_pb2.DT_UINT8,
    "UINT16": tensor_pb2.DT_UINT16,
    "UINT32": tensor_pb2.DT_UINT32,
    "UINT64": tensor_pb2.DT_UINT64,
    "INT8": tensor_pb2.DT_INT8,
    "INT16": tensor_pb2.DT_INT16,
    "INT32": tensor_pb2.DT_INT32,
    "INT64": tensor_pb2.DT_INT64,
    "FP16": tensor_pb2.DT_HALF,
    "FP32": tensor_pb2.DT_FLOAT,
    "FP64": tensor_pb2.DT_DOUBLE,
}
FIELDS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "UINT64": "uint64_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
}
ONES = np.ones((1, 2), np.float32).tobytes()
HALF = "half"  # the signature that gives FP16 for FP32


def echo_model() -> SavedModel:
    """`y` is `x`, [n,m], in a signature per datatype, named so; FP32 is the default."""
    model = SavedModel(saved_model_schema_version=1)
    meta_graph = model.meta_graphs.add()
    meta_graph.meta_info_def.tags.append("serve")
    graph = meta_graph.graph_def
    graph.versions.producer = 1882
    for name, data_type in TYPES.items():
        node = graph.node.add(name=name, op="Placeholder")
        node.attr["dtype"].type = data_type
        node.attr["shape"].shape.CopyFrom(shape_proto((None, None)))
        graph.node.add(name=f"{name}_y", op="Identity", input=[name]).attr["T"].type = data_type
        key = "serving_default" if name == "FP32" else name
        _sign(model, key, (f"{name}:0", data_type), (f"{name}_y:0", data_type))
    _cast(graph)
    half = (f"{HALF}:0", tensor_pb2.DT_HALF)
    _sign(model, HALF, ("FP32:0", tensor_pb2.DT_FLOAT), half)
    return model


def _cast(graph: GraphDef) -> None:
    node = graph.node.add(name=HALF, op="Cast", input=["FP32"])
    node.attr["SrcT"].type, node.attr["DstT"].type = tensor_pb2.DT_FLOAT, tensor_pb2.DT_HALF


def _sign(model: SavedModel, key: str, x: tuple[str, int], y: tuple[str, int]) -> None:
    definition = model.meta_graphs[0].signature_def[key]
    definition.method_name = "tensorflow/serving/predict"
    definition.inputs["x"].CopyFrom(tensor_info(*x, (None, None)))
    definition.outputs["y"].CopyFrom(tensor_info(*y, (None, None)))


class Site:
    """Both faces, in a loop of their own, and the model `echo`, version 7."""

    def __init__(self, folder: Path) -> None:
        base = folder / "echo"
        (base / "7").mkdir(parents=True)
        (base / "7" / "saved_model.pb").write_bytes(echo_model().SerializeToString())
        self._runner = asyncio.Runner()
        self._manager = ModelManager(
            Loader(OpenVinoEngine(plan(1)), Vault(None), ["serve"]), Pace(poll=0)
        )
        self._run(self._manager.start([ModelSettings("echo", str(base))]))
        self._plane = DataPlane(self._manager, concurrency=1)
        self.readiness = Readiness()
        self._methods = OpenInference(self._plane, self.readiness, engine="E 1").methods()
        self._routes = OpenInferenceRest(self._plane, self.readiness, engine="E 1").routes()

    def grpc(self, method: services.Method[Any, Any], data: bytes) -> bytes:
        answer: bytes = self._run(self._methods[method](data, Call(method.name, "GRPC")))
        return answer

    def rest(self, method: str, path: str, body: bytes = b"", length: str | None = None) -> Answer:
        headers = {} if length is None else {"inference-header-content-length": length}
        for route in self._routes:
            if route.method == method and (match := route.pattern.fullmatch(path)):
                asked = Asked(match, headers, body)
                answer: Answer = self._run(route.behave(asked, Call(route.api or "", "REST")))
                return answer
        raise AssertionError(f"no route for {path}")

    def infer(self, request: ModelInferRequest) -> ModelInferResponse:
        data = request.SerializeToString()
        return ModelInferResponse.FromString(self.grpc(services.MODEL_INFER, data))

    def post(self, document: Any, binary: bytes = b"") -> tuple[dict[str, Any], bytes]:
        """The answer's JSON and what follows it."""
        head = json.dumps(document).encode()
        length = str(len(head)) if binary else None
        answer = self.rest("POST", "/v2/models/echo/infer", head + binary, length)
        size = int(answer.headers.get("Inference-Header-Content-Length", len(answer.body)))
        return json.loads(answer.body[:size]), answer.body[size:]

    def close(self) -> None:
        self._plane.close()
        self._run(self._manager.close())
        self._runner.close()

    def _run(self, awaitable: Any) -> Any:
        async def wait() -> Any:
            return await awaitable

        return self._runner.run(wait())


def infer_request(datatype: str, raw: list[bytes], **changes: Any) -> ModelInferRequest:
    """A request to the signature of a datatype; `contents` go into its typed field."""
    made = ModelInferRequest(model_name="echo", id=changes.get("id", ""), raw_input_contents=raw)
    signature = changes.get("signature", "" if datatype == "FP32" else datatype)
    if signature:
        made.parameters["signature_name"].string_param = signature
    tensor = made.inputs.add(name="x", datatype=datatype, shape=changes.get("shape", [1, 2]))
    if "contents" in changes:
        tensor.contents.SetInParent()
        getattr(tensor.contents, FIELDS[datatype]).extend(changes["contents"])
    return made
