"""Runs of what OpenVINO has compiled: a pool of infer requests, one per stream.

Source: OpenVINO 2025.3 to 2026.4, `openvino.InferRequest`.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sealserve.errors import InvalidArgument, Unimplemented
from sealserve.serving.formats.subgraph import output_name
from sealserve.serving.signature import Array, Shape, Signature, TensorSpec, merged, shape_text

log = logging.getLogger(__name__)


class OpenVinoExecutable:
    """A compiled signature and a pool of its infer requests, one per stream."""

    def __init__(
        self,
        tensor: Any,
        compiled: Any,
        signature: Signature,
        results: Sequence[str],
        *,
        requests: int,
    ) -> None:
        self._tensor = tensor
        self._inputs = _input_ports(signature, compiled.inputs)
        self._outputs = _output_ports(signature, compiled.outputs, results)
        self.signature = replace(
            signature,
            inputs=_refined(signature.inputs, compiled.inputs, self._inputs),
            outputs=_refined(signature.outputs, compiled.outputs, self._outputs),
        )
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(requests):
            self._idle.put(compiled.create_infer_request())

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """See `Executable.run`."""
        request = self._idle.get()  # who has one runs, so the wait is that of a computation
        try:
            for alias, port in self._inputs.items():
                request.set_input_tensor(port, self._shared(inputs[alias]))
            request.infer(share_outputs=True)
            return {
                alias: request.get_output_tensor(port).data.astype(
                    self.signature.outputs[alias].dtype
                )
                for alias, port in self._outputs.items()
            }
        except RuntimeError as error:
            log.error("signature %r failed: %s", self.signature.name, error)
            shapes = ", ".join(f"{a!r} {shape_text(x.shape)}" for a, x in sorted(inputs.items()))
            raise InvalidArgument(f"the model cannot compute with inputs {shapes}") from error
        finally:
            self._idle.put(request)

    def _shared(self, array: Array) -> Any:
        """The engine's view of `array`; memory that is read-only it wants to have for itself."""
        shareable = array.flags.writeable and array.flags.c_contiguous
        return self._tensor(array, shared_memory=shareable)


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
