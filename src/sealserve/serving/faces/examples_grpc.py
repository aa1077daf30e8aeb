"""Classify, Regress and MultiInference of TensorFlow Serving's gRPC.

Methods and messages: TensorFlow Serving 2.21, apis/{prediction_service,classification,regression,
inference}.proto.
"""

from __future__ import annotations

from typing import Any

from sealserve.messages.inference_pb2 import (
    ClassificationRequest,
    ClassificationResponse,
    ClassificationResult,
    MultiInferenceRequest,
    MultiInferenceResponse,
    RegressionRequest,
    RegressionResponse,
    RegressionResult,
)
from sealserve.messages.predict_pb2 import ModelSpec
from sealserve.messages.services import CLASSIFY, MULTI_INFERENCE, REGRESS
from sealserve.serving.calls import Call
from sealserve.serving.example_methods import Classification, Regression
from sealserve.serving.faces.grpc import Methods
from sealserve.serving.faces.tensorflow_grpc import model_query
from sealserve.serving.inference import Inference, Inferred, Task


class ExamplesServing:
    """What PredictionService is asked about examples."""

    def __init__(self, inference: Inference) -> None:
        self._inference = inference

    def methods(self) -> Methods:
        """What this face serves."""
        return {
            CLASSIFY: self._classify,
            REGRESS: self._regress,
            MULTI_INFERENCE: self._multi_inference,
        }

    async def _classify(self, data: bytes, call: Call) -> bytes:
        request = ClassificationRequest.FromString(data)
        query = model_query(request.model_spec)
        inferred = await self._inference.classify(query, request.input, call)
        response = ClassificationResponse()
        _fill_spec(response.model_spec, inferred)
        _fill_classes(response.result, inferred.result)
        return response.SerializeToString()

    async def _regress(self, data: bytes, call: Call) -> bytes:
        request = RegressionRequest.FromString(data)
        query = model_query(request.model_spec)
        inferred = await self._inference.regress(query, request.input, call)
        response = RegressionResponse()
        _fill_spec(response.model_spec, inferred)
        _fill_values(response.result, inferred.result)
        return response.SerializeToString()

    async def _multi_inference(self, data: bytes, call: Call) -> bytes:
        request = MultiInferenceRequest.FromString(data)
        tasks = [Task(model_query(task.model_spec), task.method_name) for task in request.tasks]
        response = MultiInferenceResponse()
        for inferred in await self._inference.several(tasks, request.input, call):
            part = response.results.add()
            _fill_spec(part.model_spec, inferred)
            if isinstance(inferred.result, Classification):
                _fill_classes(part.classification_result, inferred.result)
            else:
                _fill_values(part.regression_result, inferred.result)
        return response.SerializeToString()


def _fill_spec(spec: ModelSpec, inferred: Inferred[Any]) -> None:
    spec.name = inferred.name
    spec.version.value = inferred.version
    spec.signature_name = inferred.signature


def _fill_classes(message: ClassificationResult, result: Classification) -> None:
    for labels, scores in zip(result.labels.tolist(), result.scores.tolist(), strict=True):
        classes = message.classifications.add().classes
        for label, score in zip(labels, scores, strict=True):
            classes.add(label=label.decode("utf-8", "replace"), score=score)


def _fill_values(message: RegressionResult, result: Regression) -> None:
    for value in result.values.tolist():
        message.regressions.add(value=value)
