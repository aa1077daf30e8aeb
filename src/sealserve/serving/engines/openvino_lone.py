"""Small models once more, compiled for one row and one thread.

Most requests for a small model bring one row. What is compiled for any number of them works out all
shapes at every run, and shares each run among threads, of which those that wait spin: for a model
whose run takes microseconds that is most of what a request costs. Whether a model is such a one is
tried out, not guessed. Other shapes still go to what was compiled for them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from sealserve.serving.quick import QUICK_SECONDS

WEIGHT_BYTES = 16 << 20  # they may be in memory twice
_TRIES = 3  # the first makes what the later ones use again
_ONE_THREAD = {"NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": 1}


def lone(core: Any, model: Any, properties: Mapping[str, object]) -> Any:
    """`model` compiled for one row on one thread; None where that is not quick, or not one shape.

    An input whose shape is not free has the one that it has.
    """
    shapes = _one_row(model)
    if shapes is None or _weights(model) > WEIGHT_BYTES:
        return None
    fixed = model.clone()
    try:
        fixed.reshape(shapes)
        compiled = core.compile_model(fixed, "CPU", {**properties, **_ONE_THREAD})
        whole = all(port.partial_shape.is_static for port in (*compiled.inputs, *compiled.outputs))
        return compiled if whole and _is_quick(compiled) else None
    except RuntimeError:  # a graph that takes no single row
        return None


def _one_row(model: Any) -> dict[int, list[int]] | None:
    """The shapes of the inputs with one row; None where more than the number of rows is free."""
    shapes = {}
    for index, port in enumerate(model.inputs):
        shape = port.partial_shape
        if shape.rank.is_dynamic or any(size.is_dynamic for size in list(shape)[1:]):
            return None
        shapes[index] = [1 if size.is_dynamic else size.get_length() for size in shape]
    return shapes


def _weights(model: Any) -> int:
    constants = (op for op in model.get_ops() if op.get_type_name() == "Constant")
    return sum(op.get_byte_size() for op in constants)


def _is_quick(compiled: Any) -> bool:
    request = compiled.create_infer_request()
    for index in range(len(compiled.inputs)):
        request.get_input_tensor(index).data[...] = 0
    seconds = []
    for _ in range(_TRIES):
        began = time.perf_counter()
        request.infer()
        seconds.append(time.perf_counter() - began)
    return min(seconds) < QUICK_SECONDS
