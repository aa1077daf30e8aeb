"""Runs of what OpenVINO has compiled: a pool of infer requests, one per stream.

Source: OpenVINO 2025.3 to 2026.4, `openvino.InferRequest`.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sealserve.errors import Unimplemented
from sealserve.serving.engine import cannot_compute
from sealserve.serving.engines.openvino_memory import InferRequest
from sealserve.serving.engines.openvino_shapes import KnownShapes
from sealserve.serving.formats.subgraph import output_name
from sealserve.serving.signature import Array, Shape, Signature, TensorSpec, merged

log = logging.getLogger(__name__)

Pool = queue.SimpleQueue[InferRequest]


class OpenVinoExecutable:
    """A compiled signature and a pool of its infer requests, one per stream.

    `lone` is the same compiled for one shape of the inputs, where it is quick: whoever brings that
    shape waits for it, and not for longer than another one would take.
    """

    def __init__(
        self,
        openvino: Any,
        model: Any,
        compiled: Any,
        signature: Signature,
        *,
        requests: int,
        lone: Any = None,
    ) -> None:
        inputs = _input_ports(signature, compiled.inputs)
        results = [result.get_friendly_name() for result in model.get_results()]
        outputs = _output_ports(signature, compiled.outputs, results)
        self.signature = replace(
            signature,
            inputs=_refined(signature.inputs, compiled.inputs, inputs),
            outputs=_refined(signature.outputs, compiled.outputs, outputs),
        )
        answers = {alias: (port, signature.outputs[alias].dtype) for alias, port in outputs.items()}
        self._shapes = KnownShapes(openvino, model, inputs)
        self._idle: Pool = queue.SimpleQueue()
        for _ in range(requests):
            self._idle.put(InferRequest(openvino.Tensor, compiled, inputs, answers))
        self._lone: Pool = queue.SimpleQueue()
        self._aliases = tuple(inputs)
        self._lone_shapes: list[tuple[int, ...]] | None = None
        if lone is not None:
            self._lone.put(InferRequest(openvino.Tensor, lone, inputs, answers))
            self._lone_shapes = [tuple(lone.inputs[port].shape) for port in inputs.values()]

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """See `Executable.run`."""
        try:
            pool = self._lone
            if [inputs[alias].shape for alias in self._aliases] != self._lone_shapes:
                pool = self._idle
                self._shapes.require(inputs)
            request = pool.get()  # who has one runs: the wait is that of a computation
            try:
                return request.run(inputs)
            finally:
                pool.put(request)
        except RuntimeError as error:
            log.error("signature %r failed: %s", self.signature.name, error)
            raise cannot_compute(inputs) from error


def _input_ports(signature: Signature, ports: Any) -> dict[str, int]:
    """Which port carries which input; one that no output depends on may have none."""
    return {
        alias: index
        for alias, spec in signature.inputs.items()
        for index, port in enumerate(ports)
        if spec.tensor in port.names
    }


def _output_ports(signature: Signature, ports: Any, results: Sequence[str]) -> dict[str, int]:
    """Which port carries which output.

    A port has the names of all nodes that became one with it; where that is an input, only the
    name of the result, at the same place in `results`, tells outputs apart.
    """
    found = {}
    for position, alias in enumerate(signature.outputs):
        name = f"{output_name(position)}:0"
        for index, (port, result) in enumerate(zip(ports, results, strict=True)):
            if name == result or name in port.names:
                found[alias] = index
    missing = sorted(signature.outputs.keys() - found.keys())
    if missing:
        raise Unimplemented(f"outputs {missing} do not depend on any input; they are not computed")
    return found


def _refined(
    specs: Mapping[str, TensorSpec], ports: Any, indexes: Mapping[str, int]
) -> dict[str, TensorSpec]:
    """The specs with what the compiled graph knows of their shapes."""
    return {
        alias: replace(spec, shape=merged(spec.shape, _shape(ports[indexes[alias]])))
        if alias in indexes
        else spec
        for alias, spec in specs.items()
    }


def _shape(port: Any) -> Shape | None:
    shape = port.get_partial_shape()
    if shape.rank.is_dynamic:
        return None
    return tuple(None if d.is_dynamic else d.get_length() for d in shape)
