"""Sound inputs of the model server: requests of every kind, models of every format."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np

from sealserve.messages import tensor_pb2
from sealserve.messages.graph_pb2 import GraphDef, NodeDef
from sealserve.messages.inference_pb2 import Example, Input
from sealserve.messages.onnx_pb2 import OnnxModel
from sealserve.messages.open_inference_pb2 import ModelInferRequest
from sealserve.messages.predict_pb2 import PredictRequest, PredictResponse
from sealserve.messages.prediction_log_pb2 import PredictionLog
from sealserve.messages.saved_model_pb2 import SavedModel
from sealserve.messages.status_pb2 import ReloadConfigRequest
from sealserve.messages.tensors import fill_proto, to_proto
from sealserve.models.saved_model import make_saved_model, tensor_info
from sealserve.serving.formats.bundle import INDEX_NAME
from sealserve.serving.formats.table import masked_crc32c, read_table
from sealserve.serving.signature import Signature, TensorSpec
from tests.support.made_versions import add_restoring, bundle

FLOAT, STRING = tensor_pb2.DT_FLOAT, tensor_pb2.DT_STRING
ROWS = np.arange(6, dtype=np.float32).reshape(3, 2)
TEXTS = np.array([b"a", b"\xff\0"], object)


def signature(
    data_type: int = FLOAT, shape: tuple[int | None, ...] | None = (None, 2)
) -> Signature:
    """Of one input `x`."""
    spec = TensorSpec("x", "x:0", data_type, shape)
    return Signature("serving_default", {"x": spec}, {"y": TensorSpec("y", "y:0", FLOAT, None)})


def predict_requests() -> list[bytes]:
    """In `tensor_content`, in typed fields, of strings."""
    plain = PredictRequest(output_filter=["y"])
    plain.model_spec.name = "scale"
    plain.model_spec.version.value = 7
    fill_proto(plain.inputs["x"], ROWS)
    two = PredictRequest()
    two.model_spec.version_label = "stable"
    two.model_spec.signature_name = "serving_default"
    fill_proto(two.inputs["x"], ROWS)
    fill_proto(two.inputs["text"], TEXTS)
    typed = PredictRequest()
    typed.inputs["x"].dtype = FLOAT
    typed.inputs["x"].float_val.extend([1.0, 2.0])
    typed.inputs["x"].tensor_shape.dim.add(size=2)
    return [each.SerializeToString() for each in (plain, two, typed)]


def predict_responses() -> list[bytes]:
    """Of two outputs."""
    answer = PredictResponse()
    answer.model_spec.name = "scale"
    fill_proto(answer.outputs["y"], ROWS)
    fill_proto(answer.outputs["sum"], ROWS.sum(1))
    return [answer.SerializeToString()]


def infer_requests() -> list[bytes]:
    """Of the Open Inference Protocol, in binary form and in typed contents."""
    found = []
    for binary in (True, False):
        request = ModelInferRequest(model_name="scale", model_version="3", id="7")
        tensor = request.inputs.add(name="x", datatype="FP32", shape=[3, 2])
        request.outputs.add(name="y")
        request.parameters["signature_name"].string_param = "serving_default"
        if binary:
            request.raw_input_contents.append(ROWS.tobytes())
        else:
            tensor.contents.fp32_contents.extend(ROWS.ravel().tolist())
        found.append(request.SerializeToString())
    return found


def infer_bodies() -> list[bytes]:
    """The same in JSON, and in JSON with the numbers behind it."""
    tensor = {"name": "x", "datatype": "FP32", "shape": [3, 2]}
    binary = {**tensor, "parameters": {"binary_data_size": ROWS.nbytes}}
    output = {"name": "y", "parameters": {"binary_data": True}}
    return [
        json.dumps({"id": "7", "inputs": [{**tensor, "data": ROWS.tolist()}]}).encode(),
        json.dumps({"inputs": [binary], "outputs": [output]}).encode() + ROWS.tobytes(),
    ]


def rest_bodies() -> list[bytes]:
    """Both forms of TensorFlow Serving's, and binary values."""
    return [
        json.dumps({"signature_name": "serving_default", "instances": ROWS.tolist()}).encode(),
        json.dumps({"inputs": {"x": ROWS.tolist()}}).encode(),
        b'{"instances": [{"x": [NaN, -Infinity]}, {"x": [1e3, 2]}]}',
        b'{"instances": [{"b64": "YQ=="}, "b"]}',
    ]


def rest_examples() -> list[bytes]:
    """With a context and without."""
    example = {"age": 31, "words": ["a", {"b64": "YQ=="}], "score": [0.5, 1e-3], "sure": True}
    return [
        json.dumps({"signature_name": "classify", "examples": [example, {}]}).encode(),
        json.dumps({"context": {"country": "de"}, "examples": [example]}).encode(),
    ]


def inputs_of_examples() -> list[bytes]:
    """Lists of examples, with a context and without."""
    example = Example()
    example.features.feature["age"].int64_list.value.append(31)
    plain, context = Input(), Input()
    plain.example_list.examples.append(example)
    context.example_list_with_context.context.CopyFrom(example)
    context.example_list_with_context.examples.append(example)
    return [plain.SerializeToString(), context.SerializeToString()]


def prediction_logs() -> list[bytes]:
    """A request of every kind that is replayed."""
    predict, classify, several = PredictionLog(), PredictionLog(), PredictionLog()
    fill_proto(predict.predict_log.request.inputs["x"], ROWS)
    classify.classify_log.request.model_spec.signature_name = "examples"
    classify.classify_log.request.input.ParseFromString(inputs_of_examples()[1])
    several.multi_inference_log.request.tasks.add().model_spec.signature_name = "examples"
    several.multi_inference_log.request.input.ParseFromString(inputs_of_examples()[0])
    return [each.SerializeToString() for each in (predict, classify, several)]


def framed(*records: bytes) -> bytes:
    """A TFRecord file."""
    found = b""
    for record in records:
        length = struct.pack("<Q", len(record))
        found += length + struct.pack("<I", masked_crc32c(length))
        found += record + struct.pack("<I", masked_crc32c(record))
    return found


def record_files() -> list[bytes]:
    """Of several records, and of none."""
    return [framed(*prediction_logs()), b""]


ONNX_DATA = "w.bin"
VALUES = {"w": np.float32([2.0, 3.0]), "b/.ATTRIBUTES/VARIABLE_VALUE": np.float32([1.0])}


def tables() -> list[bytes]:
    """The index of a bundle."""
    return [bundle(VALUES)[INDEX_NAME]]


def bundle_entries() -> list[bytes]:
    """What an index holds of each value, and its header."""
    return list(read_table(tables()[0]).values())


def saved_models() -> list[bytes]:
    """Frozen, and with a variable that a function reads."""
    return [each.SerializeToString() for each in (_frozen(), _variable())]


def _frozen() -> SavedModel:
    graph = GraphDef()
    _add(graph.node, "x", "Placeholder", dtype=FLOAT)
    constant = _add(graph.node, "w", "Const", dtype=FLOAT)
    constant.attr["value"].tensor.CopyFrom(to_proto(VALUES["w"]))
    _add(graph.node, "y", "Mul", "x", "w", T=FLOAT)
    return _exported(graph)


def _variable() -> SavedModel:
    graph = GraphDef()
    _add(graph.node, "x", "Placeholder", dtype=FLOAT)
    handle = _add(graph.node, "v", "VarHandleOp", dtype=FLOAT)
    handle.attr["shape"].shape.dim.add(size=2)
    function = graph.library.function.add()
    function.signature.name = "body"
    for name, data_type in (("x", FLOAT), ("v", tensor_pb2.DT_RESOURCE)):
        function.signature.input_arg.add(name=name, type=data_type)
    function.signature.output_arg.add(name="y", type=FLOAT)
    _add(function.node_def, "read", "ReadVariableOp", "v", dtype=FLOAT)
    _add(function.node_def, "mul", "Mul", "x", "read:value:0", T=FLOAT)
    function.ret["y"] = "mul:z:0"
    call = _add(graph.node, "y", "StatefulPartitionedCall", "x", "v")
    call.attr["f"].func.name = "body"
    call.attr["Tin"].list.type.extend([FLOAT, tensor_pb2.DT_RESOURCE])
    call.attr["Tout"].list.type.append(FLOAT)
    restore = add_restoring(graph, {"v": "w"})
    model = _exported(graph)
    model.meta_graphs[0].saver_def.restore_op_name = restore
    return model


def _exported(graph: GraphDef) -> SavedModel:
    return make_saved_model(
        graph,
        inputs={"x": tensor_info("x:0", FLOAT, (None, 2))},
        outputs={"y": tensor_info("y:0", FLOAT, (None, 2))},
    )


def _add(nodes: Any, name: str, op: str, *inputs: str, **types: int) -> NodeDef:
    node = nodes.add(name=name, op=op, input=inputs)
    for key, value in types.items():
        node.attr[key].type = value
    return node


def onnx_models() -> list[bytes]:
    """With its numbers inside, and elsewhere; elsewhere in a branch of a node too."""
    inside, elsewhere, nested = OnnxModel(), OnnxModel(), OnnxModel()
    inside.graph.output.add(name="y")
    inside.graph.initializer.add(raw_data=VALUES["w"].tobytes())
    for model in (elsewhere, nested):
        model.CopyFrom(inside)
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = 1
        for key, value in (("location", ONNX_DATA), ("offset", "0"), ("length", "8")):
            tensor.external_data.add(key=key, value=value)
    branch = nested.graph.node.add().attribute.add().g
    branch.initializer.append(elsewhere.graph.initializer[0])
    return [each.SerializeToString() for each in (inside, elsewhere, nested)]


def listings() -> list[bytes]:
    """Files of versions, a name a line."""
    return [
        b"saved_model.pb\nvariables/variables.index\nassets/words",
        b"model.onnx\nw.bin",
        b"a.xml\na.bin\nb.xml",
    ]


def text_configs() -> list[bytes]:
    """One of each of the text format's files."""
    return [
        b'server_key: "k"\nserver_cert: "c"\nclient_verify: true\ncustom_ca: "a"\n',
        b'model_config_list { config { name: "a" base_path: "m/a" model_platform: "tensorflow"\n'
        b"model_version_policy { specific { versions: 1 versions: 2 } }\n"
        b'version_labels { key: "stable" value: 1 } } }',
        b"max_batch_size { value: 8 } batch_timeout_micros { value: 100 }\n"
        b"allowed_batch_sizes: 4 allowed_batch_sizes: 8",
        b'prometheus_config { enable: true, path: "/metrics" }',
    ]


def reload_requests() -> list[bytes]:
    """A list of models with policies and labels."""
    request = ReloadConfigRequest()
    for base in ("m/a", "../a"):
        model = request.config.model_config_list.config.add(name=base, base_path=base)
        model.model_platform = "tensorflow"
        model.model_version_policy.specific.versions.extend([1, 2])
        model.version_labels["stable"] = 1
    return [request.SerializeToString()]


def traceparents() -> list[bytes]:
    """As W3C Trace Context spells them."""
    return [b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"]
