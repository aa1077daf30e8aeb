"""ONNX models of a few bytes, by hand: fields by their numbers in onnx/onnx.proto (1.19)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from made_versions import varint

FLOAT = 1  # TensorProto.DataType


def field(number: int, value: bytes | str | int) -> bytes:
    """A field of a message: bytes and text have a length, numbers have none."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def tensor(name: str, array: np.ndarray, *, elsewhere: Mapping[str, str] | None = None) -> bytes:
    """A float32 tensor, with its bytes or with where they are."""
    dims = b"".join(field(1, size) for size in array.shape)
    data = dims + field(2, FLOAT) + field(8, name)
    if elsewhere is None:
        return data + field(9, array.astype("<f4").tobytes())
    for key, value in elsewhere.items():
        data += field(13, field(1, key) + field(2, value))
    return data + field(14, 1)


def value_info(name: str, shape: tuple[int | str, ...]) -> bytes:
    dims = b"".join(field(1, field(2 if isinstance(d, str) else 1, d)) for d in shape)
    return field(1, name) + field(2, field(1, field(1, FLOAT) + field(2, dims)))


def node(op: str, inputs: list[str], output: str) -> bytes:
    return b"".join(field(1, name) for name in inputs) + field(2, output) + field(4, op)


def dense_model(weights: np.ndarray, *, elsewhere: Mapping[str, str] | None = None) -> bytes:
    """`product` = `x` @ weights and `positive` = relu(product), x float32 [n, rows]."""
    rows, columns = weights.shape
    graph = b"".join(
        [
            field(1, node("MatMul", ["x", "w"], "product")),
            field(1, node("Relu", ["product"], "positive")),
            field(2, "dense"),
            field(5, tensor("w", weights, elsewhere=elsewhere)),
            field(11, value_info("x", ("n", rows))),
            field(12, value_info("product", ("n", columns))),
            field(12, value_info("positive", ("n", columns))),
        ]
    )
    return field(1, 8) + field(7, graph) + field(8, field(1, "") + field(2, 13))
