"""Runs of one signature in a TensorFlow session.

Source: TensorFlow 2.21, python/client/session.py. What `make_callable` returns may be called from
several threads at once, lets others run meanwhile, and gives each answer memory of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from sealserve.errors import FormatError, ResourceExhausted, Unimplemented
from sealserve.serving.engine import cannot_compute
from sealserve.serving.signature import (
    Array,
    Shape,
    Signature,
    TensorSpec,
    merged,
)

log = logging.getLogger(__name__)


class TensorFlowExecutable:
    """One signature; the session lives for as long as one of its executables does."""

    def __init__(self, tensorflow: Any, session: Any, signature: Signature) -> None:
        """Raises FormatError for a signature that names what the graph does not hold."""
        self._errors = tensorflow.errors
        inputs = _tensors(session.graph, signature.inputs)
        outputs = _tensors(session.graph, signature.outputs)
        self.signature = replace(
            signature,
            inputs=_refined(signature.inputs, inputs),
            outputs=_refined(signature.outputs, outputs),
        )
        fed = {tensor.name for tensor in inputs.values()}
        with session.graph.as_default():
            # What is fed cannot be fetched.
            fetched = [tensorflow.identity(t) if t.name in fed else t for t in outputs.values()]
        self._run = session.make_callable(fetched, list(inputs.values()))

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """See `Executable.run`."""
        try:
            found = self._run(*(inputs[alias] for alias in self.signature.inputs))
        except self._errors.ResourceExhaustedError as error:
            raise ResourceExhausted("the engine has not enough memory for the request") from error
        except self._errors.UnimplementedError as error:
            raise Unimplemented("the engine lacks an operation for these inputs") from error
        except (self._errors.OpError, ValueError) as error:
            name = self.signature.name
            log.info("signature %r failed: %s", name, type(error).__name__)
            raise cannot_compute(inputs) from error
        return {
            spec.alias: np.asarray(value, spec.dtype)
            for spec, value in zip(self.signature.outputs.values(), found, strict=True)
        }


def _tensors(graph: Any, specs: Mapping[str, TensorSpec]) -> dict[str, Any]:
    found = {}
    for alias, spec in specs.items():
        try:
            tensor = graph.get_tensor_by_name(spec.tensor)
        except (KeyError, ValueError) as error:
            raise FormatError(
                f"{alias!r} names {spec.tensor!r}, which the graph lacks", code="saved-model"
            ) from error
        if tensor.dtype.as_datatype_enum != spec.data_type:
            raise FormatError(
                f"{alias!r} is {tensor.dtype.name} in the graph, but not in the signature",
                code="saved-model",
            )
        found[alias] = tensor
    return found


def _refined(specs: Mapping[str, TensorSpec], tensors: Mapping[str, Any]) -> dict[str, TensorSpec]:
    """The specs with what the graph knows of their shapes."""
    return {
        alias: replace(spec, shape=merged(spec.shape, _shape(tensors[alias])))
        for alias, spec in specs.items()
    }


def _shape(tensor: Any) -> Shape | None:
    return None if tensor.shape.rank is None else tuple(tensor.shape.as_list())
