"""The digit classifier that the package ships: a real model, small enough to be text.

A 3x3 convolution with 8 channels, ReLU, 2x2 max-pooling and one dense layer: 1370 weights, trained
on real handwriting by `scripts/train_digits.py`. `data/digits.json` holds the weights,
`data/digits_held_out.txt` 300 images that it was not trained on; both say where they come from.
The model's input is `input` float32 [n,8,8,1] with values from 0 (white) to 1 (black), its output
`predict` float32 [n,10]: the probability of each digit.
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sealserve.messages import tensor_pb2
from sealserve.messages.saved_model_pb2 import SavedModel
from sealserve.models.graph import GraphBuilder
from sealserve.models.saved_model import make_saved_model, tensor_info, write_saved_model

INPUT = "input"
OUTPUT = "predict"
SIDE = 8
DIGITS = 10
PIXEL_SYMBOLS = "0123456789abcdefg"  # a pixel from 0 to 16 as one character

Array = NDArray[Any]


def export_digits(base: Path, version: int = 1) -> Path:
    """Write the classifier as a SavedModel and return its path, `base/version/saved_model.pb`.

    Raises UsageError if the version exists or cannot be written.
    """
    return write_saved_model(digits_model(), base, version)


def held_out() -> tuple[Array, Array]:
    """Images float32 [300,8,8,1] from 0 to 1, and labels int64 [300]: never trained on."""
    lines = [line for line in _data("digits_held_out.txt").splitlines() if not line.startswith("#")]
    labels = np.array([int(line[0]) for line in lines], np.int64)
    pixels = [[PIXEL_SYMBOLS.index(symbol) for symbol in line[2:]] for line in lines]
    images = np.array(pixels, np.float32) / np.float32(len(PIXEL_SYMBOLS) - 1)
    return images.reshape(-1, SIDE, SIDE, 1), labels


def digits_model() -> SavedModel:
    """The classifier as a message."""
    arrays = _weights()
    builder = GraphBuilder()
    value = builder.placeholder(INPUT, [None, SIDE, SIDE, 1])
    value = builder.conv2d("conv", value, arrays["conv_kernel"])
    value = builder.bias_add("conv_biased", value, arrays["conv_bias"])
    value = builder.relu("conv_active", value)
    value = builder.max_pool("pool", value, size=2, stride=2)
    value = builder.reshape("flat", value, [-1, len(arrays["dense_weights"])])
    value = builder.matmul("dense", value, arrays["dense_weights"])
    value = builder.bias_add("logits", value, arrays["dense_bias"])
    builder.softmax(OUTPUT, value)
    return make_saved_model(
        builder.graph,
        inputs={INPUT: tensor_info(f"{INPUT}:0", tensor_pb2.DT_FLOAT, [None, SIDE, SIDE, 1])},
        outputs={OUTPUT: tensor_info(f"{OUTPUT}:0", tensor_pb2.DT_FLOAT, [None, DIGITS])},
    )


def _weights() -> dict[str, Array]:
    arrays = json.loads(_data("digits.json"))["arrays"]
    return {
        name: np.array(array["values"], np.float32).reshape(array["shape"])
        for name, array in arrays.items()
    }


def _data(name: str) -> str:
    return (resources.files("sealserve.models") / "data" / name).read_text("utf-8")
