"""Classify, Regress and MultiInference over the data plane: examples in, classes or values out.

1. The servable, held for as long as this lasts; 2. each signature, by its definition as exported:
its one input, its outputs; 3. the examples, as one vector of strings; 4. the engine; 5. what it
gave, checked for dtype and shape (2 and 5: `example_methods`). Conditions and texts of
MultiInference: TensorFlow Serving 2.21, servables/tensorflow/{multi_inference,
multi_inference_helper}.cc. Unlike there, its tasks run one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic

from sealserve.errors import InvalidArgument, Unimplemented
from sealserve.messages.inference_pb2 import Input
from sealserve.serving.calls import Call
from sealserve.serving.dataplane import DataPlane, ModelQuery
from sealserve.serving.example_methods import (
    CLASSIFICATION,
    INPUTS,
    METHODS,
    REGRESSION,
    Classification,
    Method,
    Regression,
    Result,
)
from sealserve.serving.examples import example_array
from sealserve.serving.life.servable import Servable
from sealserve.serving.signature import DEFAULT_SIGNATURE, Array


@dataclass(frozen=True)
class Task:
    """One part of a MultiInference: which signature, and the method that it is asked by."""

    query: ModelQuery
    method: str


@dataclass(frozen=True)
class Inferred(Generic[Result]):
    """An answer, and who gave it."""

    result: Result
    name: str
    version: int
    signature: str


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
        return await self._one(query, CLASSIFICATION, examples, call)

    async def regress(self, query: ModelQuery, examples: Input, call: Call) -> Inferred[Regression]:
        """The value of each example."""
        return await self._one(query, REGRESSION, examples, call)

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
        self, query: ModelQuery, method: Method[Result], examples: Input, call: Call
    ) -> Inferred[Result]:
        with self._plane.using(query, call) as servable:
            name = query.signature or DEFAULT_SIGNATURE
            definition = servable.definitions.signature_def.get(name)
            if definition is None:
                raise InvalidArgument(f"No signature was found with the name: {name}")
            method.require_suitable(definition, name, check_name=self._check_names)
            array = example_array(examples, limit_bytes=self._limit)
            return await self._run(servable, name, method, array, call)

    async def _run(
        self, servable: Servable, name: str, method: Method[Result], examples: Array, call: Call
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

    def _together(self, tasks: Sequence[Task], servable: Servable) -> dict[str, Method[Any]]:
        """The signatures of tasks that one request may have, and how to understand each."""
        chosen: dict[str, Method[Any]] = {}
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
            method = METHODS.get(task.method)
            if method is None:
                raise Unimplemented(f"Unsupported signature method_name: {task.method}")
            method.require_suitable(definition, name, check_name=self._check_names)
            chosen[name] = method
        return chosen
