"""Examples where nobody can compute with them: an engine without strings, and no TensorFlow."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from sealserve.messages import tensor_pb2
from sealserve.messages.inference_pb2 import (
    ClassificationRequest,
    InferenceTask,
    Input,
    MultiInferenceRequest,
    RegressionRequest,
)
from sealserve.messages.predict_pb2 import ModelSpec, PredictRequest
from sealserve.messages.saved_model_pb2 import SavedModel
from sealserve.messages.services import CLASSIFY, MULTI_INFERENCE, PREDICT, REGRESS
from sealserve.messages.tensors import to_proto
from sealserve.models.saved_model import tensor_info

PATIENCE = 60
REFUSAL = "tensor 'inputs' is DT_STRING, which OpenVINO"
ADVICE = "--engine=tensorflow does"


@pytest.fixture(scope="module")
def server(start: Any, publish: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The scaling model with two more signatures, which take examples."""
    base = tmp_path_factory.mktemp("models") / "scale"
    path = publish(base, 3) / "saved_model.pb"
    model = SavedModel.FromString(path.read_bytes())
    (meta_graph,) = model.meta_graphs
    node = meta_graph.graph_def.node.add(name="examples", op="Placeholder")
    node.attr["dtype"].type = tensor_pb2.DT_STRING
    for name, alias in (("classes_of", "scores"), ("value_of", "outputs")):
        definition = meta_graph.signature_def[name]
        definition.method_name = "tensorflow/serving/predict"
        inputs = tensor_info("examples:0", tensor_pb2.DT_STRING, (None,))
        definition.inputs["inputs"].CopyFrom(inputs)
        definition.outputs[alias].CopyFrom(tensor_info("y:0", tensor_pb2.DT_FLOAT, (None, 2)))
    path.write_bytes(model.SerializeToString())
    return start(base)


def one_example() -> Input:
    asked = Input()
    asked.example_list.examples.add().features.feature["x"].float_list.value.append(1)
    return asked


def spec(signature: str) -> ModelSpec:
    return ModelSpec(name="scale", signature_name=signature)


ASKED: dict[str, tuple[Any, Any]] = {
    "Classify": (
        CLASSIFY,
        ClassificationRequest(model_spec=spec("classes_of"), input=one_example()),
    ),
    "Regress": (REGRESS, RegressionRequest(model_spec=spec("value_of"), input=one_example())),
    "MultiInference": (
        MULTI_INFERENCE,
        MultiInferenceRequest(
            tasks=[
                InferenceTask(
                    model_spec=spec("classes_of"), method_name="tensorflow/serving/classify"
                )
            ],
            input=one_example(),
        ),
    ),
    "Predict": (
        PREDICT,
        PredictRequest(
            model_spec=spec("classes_of"), inputs={"inputs": to_proto(np.array([b"x"], object))}
        ),
    ),
}


@pytest.mark.parametrize(("method", "request_"), ASKED.values(), ids=ASKED)
def test_an_engine_without_strings_says_who_has_them(
    server: Any, method: Any, request_: Any
) -> None:
    with server.channel() as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(method.path)(request_.SerializeToString(), timeout=PATIENCE)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert caught.value.details().startswith(REFUSAL)
    assert caught.value.details().endswith(ADVICE)


@pytest.mark.parametrize(
    ("verb", "signature"), [("classify", "classes_of"), ("regress", "value_of")]
)
def test_so_does_rest(server: Any, tmp_path: Path, verb: str, signature: str) -> None:
    with server.http(tmp_path, server.world.client) as http:
        body = {"signature_name": signature, "examples": [{"x": 1.0}]}
        answer = http.post(f"/v1/models/scale:{verb}", json=body)
    assert answer.status_code == 501
    assert answer.json()["error"].startswith(REFUSAL)
    assert answer.json()["error"].endswith(ADVICE)


def test_a_signature_that_takes_no_examples_is_the_clients_mistake(
    server: Any, tmp_path: Path
) -> None:
    with server.http(tmp_path, server.world.client) as http:
        answer = http.post("/v1/models/scale:regress", json={"examples": [{"x": 1.0}]})
    assert answer.status_code == 400
    assert answer.json() == {"error": "Expected one output Tensor."}


WITHOUT_TENSORFLOW = """
import sys
sys.modules["tensorflow"] = None  # as if it were not installed
from sealserve.cli import main
main()
"""


def serve(folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [
        *(sys.executable, "-c", WITHOUT_TENSORFLOW, "serve", "--model_base_path=models"),
        *("--dangerously_serve_plaintext", "--dangerously-use-key-file=not-there", *flags),
    ]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE)


def test_a_missing_tensorflow_is_told_before_any_key_is_read(tmp_path: Path) -> None:
    done = serve(tmp_path, "--engine=tensorflow")
    assert done.returncode == 1
    assert "--engine=tensorflow needs TensorFlow, which is not installed" in done.stderr
    assert "pip install 'sealserve[tensorflow]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_precision_that_tensorflow_has_not_is_refused(tmp_path: Path) -> None:
    done = serve(tmp_path, "--engine=tensorflow", "--precision=f16")
    assert done.returncode == 1
    assert "--engine=tensorflow computes in f32 or bf16, not in f16" in done.stderr
