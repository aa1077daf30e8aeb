"""One infer request of OpenVINO, and the memory that its inputs are in.

A small input is copied into memory that the request has anyway: that is cheaper than a tensor made
for it, and the peer's bytes, which may lie anywhere, become aligned. A large one is lent to the
request for the run where it may be, and copied once where not: OpenVINO borrows no memory that is
read-only. After the run the request forgets it.

Source: OpenVINO 2025.3 to 2026.4, `openvino.InferRequest` and `openvino.Tensor`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sealserve.serving.signature import Array

OWN_BYTES = 8 << 20  # of an input whose shape is not fixed; what a request keeps for the next


class InferRequest:
    """Runs one set of inputs after the other; one thread at a time may use it."""

    def __init__(
        self,
        tensor: Any,
        compiled: Any,
        inputs: Mapping[str, int],
        outputs: Mapping[str, tuple[int, np.dtype[Any]]],
    ) -> None:
        """`tensor` is OpenVINO's class; ports by alias, for outputs with the dtype to give."""
        self._request = compiled.create_infer_request()
        self._inputs = {
            alias: _Input(tensor, self._request, port, compiled.inputs[port].partial_shape)
            for alias, port in inputs.items()
        }
        self._outputs = outputs

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs, in fresh memory. Blocks. RuntimeError for what the graph cannot take."""
        try:
            for alias, memory in self._inputs.items():
                memory.put(inputs[alias])
            values = self._request.infer().to_tuple()  # copies, unless it is asked to share
        finally:
            for memory in self._inputs.values():
                memory.forget()
        return {
            alias: values[port].astype(dtype, copy=False)
            for alias, (port, dtype) in self._outputs.items()
        }


class _Input:
    """The memory of one input, and the shape that it has now."""

    def __init__(self, tensor: Any, request: Any, port: int, declared: Any) -> None:
        self._new_tensor = tensor
        self._request = request
        self._port = port
        self._fixed = declared.is_static
        self._own = request.get_input_tensor(port)
        self._view: Array | None = None
        self._lent = False

    def put(self, array: Array) -> None:
        if array.nbytes > OWN_BYTES and not self._fixed:
            self._lend(array)
            return
        if self._view is None or self._view.shape != array.shape:
            self._view = None  # should what follows fail
            self._own.shape = array.shape
            self._view = self._own.data
        self._view[...] = array

    def _lend(self, array: Array) -> None:
        flags = array.flags
        shared = flags.writeable and flags.c_contiguous and flags.aligned
        self._lent = True
        self._request.set_input_tensor(self._port, self._new_tensor(array, shared_memory=shared))

    def forget(self) -> None:
        if self._lent:
            self._lent = False
            self._request.set_input_tensor(self._port, self._own)
