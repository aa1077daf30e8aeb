"""Tiny graphs and models of the tests, and the real engine that runs them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from sealserve.messages import tensor_pb2
from sealserve.messages.graph_pb2 import GraphDef, NodeDef
from sealserve.messages.saved_model_pb2 import SavedModel, SignatureDef
from sealserve.messages.tensors import to_proto
from sealserve.models.graph import shape_proto
from sealserve.models.saved_model import tensor_info
from sealserve.serving.capacity import plan
from sealserve.serving.engines.openvino import OpenVinoEngine
from sealserve.serving.life.servable import Loader
from sealserve.serving.opening.vault import Vault

Shape = Sequence[int | None] | None
Tensors = dict[str, tuple[str, int, Shape]]  # alias: tensor, DataType, shape


class Graph:
    """A GraphDef under construction."""

    def __init__(self) -> None:
        self.proto = GraphDef()
        self.proto.versions.producer = 1882

    def placeholder(self, name: str, shape: Shape, data_type: int = tensor_pb2.DT_FLOAT) -> None:
        node = self.proto.node.add(name=name, op="Placeholder")
        node.attr["dtype"].type = data_type
        node.attr["shape"].shape.CopyFrom(shape_proto(shape))

    def constant(self, name: str, array: np.ndarray) -> None:
        node = self.proto.node.add(name=name, op="Const")
        node.attr["value"].tensor.CopyFrom(to_proto(array))
        node.attr["dtype"].type = node.attr["value"].tensor.dtype

    def op(self, name: str, op: str, *inputs: str, data_type: int = tensor_pb2.DT_FLOAT) -> NodeDef:
        node = self.proto.node.add(name=name, op=op, input=inputs)
        node.attr["T"].type = data_type
        return node


def signature_def(inputs: Tensors, outputs: Tensors) -> SignatureDef:
    definition = SignatureDef(method_name="tensorflow/serving/predict")
    for fields, tensors in ((definition.inputs, inputs), (definition.outputs, outputs)):
        for alias, (tensor, data_type, shape) in tensors.items():
            fields[alias].CopyFrom(tensor_info(tensor, data_type, shape))
    return definition


def saved_model(graph: GraphDef, **signatures: SignatureDef) -> SavedModel:
    model = SavedModel(saved_model_schema_version=1)
    meta_graph = model.meta_graphs.add()
    meta_graph.meta_info_def.tags.append("serve")
    meta_graph.graph_def.CopyFrom(graph)
    for name, definition in signatures.items():
        meta_graph.signature_def[name].CopyFrom(definition)
    return model


def scaling_model(factor: float) -> SavedModel:
    """`y` = `x` times a factor: float32 [n,2] in and out."""
    graph = Graph()
    graph.placeholder("x", (None, 2))
    graph.constant("factor", np.float32([factor]))
    graph.op("y", "Mul", "x", "factor")
    tensors = {"x": ("x:0", tensor_pb2.DT_FLOAT, (None, 2))}
    outputs = {"y": ("y:0", tensor_pb2.DT_FLOAT, (None, 2))}
    return saved_model(graph.proto, serving_default=signature_def(tensors, outputs))


@pytest.fixture(scope="session")
def engine() -> OpenVinoEngine:
    return OpenVinoEngine(plan(2, inter_op=2))


@pytest.fixture(scope="session")
def loader(engine: OpenVinoEngine) -> Loader:
    return Loader(engine, Vault(None), ["serve"])


@pytest.fixture
def new_graph() -> Callable[[], Graph]:
    return Graph


@pytest.fixture
def new_signature() -> Callable[[Tensors, Tensors], SignatureDef]:
    return signature_def


@pytest.fixture
def new_model() -> Callable[..., SavedModel]:
    return saved_model


@pytest.fixture
def publish(tmp_path: Path) -> Callable[..., Path]:
    """Write a version of the scaling model, by default with its number as the factor."""

    def write(version: int, factor: float | None = None, *, model: str = "scale") -> Path:
        base = tmp_path / model
        folder = base / str(version)
        folder.mkdir(parents=True)
        data = scaling_model(version if factor is None else factor).SerializeToString()
        (folder / "saved_model.pb").write_bytes(data)
        return base

    return write
