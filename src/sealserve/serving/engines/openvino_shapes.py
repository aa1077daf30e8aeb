"""Whether a graph takes these shapes, found out before it runs.

OpenVINO's CPU device must not be given shapes that contradict each other: with one thread a failed
run says nothing and leaves the outputs of the run before, with more the next sound request fails
too, and either may end the process. So shapes that were not seen before go through a copy of the
graph that only works out shapes; it has none of the weights.

What depends on the values of inputs, and not on their shapes, this cannot know.

Source: OpenVINO 2026.4, seen; `openvino.Model.reshape`.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from sealserve.serving.signature import Array

CONSTANT_BYTES = 4096  # what tells a shape (of Reshape, Tile, ...) is smaller
MAX_KNOWN = 4096

Shapes = tuple[tuple[int, ...], ...]


class KnownShapes:
    """The shapes that one graph is known to take."""

    def __init__(self, openvino: Any, model: Any, inputs: Mapping[str, int]) -> None:
        """`inputs` are ports by alias."""
        self._inputs = dict(inputs)
        self._model = None
        if any(port.partial_shape.is_dynamic for port in model.inputs):
            self._model = _without_weights(openvino, model)
        self._known: dict[Shapes, None] = {}
        self._lock = threading.Lock()

    def require(self, inputs: Mapping[str, Array]) -> None:
        """RuntimeError unless the graph takes these shapes. May be called by several threads."""
        if self._model is None:
            return
        shapes = tuple([inputs[alias].shape for alias in self._inputs])
        if shapes in self._known:
            return
        with self._lock:
            self._model.reshape(dict(zip(self._inputs.values(), map(list, shapes), strict=True)))
            while len(self._known) >= MAX_KNOWN:
                del self._known[next(iter(self._known))]
            self._known[shapes] = None


def _without_weights(openvino: Any, model: Any) -> Any:
    """A copy whose large constants are parameters of their shapes, after its own."""
    copy = model.clone()
    weights = []
    for op in copy.get_ordered_ops():
        if op.get_type_name() == "Constant" and op.get_byte_size() > CONSTANT_BYTES:
            weight = openvino.op.Parameter(op.get_element_type(), op.get_output_partial_shape(0))
            op.output(0).replace(weight.output(0))
            weights.append(weight)
    copy.add_parameters(weights)
    return copy
