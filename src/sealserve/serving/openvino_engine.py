"""OpenVINO as the engine: TensorFlow graphs whose weights are constants, on the CPU, in float32.

Precision is float32 exactly, whatever the processor would do faster: a changed answer is never a
default. Plaintext reaches OpenVINO through a file in memory. OpenVINO's import sends a usage event
over the network; here the module that sends it is kept out.

Source: OpenVINO 2025.3 to 2026.4, `openvino.frontend` and the CPU device's properties.
"""

from __future__ import annotations

import logging
import queue
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sealserve.errors import InvalidArgument, Unimplemented
from sealserve.messages import tensor_pb2
from sealserve.messages.graph_pb2 import GraphDef
from sealserve.messages.tensors import dtype_name
from sealserve.serving.capacity import Capacity
from sealserve.serving.memory import memory_file
from sealserve.serving.signature import Array, Shape, Signature, TensorSpec, merged, shape_text
from sealserve.serving.subgraph import cut, output_name

log = logging.getLogger(__name__)

DATA_TYPES = frozenset(
    {
        tensor_pb2.DT_FLOAT,
        tensor_pb2.DT_DOUBLE,
        tensor_pb2.DT_HALF,
        tensor_pb2.DT_INT8,
        tensor_pb2.DT_INT16,
        tensor_pb2.DT_INT32,
        tensor_pb2.DT_INT64,
        tensor_pb2.DT_UINT8,
        tensor_pb2.DT_UINT16,
        tensor_pb2.DT_UINT32,
        tensor_pb2.DT_UINT64,
        tensor_pb2.DT_BOOL,
    }
)
# What OpenVINO 2026 and 2025 say of operations that they do not know.
_MISSING = re.compile(r"(?:No conversion rule found for operations|for operation\(s\)): (.+)")
_TELEMETRY_HOME = "openvino.tools.ovc"  # the converter; importing it is what sends the event


class OpenVinoEngine:
    """One OpenVINO core; every loaded graph has the same capacity."""

    def __init__(self, capacity: Capacity) -> None:
        self._openvino = _import_openvino()
        self._core = self._openvino.Core()
        frontend = self._openvino.frontend
        self._frontend = frontend.FrontEndManager().load_by_framework("tf")
        self._conversion_errors = (
            RuntimeError,
            frontend.GeneralFailure,
            frontend.InitializationFailure,
            frontend.NotImplementedFailure,
            frontend.OpConversionFailure,
            frontend.OpValidationFailure,
        )
        self._capacity = capacity

    @property
    def name(self) -> str:
        return f"OpenVINO {self._openvino.__version__.partition('-')[0]}"

    @property
    def concurrency(self) -> int:
        return self._capacity.streams

    def load(self, graph: GraphDef, signature: Signature) -> OpenVinoExecutable:
        """See `Engine.load`."""
        for spec in (*signature.inputs.values(), *signature.outputs.values()):
            if spec.data_type not in DATA_TYPES:
                raise Unimplemented(
                    f"tensor {spec.alias!r} is {dtype_name(spec.data_type)}, which {self.name} "
                    "does not compute with"
                )
        with memory_file("model", cut(graph, signature)) as path:
            model = self._convert(str(path))
        try:
            compiled = self._core.compile_model(model, "CPU", self._properties())
        except RuntimeError as error:
            log.error("%s cannot compile signature %r: %s", self.name, signature.name, error)
            raise Unimplemented(
                f"{self.name} cannot compile signature {signature.name!r}"
            ) from error
        results = [result.get_friendly_name() for result in model.get_results()]
        return OpenVinoExecutable(
            self._openvino.Tensor, compiled, signature, results, requests=self._capacity.streams
        )

    def _convert(self, path: str) -> Any:
        try:
            return self._frontend.convert(self._frontend.load(path))
        except self._conversion_errors as error:
            log.error("%s cannot read the graph: %s", self.name, error)
            missing = _MISSING.search(str(error))
            reason = f"it lacks {missing[1].strip()}" if missing else "the log says why"
            raise Unimplemented(f"{self.name} cannot read the graph: {reason}") from error

    def _properties(self) -> dict[str, object]:
        return {
            "INFERENCE_PRECISION_HINT": "f32",
            "EXECUTION_MODE_HINT": "ACCURACY",
            "NUM_STREAMS": self._capacity.streams,
            "INFERENCE_NUM_THREADS": self._capacity.threads,
            # Replicas on one machine would all pin their threads to the same processors.
            "ENABLE_CPU_PINNING": False,
        }


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
            request.start_async()
            request.wait()
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


def _import_openvino() -> Any:
    """The package, without the part of it that reports every import to its maker."""
    if "openvino" in sys.modules:
        return sys.modules["openvino"]
    sys.modules[_TELEMETRY_HOME] = None  # type: ignore[assignment]  # makes its import fail
    try:
        import openvino
    finally:
        del sys.modules[_TELEMETRY_HOME]
    return openvino


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
