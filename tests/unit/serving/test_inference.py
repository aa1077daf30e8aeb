"""Classify, Regress and MultiInference: signatures that suit, outputs that are what they should be.

The engine is the one of `tests/support` that knows strings.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sealserve.errors import InvalidArgument, NotFound, ServingError, Unimplemented
from sealserve.messages import tensor_pb2
from sealserve.messages.graph_pb2 import GraphDef
from sealserve.messages.inference_pb2 import Input
from sealserve.messages.saved_model_pb2 import SavedModel, SignatureDef
from sealserve.serving.calls import Call
from sealserve.serving.dataplane import DataPlane, ModelQuery
from sealserve.serving.example_methods import (
    CLASSIFY,
    REGRESS,
    Classification,
    Regression,
    classification,
    regression,
)
from sealserve.serving.formats.saved_model import FILE_NAME
from sealserve.serving.inference import Inference, Task
from sealserve.serving.life.lifecycle import ModelManager, Pace
from sealserve.serving.life.models import ModelSettings
from sealserve.serving.life.servable import Loader
from sealserve.serving.opening.vault import Vault
from sealserve.serving.signature import Array
from string_engine import LengthEngine

STRING, FLOAT = tensor_pb2.DT_STRING, tensor_pb2.DT_FLOAT
EXAMPLES: dict[str, Any] = {"inputs": ("e:0", STRING, (None,))}
LABELS = {"classes": ("c:0", STRING, (None, 2))}
SCORES = {"scores": ("s:0", FLOAT, (None, 2))}
VALUE = {"outputs": ("v:0", FLOAT, (None, 1))}
LIMIT = 1 << 20


def examples(*values: int) -> Input:
    asked = Input()
    for value in values:
        features = asked.example_list.examples.add().features
        features.feature["n"].int64_list.value.append(value)
    return asked


Signed = Callable[..., SignatureDef]


@pytest.fixture
def signatures(new_signature: Signed) -> dict[str, SignatureDef]:
    found = {
        "both": new_signature(EXAMPLES, LABELS | SCORES),
        "labels": new_signature(EXAMPLES, LABELS),
        "scores": new_signature(EXAMPLES, SCORES),
        "value": new_signature(EXAMPLES, VALUE),
        "three": new_signature(EXAMPLES, LABELS | SCORES | VALUE),
        "two_inputs": new_signature(EXAMPLES | {"x": ("x:0", FLOAT, None)}, VALUE),
        "other_input": new_signature({"x": ("x:0", STRING, None)}, SCORES),
        "other_input_value": new_signature({"x": ("x:0", STRING, None)}, VALUE),
        "other_output": new_signature(EXAMPLES, {"y": ("y:0", FLOAT, None)}),
        "numbers": new_signature({"inputs": ("x:0", FLOAT, (None,))}, SCORES),
    }
    found["serving_default"] = new_signature(EXAMPLES, SCORES)
    found["exported"] = new_signature(EXAMPLES, SCORES)
    found["exported"].method_name = CLASSIFY
    return found


Scene = Callable[[Inference], Awaitable[Any]]
Play = Callable[..., Any]


@pytest.fixture
def play(
    tmp_path: Path, new_model: Callable[..., SavedModel], signatures: dict[str, SignatureDef]
) -> Play:
    """Run a scene with a server's parts around it."""

    def run(scene: Scene, *, check_method_names: bool = False) -> Any:
        folder = tmp_path / "words" / "7"
        folder.mkdir(parents=True)
        (folder / FILE_NAME).write_bytes(new_model(GraphDef(), **signatures).SerializeToString())

        async def stage() -> Any:
            loader = Loader(LengthEngine(), Vault(None), ["serve"])
            manager = ModelManager(loader, Pace(0, 0, 0))
            await manager.start([ModelSettings("words", str(tmp_path / "words"))])
            plane = DataPlane(manager, concurrency=1)
            try:
                return await scene(
                    Inference(plane, limit_bytes=LIMIT, check_method_names=check_method_names)
                )
            finally:
                plane.close()
                await manager.close()

        return asyncio.run(stage())

    return run


def call() -> Call:
    return Call("Classify", "GRPC")


def words(signature: str = "") -> ModelQuery:
    return ModelQuery("words", signature=signature)


def test_classes_have_labels_and_scores(play: Play) -> None:
    made = call()
    found = play(lambda inference: inference.classify(words("both"), examples(1, 2), made))
    assert found.result.labels.tolist() == [[b"odd", b"even"]] * 2
    assert found.result.scores.tolist() == [[1, 0], [0, 1]]
    assert (found.name, found.version, found.signature) == ("words", 7, "both")
    assert (made.model, made.version, made.signature, made.rows) == ("words", 7, "both", 2)


def test_what_a_model_does_not_give_is_empty(play: Play) -> None:
    async def scene(inference: Inference) -> Any:
        labels = await inference.classify(words("labels"), examples(1), call())
        scores = await inference.classify(words("scores"), examples(1), call())
        return labels.result, scores.result

    labels, scores = play(scene)
    assert labels.scores.tolist() == [[0, 0]]
    assert scores.labels.tolist() == [[b"", b""]]


def test_a_regression_is_one_value_for_each_example(play: Play) -> None:
    found = play(lambda inference: inference.regress(words("value"), examples(5, 6), call()))
    assert found.result.values.tolist() == [5, 6]


def test_the_default_signature_is_named_in_the_answer(play: Play) -> None:
    found = play(lambda inference: inference.classify(words(), examples(1), call()))
    assert found.signature == "serving_default"


WRONG: dict[str, tuple[str, str, str]] = {
    "no such signature": (
        *("classify", "none"),
        "No signature was found with the name: none",
    ),
    "two inputs": ("regress", "two_inputs", "Expected one input Tensor."),
    "two outputs of a regression": ("regress", "both", "Expected one output Tensor."),
    "three outputs": ("classify", "three", "Expected one or two output Tensors, found 3"),
    "another input, classified": (
        *("classify", "other_input"),
        "No classification inputs found in SignatureDef: other_input",
    ),
    "another input, regressed": (
        *("regress", "other_input_value"),
        "No regression inputs found in SignatureDef: other_input_value",
    ),
    "another output, classified": (
        *("classify", "other_output"),
        "Expected classification signature outputs to contain at least one of "
        '"classes" or "scores". Signature was: other_output',
    ),
    "another output, regressed": (
        *("regress", "other_output"),
        "No regression outputs found in SignatureDef: other_output",
    ),
    "numbers where examples belong": (
        *("classify", "numbers"),
        "input 'inputs': expected DT_FLOAT, found DT_STRING",
    ),
}


@pytest.mark.parametrize(("method", "signature", "text"), WRONG.values(), ids=WRONG)
def test_a_signature_that_does_not_suit_is_refused(
    play: Play, method: str, signature: str, text: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        play(lambda i: getattr(i, method)(words(signature), examples(1), call()))
    assert caught.value.message == text


def test_no_examples_are_refused(play: Play) -> None:
    with pytest.raises(InvalidArgument, match=r"^Input is empty\.$"):
        play(lambda inference: inference.classify(words("both"), Input(), call()))


def test_a_model_that_is_not_there_is_not_found(play: Play) -> None:
    with pytest.raises(NotFound):
        play(lambda i: i.classify(ModelQuery("none"), examples(1), call()))


def test_method_names_are_compared_only_if_asked_for(play: Play) -> None:
    async def scene(inference: Inference) -> None:
        await inference.classify(words("exported"), examples(1), call())
        with pytest.raises(InvalidArgument) as caught:
            await inference.classify(words("both"), examples(1), call())
        assert caught.value.message == (
            "Expected classification signature method_name to be tensorflow/serving/classify. "
            "Was: tensorflow/serving/predict"
        )

    play(scene, check_method_names=True)


def test_several_tasks_are_answered_in_order_by_one_version(play: Play) -> None:
    tasks = [Task(words("value"), REGRESS), Task(words("both"), CLASSIFY), Task(words(), CLASSIFY)]
    made = call()
    found = play(lambda inference: inference.several(tasks, examples(3), made))
    assert [type(part.result) for part in found] == [Regression, Classification, Classification]
    assert [part.signature for part in found] == ["value", "both", "serving_default"]
    assert {(part.name, part.version) for part in found} == {("words", 7)}
    assert found[0].result.values.tolist() == [3]
    assert made.rows == 1


APART: dict[str, tuple[list[Task], ServingError]] = {
    "no tasks": ([], InvalidArgument("ModelSpec has no name specified.")),
    "a task without a model": (
        [Task(words(), CLASSIFY), Task(ModelQuery(""), CLASSIFY)],
        InvalidArgument("Found ModelSpec with an empty model name."),
    ),
    "two models": (
        [Task(words(), CLASSIFY), Task(ModelQuery("other"), CLASSIFY)],
        InvalidArgument(
            "All ModelSpecs in a MultiInferenceRequest must access the same model name."
        ),
    ),
    "one signature twice": (
        [Task(words(), CLASSIFY), Task(words("serving_default"), CLASSIFY)],
        InvalidArgument("Duplicate evaluation of signature: serving_default"),
    ),
    "no such signature": (
        [Task(words("none"), CLASSIFY)],
        InvalidArgument("Requested signature not found in model graph: none"),
    ),
    "another method": (
        [Task(words(), "tensorflow/serving/predict")],
        Unimplemented("Unsupported signature method_name: tensorflow/serving/predict"),
    ),
    "a signature that does not suit": (
        [Task(words("both"), REGRESS)],
        InvalidArgument("Expected one output Tensor."),
    ),
}


@pytest.mark.parametrize(("tasks", "error"), APART.values(), ids=APART)
def test_tasks_that_do_not_go_together_are_refused(
    play: Play, tasks: list[Task], error: ServingError
) -> None:
    with pytest.raises(type(error)) as caught:
        play(lambda inference: inference.several(tasks, examples(1), call()))
    assert caught.value.message == error.message


TABLE = np.float32([[1, 2], [3, 4]])
NAMES = np.array([[b"a", b"b"], [b"a", b"b"]], object)
MALFORMED: dict[str, tuple[dict[str, Array], str]] = {
    "scores in a row": (
        {"scores": TABLE[0]},
        "Expected Tensor shape: [batch_size num_classes] but got [2]",
    ),
    "labels in a cube": (
        {"classes": NAMES[None]},
        "Expected Tensor shape: [batch_size num_classes] but got [1,2,2]",
    ),
    "scores as doubles": (
        {"scores": TABLE.astype(np.float64)},
        "Expected scores Tensor of DT_FLOAT. Got: DT_DOUBLE",
    ),
    "labels as numbers": (
        {"classes": TABLE},
        "Expected classes Tensor of DT_STRING. Got: DT_FLOAT",
    ),
    "too few scores": (
        {"scores": TABLE[:1]},
        "Expected scores output batch size of 2. Got: 1",
    ),
    "too few labels": (
        {"classes": NAMES[:1], "scores": TABLE},
        "Expected classes output batch size of 2. Got: 1",
    ),
    "more labels than scores": (
        {"classes": NAMES, "scores": TABLE[:, :1]},
        "Tensors class and score should match in dim_size(1). Got 2 vs. 1",
    ),
}


@pytest.mark.parametrize(("outputs", "text"), MALFORMED.values(), ids=MALFORMED)
def test_outputs_that_are_no_classes_are_refused(outputs: dict[str, Array], text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        classification(outputs, 2)
    assert caught.value.message == text


NO_VALUES: dict[str, tuple[Array, str]] = {
    "a table": (
        TABLE,
        "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [2,2]",
    ),
    "one number": (
        np.float32(1).reshape(()),
        "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got []",
    ),
    "too few": (
        TABLE[0, :1],
        "Input batch size did not match output batch size: 2 vs. 1",
    ),
    "doubles": (
        np.float64([1, 2]),
        "Expected output Tensor of DT_FLOAT.  Got: DT_DOUBLE",
    ),
}


@pytest.mark.parametrize(("values", "text"), NO_VALUES.values(), ids=NO_VALUES)
def test_outputs_that_are_no_values_are_refused(values: Array, text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        regression({"outputs": values}, 2)
    assert caught.value.message == text
