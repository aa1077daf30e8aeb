"""The synthetic ResNet-50: the structure of v1.5, the same bytes for a seed, sane activations."""

from __future__ import annotations

from collections import Counter
from hashlib import sha256

import numpy as np
import openvino
import pytest

from sealserve.errors import UsageError
from sealserve.messages.graph_pb2 import GraphDef, NodeDef
from sealserve.models.convert import SignatureNames, convert
from sealserve.models.frozen import TensorName, index_graph
from sealserve.models.saved_model import write_saved_model
from sealserve.models.shapes import infer_shapes
from sealserve.models.synth import CLASSES, resnet50, resnet50_model, weight_bytes

NARROW = 4  # channels of the first stage, instead of 64
DIGEST = "a930252e697dfd3de9908fd9ae88a64e23aaa47235aafb4d064c01bb58355124"  # narrow, seed 0


@pytest.fixture(scope="module")
def narrow() -> GraphDef:
    return resnet50(width=NARROW)


def node(graph: GraphDef, name: str) -> NodeDef:
    return next(node for node in graph.node if node.name == name)


def test_it_has_the_layers_of_resnet_50(narrow: GraphDef) -> None:
    operations = Counter(node.op for node in narrow.node)

    assert operations["Conv2D"] == 53  # 1 + 16 * 3 + 4 shortcuts
    assert operations["AddV2"] == 16
    assert operations["Relu"] == 49
    assert operations["MatMul"] == 1


def test_a_downsampling_bottleneck_has_its_stride_in_the_3x3_as_in_v15(narrow: GraphDef) -> None:
    strides = {
        conv: list(node(narrow, f"stage2/block1/{conv}").attr["strides"].list.i)
        for conv in ("conv1", "conv2", "conv3", "shortcut")
    }

    assert strides == {
        "conv1": [1, 1, 1, 1],
        "conv2": [1, 2, 2, 1],
        "conv3": [1, 1, 1, 1],
        "shortcut": [1, 2, 2, 1],
    }


def test_the_image_shrinks_as_in_the_paper(narrow: GraphDef) -> None:
    names = [TensorName(name, 0) for name in ("stem/relu", "stem/pool")]
    names += [TensorName(f"stage{stage}/block1/relu3", 0) for stage in (1, 2, 3, 4)]

    shapes = infer_shapes(index_graph(narrow), names)

    sides = [(shape[1], shape[2]) for shape in shapes.values() if shape is not None]
    assert sides == [(112, 112), (56, 56), (56, 56), (28, 28), (14, 14), (7, 7)]


def test_a_seed_gives_the_same_bytes_here_and_elsewhere(narrow: GraphDef) -> None:
    data = narrow.SerializeToString(deterministic=True)

    assert sha256(data).hexdigest() == DIGEST
    assert resnet50(1, width=NARROW).SerializeToString(deterministic=True) != data


def test_a_thin_one_runs_with_finite_and_undecided_answers(
    narrow: GraphDef, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = write_saved_model(resnet50_model(narrow), tmp_path_factory.mktemp("resnet"))
    images = np.random.default_rng(0).random((2, 224, 224, 3), dtype=np.float32)

    predict = openvino.Core().compile_model(path.parent, "CPU")
    answers = predict({"input": images})["predict"]

    assert answers.shape == (2, CLASSES)
    assert np.isfinite(answers).all()
    np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-3)
    assert answers.max() < 0.5  # weights of the wrong scale end in a certainty or a NaN


def test_progress_adds_up_to_what_was_announced() -> None:
    made: list[int] = []

    resnet50(width=NARROW, advance=made.append)

    assert sum(made) == weight_bytes(NARROW)
    # ResNet-50: 23,454,912 in convolutions, 26,560 biases, 2048 * 1001 + 1001 in the last layer.
    assert weight_bytes() == 4 * 25_532_521


def test_converting_its_graph_gives_the_signature_that_it_is_written_with(
    narrow: GraphDef,
) -> None:
    converted = convert(narrow.SerializeToString(), SignatureNames(["input"], ["predict"]))

    assert converted == resnet50_model(narrow)


def test_a_seed_out_of_range_is_refused() -> None:
    with pytest.raises(UsageError, match="seed -1"):
        resnet50(-1, width=NARROW)
