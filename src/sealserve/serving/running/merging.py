"""The arrays of several requests as those of one run, and its outputs as theirs again.

Merging concatenates along the first dimension; padding repeats the first row, or within a row the
array's first value (TensorFlow Serving, batching/batching_session.cc and batching_util.cc). Outputs
of padded rows are dropped; outputs of padded lengths stay as long as the engine made them, as in
the stock server. Merging runs in the engine's thread: nothing here keeps a state.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod

import numpy as np

from sealserve.errors import FailedPrecondition
from sealserve.serving.signature import Array

Arrays = Mapping[str, Array]
Timed = tuple[dict[str, Array], float, float]
"""Outputs, and when the engine began and ended: seconds of `time.perf_counter`."""
Widths = Mapping[str, tuple[int, tuple[int, ...]]]
"""Bytes of a value, and all dimensions but the first, by input."""

BATCH_BYTES = 1 << 30  # of a batch's inputs: a few bytes can make others' rows as long as theirs


def kind_of(inputs: Arrays, pad_lengths: bool) -> object:
    """What must be the same in requests that are merged.

    Padded are lengths alone: not the number of dimensions, and not arrays without a value.
    """
    return tuple(
        (alias, array.ndim if pad_lengths and array.size else array.shape[1:])
        for alias, array in sorted(inputs.items())
    )


def widths_of(inputs: Arrays) -> Widths:
    """The widths of one request."""
    return {alias: (array.itemsize, array.shape[1:]) for alias, array in inputs.items()}


def widest(one: Widths, other: Widths) -> Widths:
    """The widths that both fit into, for two of one kind."""
    if one == other:
        return one
    return {
        alias: (size, tuple(max(pair) for pair in zip(shape, other[alias][1], strict=True)))
        for alias, (size, shape) in one.items()
    }


def size_of(rows: int, widths: Widths) -> int:
    """Bytes of so many rows."""
    return rows * sum(size * prod(shape) for size, shape in widths.values())


def merge(parts: Sequence[Arrays], rows: int) -> dict[str, Array]:
    """The arrays of all parts, one after the other, and the first row again up to `rows`."""
    merged = {}
    for alias in parts[0]:
        arrays = _as_long([part[alias] for part in parts])
        missing = rows - sum(len(array) for array in arrays)
        if missing:
            arrays.append(np.repeat(arrays[0][:1], missing, axis=0))
        merged[alias] = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    return merged


def slices(timed: Timed, sizes: Sequence[int], rows: int) -> Iterator[Timed]:
    """The outputs of each part, of so many rows, from those of `rows` in all.

    Raises FailedPrecondition for outputs that do not have as many.
    """
    outputs, began, ended = timed
    for array in outputs.values():
        if not array.ndim:
            raise FailedPrecondition("Batched output tensor has 0 dimensions")
        if len(array) != rows:
            raise FailedPrecondition(
                "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension "
                "sizes of the input tensors"
            )
    start = 0
    for size in sizes:
        end = start + size
        yield {alias: array[start:end] for alias, array in outputs.items()}, began, ended
        start = end


def joined(parts: Sequence[Timed]) -> Timed:
    """The outputs of a request that was split; FailedPrecondition where they do not fit together.

    It took from the first beginning to the last end.
    """
    try:
        outputs = {
            alias: np.concatenate([part[alias] for part, _, _ in parts]) for alias in parts[0][0]
        }
    except ValueError as error:
        raise FailedPrecondition("the outputs of the request's parts differ in shape") from error
    return outputs, min(began for _, began, _ in parts), max(ended for _, _, ended in parts)


def _as_long(arrays: list[Array]) -> list[Array]:
    """The arrays, all with the largest of their dimensions after the first."""
    shapes = {array.shape[1:] for array in arrays}
    if len(shapes) == 1:
        return arrays
    longest = tuple(max(sizes) for sizes in zip(*shapes, strict=True))
    return [_padded(array, longest) for array in arrays]


def _padded(array: Array, longest: tuple[int, ...]) -> Array:
    if array.shape[1:] == longest:
        return array
    whole = np.full((len(array), *longest), array.flat[0], array.dtype)
    whole[tuple(slice(size) for size in array.shape)] = array
    return whole
