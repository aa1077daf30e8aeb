"""Classify and Regress: which signatures can be asked so, and what their outputs say.

Conditions and texts: TensorFlow Serving 2.21, servables/tensorflow/{classifier,regressor}.cc.
Unlike there, an error does not repeat the whole definition of a signature.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from sealserve.errors import InvalidArgument
from sealserve.messages.saved_model_pb2 import SignatureDef
from sealserve.messages.tensors import dtype_name, dtype_of
from sealserve.serving.signature import Array, shape_text

# TensorFlow 2.21, python/saved_model/signature_constants.py.
CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"
INPUTS = "inputs"
CLASSES, SCORES = "classes", "scores"
OUTPUTS = "outputs"


@dataclass(frozen=True)
class Classification:
    """The classes of each example: labels object [n,c] of bytes, scores float32 [n,c].

    Labels are empty where the model gives none, and scores zero.
    """

    labels: Array
    scores: Array


@dataclass(frozen=True)
class Regression:
    """One value for each example: float32 [n]."""

    values: Array


Result = TypeVar("Result", bound=Classification | Regression)


@dataclass(frozen=True)
class Method(Generic[Result]):
    """What examples are asked by. `understand` takes the outputs, and how many examples there were;
    it raises InvalidArgument for outputs that are not what they should be."""

    name: str
    noun: str
    understand: Callable[[Mapping[str, Array], int], Result]

    def require_suitable(self, definition: SignatureDef, name: str, *, check_name: bool) -> None:
        """InvalidArgument for a signature that cannot be asked so.

        With `check_name` it must have been exported for this method and no other.
        """
        if check_name and definition.method_name != self.name:
            raise InvalidArgument(
                f"Expected {self.noun} signature method_name to be {self.name}. "
                f"Was: {definition.method_name}"
            )
        if len(definition.inputs) != 1:
            raise InvalidArgument("Expected one input Tensor.")
        if self.name == CLASSIFY:
            _require_classes(definition, name)
        else:
            _require_value(definition, name)


def _require_classes(definition: SignatureDef, name: str) -> None:
    if len(definition.outputs) not in (1, 2):
        raise InvalidArgument(
            f"Expected one or two output Tensors, found {len(definition.outputs)}"
        )
    if INPUTS not in definition.inputs:
        raise InvalidArgument(f"No classification inputs found in SignatureDef: {name}")
    if not {CLASSES, SCORES} & set(definition.outputs):
        raise InvalidArgument(
            "Expected classification signature outputs to contain at least one of "
            f'"{CLASSES}" or "{SCORES}". Signature was: {name}'
        )


def _require_value(definition: SignatureDef, name: str) -> None:
    if len(definition.outputs) != 1:
        raise InvalidArgument("Expected one output Tensor.")
    if INPUTS not in definition.inputs:
        raise InvalidArgument(f"No regression inputs found in SignatureDef: {name}")
    if OUTPUTS not in definition.outputs:
        raise InvalidArgument(f"No regression outputs found in SignatureDef: {name}")


def classification(outputs: Mapping[str, Array], count: int) -> Classification:
    """The outputs of a classification of `count` examples; InvalidArgument if they are not so."""
    labels, scores = outputs.get(CLASSES), outputs.get(SCORES)
    if labels is not None:
        _require_table(labels, CLASSES, np.dtype(object), count)
    if scores is not None:
        _require_table(scores, SCORES, np.dtype(np.float32), count)
    if labels is None:
        labels = np.full_like(scores, b"", object)
    if scores is None:
        scores = np.zeros_like(labels, np.float32)
    if labels.shape != scores.shape:
        raise InvalidArgument(
            "Tensors class and score should match in dim_size(1). Got "
            f"{labels.shape[1]} vs. {scores.shape[1]}"
        )
    return Classification(labels, scores)


def regression(outputs: Mapping[str, Array], count: int) -> Regression:
    """The outputs of a regression of `count` examples; InvalidArgument if they are not so."""
    values = outputs[OUTPUTS]
    if values.ndim != 1 and values.shape[1:] != (1,):
        raise InvalidArgument(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got "
            f"{shape_text(values.shape)}"
        )
    if len(values) != count:
        raise InvalidArgument(
            f"Input batch size did not match output batch size: {count} vs. {len(values)}"
        )
    if values.dtype != np.float32:
        raise InvalidArgument(
            f"Expected output Tensor of DT_FLOAT.  Got: {dtype_name(dtype_of(values.dtype))}"
        )
    return Regression(values.reshape(count))


def _require_table(array: Array, alias: str, dtype: np.dtype[Any], count: int) -> None:
    if array.ndim != 2:
        raise InvalidArgument(
            f"Expected Tensor shape: [batch_size num_classes] but got {shape_text(array.shape)}"
        )
    if array.dtype != dtype:
        raise InvalidArgument(
            f"Expected {alias} Tensor of {dtype_name(dtype_of(dtype))}. "
            f"Got: {dtype_name(dtype_of(array.dtype))}"
        )
    if len(array) != count:
        raise InvalidArgument(f"Expected {alias} output batch size of {count}. Got: {len(array)}")


CLASSIFICATION = Method(CLASSIFY, "classification", classification)
REGRESSION = Method(REGRESS, "regression", regression)
METHODS: Mapping[str, Method[Any]] = {
    method.name: method for method in (CLASSIFICATION, REGRESSION)
}
