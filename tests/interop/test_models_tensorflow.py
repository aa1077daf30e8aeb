"""Stock TensorFlow loads the SavedModels that we write, and computes the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest

from sealserve.messages.saved_model_pb2 import SavedModel
from sealserve.models.convert import SignatureNames, convert
from sealserve.models.digits import digits_model, held_out
from sealserve.models.saved_model import write_saved_model
from sealserve.models.synth import resnet50, resnet50_model

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("default")]


@pytest.fixture(scope="module")
def tensorflow() -> Any:
    return pytest.importorskip("tensorflow", reason="needs the package tensorflow")


def digits_inputs() -> Any:
    return held_out()[0]


def images() -> Any:
    return np.random.default_rng(0).random((2, 224, 224, 3), dtype=np.float32)


def converted_digits() -> SavedModel:
    graph = digits_model().meta_graphs[0].graph_def
    return convert(graph.SerializeToString(), SignatureNames(["input"], ["predict"]))


MODELS: dict[str, tuple[Callable[[], SavedModel], Callable[[], Any]]] = {
    "digits": (digits_model, digits_inputs),
    "converted digits": (converted_digits, digits_inputs),
    "thin resnet50": (lambda: resnet50_model(resnet50(width=8)), images),
    "resnet50": (lambda: resnet50_model(resnet50()), images),
}


@pytest.mark.parametrize(("make", "inputs"), MODELS.values(), ids=MODELS.keys())
def test_tensorflow_and_openvino_agree_on_a_model_of_ours(
    tensorflow: Any, tmp_path: Path, make: Callable[[], SavedModel], inputs: Callable[[], Any]
) -> None:
    path = write_saved_model(make(), tmp_path)
    values = inputs()

    loaded = tensorflow.saved_model.load(str(path.parent), tags=["serve"])
    theirs = loaded.signatures["serving_default"](input=tensorflow.constant(values))["predict"]

    core = openvino.Core()
    compiled = core.compile_model(path.parent, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    ours = compiled({"input": values})["predict"]
    np.testing.assert_allclose(theirs.numpy(), ours, rtol=1e-3, atol=1e-6)
