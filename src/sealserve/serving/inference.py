"""Classify, Regress and MultiInference over the data plane: examples in, classes or values out.

1. The servable, held for as long as this lasts; 2. each signature, by its definition as exported:
its one input, its outputs; 3. the examples, as one vector of strings; 4. the engine; 5. what it
gave, checked for dtype and shape. Conditions and texts: TensorFlow Serving 2.21, servables/
tensorflow/{classifier,regressor,multi_inference,multi_inference_helper}.cc. Unlike there, an error
does not repeat the whole definition of a signature, and the tasks of a MultiInference run one
after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from sealserve.errors import InvalidArgument, Unimplemented
from sealserve.messages.inference_pb2 import Input
from sealserve.messages.saved_model_pb2 import SignatureDef
from sealserve.messages.tensors import dtype_name, dtype_of
from sealserve.serving.calls import Call
from sealserve.serving.dataplane import DataPlane, ModelQuery
from sealserve.serving.examples import example_array
from sealserve.serving.servable import Servable
from sealserve.serving.signature import DEFAULT_SIGNATURE, Array, shape_text

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


@dataclass(frozen=True)
class Task:
    """One part of a MultiInference: which signature, and the method that it is asked by."""

    query: ModelQuery
    method: str


Result = TypeVar("Result", bound=Classification | Regression)


@dataclass(frozen=True)
class Inferred(Generic[Result]):
    """An answer, and who gave it."""

    result: Result
    name: str
    version: int
    signature: str


@dataclass(frozen=True)
class _Method(Generic[Result]):
    name: str
    noun: str
    understand: Callable[[Mapping[str, Array], int], Result]


class Inference:
    """What is asked about examples.

    All methods raise NotFound; InvalidArgument for a signature that is not there or does not suit,
    for examples that are none, and for outputs that are not what they should be; Unimplemented
    where the engine has no strings; and what the engine does.
    """

    def __init__(self, plane: DataPlane, *, limit_bytes: int, check_method_names: bool) -> None:
        """`limit_bytes` bounds the examples of one request. With `check_method_names` a signature
        serves the method alone that it was exported for; TensorFlow 2 exports all for Predict."""
        self._plane = plane
        self._limit = limit_bytes
        self._check_names = check_method_names

    async def classify(
        self, query: ModelQuery, examples: Input, call: Call
    ) -> Inferred[Classification]:
        """The classes of each example."""
        return await self._one(query, _CLASSIFY, examples, call)

    async def regress(self, query: ModelQuery, examples: Input, call: Call) -> Inferred[Regression]:
        """The value of each example."""
        return await self._one(query, _REGRESS, examples, call)

    async def several(
        self, tasks: Sequence[Task], examples: Input, call: Call
    ) -> list[Inferred[Any]]:
        """MultiInference: every task, by one version of one model."""
        query = tasks[0].query if tasks else ModelQuery("")
        with self._plane.using(query, call) as servable:
            chosen = self._together(tasks, servable)
            array = example_array(examples, limit_bytes=self._limit)
            return [
                await self._run(servable, name, method, array, call)
                for name, method in chosen.items()
            ]

    async def _one(
        self, query: ModelQuery, method: _Method[Result], examples: Input, call: Call
    ) -> Inferred[Result]:
        with self._plane.using(query, call) as servable:
            name = query.signature or DEFAULT_SIGNATURE
            definition = servable.definitions.signature_def.get(name)
            if definition is None:
                raise InvalidArgument(f"No signature was found with the name: {name}")
            self._require_suitable(definition, name, method)
            array = example_array(examples, limit_bytes=self._limit)
            return await self._run(servable, name, method, array, call)

    async def _run(
        self, servable: Servable, name: str, method: _Method[Result], examples: Array, call: Call
    ) -> Inferred[Result]:
        executable = servable.executable(name)
        call.signature, call.rows = name, len(examples)
        inputs = executable.signature.complete({INPUTS: examples})
        outputs = await self._plane.run(servable, executable, inputs, call)
        return Inferred(
            result=method.understand(outputs, len(examples)),
            name=servable.name,
            version=servable.version,
            signature=name,
        )

    def _together(self, tasks: Sequence[Task], servable: Servable) -> dict[str, _Method[Any]]:
        """The signatures of tasks that one request may have, and how to understand each."""
        chosen: dict[str, _Method[Any]] = {}
        for task in tasks:
            if not task.query.name:
                raise InvalidArgument("Found ModelSpec with an empty model name.")
            if task.query.name != tasks[0].query.name:
                raise InvalidArgument(
                    "All ModelSpecs in a MultiInferenceRequest must access the same model name."
                )
            name = task.query.signature or DEFAULT_SIGNATURE
            if name in chosen:
                raise InvalidArgument(f"Duplicate evaluation of signature: {name}")
            definition = servable.definitions.signature_def.get(name)
            if definition is None:
                raise InvalidArgument(f"Requested signature not found in model graph: {name}")
            method = _METHODS.get(task.method)
            if method is None:
                raise Unimplemented(f"Unsupported signature method_name: {task.method}")
            self._require_suitable(definition, name, method)
            chosen[name] = method
        return chosen

    def _require_suitable(
        self, definition: SignatureDef, name: str, method: _Method[Result]
    ) -> None:
        if self._check_names and definition.method_name != method.name:
            raise InvalidArgument(
                f"Expected {method.noun} signature method_name to be {method.name}. "
                f"Was: {definition.method_name}"
            )
        if len(definition.inputs) != 1:
            raise InvalidArgument("Expected one input Tensor.")
        if method.name == CLASSIFY:
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


_CLASSIFY = _Method(CLASSIFY, "classification", classification)
_REGRESS = _Method(REGRESS, "regression", regression)
_METHODS: Mapping[str, _Method[Any]] = {method.name: method for method in (_CLASSIFY, _REGRESS)}
