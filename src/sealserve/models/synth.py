"""ResNet-50 v1.5 with random weights: the size and the arithmetic of the real one, for benchmarks.

It recognises nothing. Layers: K. He and others, "Deep Residual Learning for Image Recognition"
(arXiv:1512.03385), table 1; v1.5 puts the stride of a downsampling bottleneck into its 3x3
convolution. Batch normalisation is folded into the convolutions, as in a graph frozen for
inference; strided convolutions pad by fixed amounts, as TensorFlow's reference model does.

A seed gives the same bytes everywhere: weights are uniform, made from the generator's raw bits by
operations that IEEE 754 defines exactly. They are scaled (He's initialisation, and less for a
branch's last convolution) so that activations stay of order one through all layers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sealserve.errors import UsageError
from sealserve.messages import tensor_pb2
from sealserve.messages.graph_pb2 import GraphDef
from sealserve.messages.saved_model_pb2 import SavedModel
from sealserve.models.graph import GraphBuilder, Padding
from sealserve.models.saved_model import make_saved_model, tensor_info

RESNET50 = "resnet50-v15"
INPUT = "input"
OUTPUT = "predict"
IMAGE_SIDE = 224
CLASSES = 1001  # ImageNet's 1000 and a background class, as in TensorFlow's models
STAGES = (3, 4, 6, 3)  # bottlenecks of each
WIDTH = 64  # channels of the first stage
EXPANSION = 4
MAX_SEED = 2**63 - 1

HE_GAIN = 2.0  # keeps the variance through a ReLU
BRANCH_GAIN = 0.25  # of a branch that is added: 16 of them together stay of order one
BIAS_SCALE = 0.1

Array = NDArray[np.float32]
Advance = Callable[[int], None]


def resnet50(
    seed: int = 0, *, width: int = WIDTH, advance: Advance = lambda count: None
) -> GraphDef:
    """The frozen graph; `advance` is told how many more bytes of weights are made.

    Input `input` float32 [n,224,224,3], output `predict` float32 [n,1001]. Another `width` than 64
    gives a thinner network of the same structure. Raises UsageError for a seed out of range.
    """
    if not 0 <= seed <= MAX_SEED:
        raise UsageError(f"seed {seed}: expected 0 to {MAX_SEED}")
    network = _Network(_Weights(seed, advance))
    network.stem(width)
    for stage, blocks in enumerate(STAGES):
        for block in range(blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            name = f"stage{stage + 1}/block{block + 1}"
            network.bottleneck(name, width << stage, stride=stride, project=block == 0)
    network.head()
    return network.builder.graph


def resnet50_model(graph: GraphDef) -> SavedModel:
    """The graph of `resnet50` as a SavedModel."""
    dtype = tensor_pb2.DT_FLOAT
    image = tensor_info(f"{INPUT}:0", dtype, [None, IMAGE_SIDE, IMAGE_SIDE, 3])
    classes = tensor_info(f"{OUTPUT}:0", dtype, [None, CLASSES])
    return make_saved_model(graph, inputs={INPUT: image}, outputs={OUTPUT: classes})


def weight_bytes(width: int = WIDTH) -> int:
    """How many bytes of weights `resnet50` makes: for progress."""
    convolutions = 7 * 7 * 3 * width + width
    channels = width
    for stage, blocks in enumerate(STAGES):
        inner = width << stage
        outer = inner * EXPANSION
        convolutions += channels * outer + outer
        for block in range(blocks):
            before = channels if block == 0 else outer
            convolutions += before * inner + 9 * inner * inner + inner * outer + 2 * inner + outer
        channels = outer
    return 4 * (convolutions + channels * CLASSES + CLASSES)


class _Weights:
    """Seeded random arrays, in the order in which they are asked for."""

    def __init__(self, seed: int, advance: Advance) -> None:
        self._bits = np.random.PCG64(seed)
        self._advance = advance

    def uniform(self, shape: Sequence[int], deviation: float) -> Array:
        """Uniform around zero with this standard deviation."""
        count = math.prod(shape)
        words: NDArray[Any] = self._bits.random_raw(-(-count // 2)).astype("<u8").view("<u4")
        # 2k + 1 - 2**24 for a k of 24 bits: odd, symmetric around zero, exact in float32.
        steps = (words[:count] >> np.uint32(8)).astype(np.int32) * 2 + (1 - 2**24)
        scale = np.float32(deviation * math.sqrt(3) / 2**24)
        self._advance(4 * count)
        return (steps.astype(np.float32) * scale).reshape(tuple(shape))


class _Network:
    """The layers in order; each method goes on from the value that the last one left."""

    def __init__(self, weights: _Weights) -> None:
        self.builder = GraphBuilder()
        self._weights = weights
        self._value = self.builder.placeholder(INPUT, [None, IMAGE_SIDE, IMAGE_SIDE, 3])
        self._channels = 3

    def stem(self, width: int) -> None:
        """224x224 to 56x56."""
        self._convolution("stem/conv", size=7, channels=width, stride=2)
        self._relu("stem/relu")
        self._value = self.builder.max_pool(
            "stem/pool", self._value, size=3, stride=2, padding="SAME"
        )

    def bottleneck(self, name: str, width: int, *, stride: int, project: bool) -> None:
        """1x1, 3x3 (which has the stride), 1x1, added to the shortcut."""
        before, channels = self._value, self._channels
        if project:
            self._convolution(
                f"{name}/shortcut", size=1, channels=width * EXPANSION, stride=stride, gain=1.0
            )
        shortcut = self._value
        self._value, self._channels = before, channels
        self._convolution(f"{name}/conv1", size=1, channels=width)
        self._relu(f"{name}/relu1")
        self._convolution(f"{name}/conv2", size=3, channels=width, stride=stride)
        self._relu(f"{name}/relu2")
        self._convolution(f"{name}/conv3", size=1, channels=width * EXPANSION, gain=BRANCH_GAIN)
        self._value = self.builder.add(f"{name}/add", self._value, shortcut)
        self._relu(f"{name}/relu3")

    def head(self) -> None:
        """The mean over the image, one dense layer, softmax."""
        value = self.builder.mean("head/mean", self._value, [1, 2])
        deviation = math.sqrt(1 / self._channels)
        weights = self._weights.uniform([self._channels, CLASSES], deviation)
        value = self.builder.matmul("head/dense", value, weights)
        bias = self._weights.uniform([CLASSES], BIAS_SCALE)
        value = self.builder.bias_add("head/logits", value, bias)
        self._value = self.builder.softmax(OUTPUT, value)

    def _convolution(
        self, name: str, *, size: int, channels: int, stride: int = 1, gain: float = HE_GAIN
    ) -> None:
        fan_in = size * size * self._channels
        shape = [size, size, self._channels, channels]
        kernel = self._weights.uniform(shape, math.sqrt(gain / fan_in))
        bias = self._weights.uniform([channels], BIAS_SCALE)
        if stride > 1 and size > 1:
            around = (size // 2, size // 2)
            self._value = self.builder.pad(
                f"{name}/pad", self._value, [(0, 0), around, around, (0, 0)]
            )
        padding: Padding = "VALID" if stride > 1 else "SAME"
        value = self.builder.conv2d(name, self._value, kernel, stride=stride, padding=padding)
        self._value = self.builder.bias_add(f"{name}/biased", value, bias)
        self._channels = channels

    def _relu(self, name: str) -> None:
        self._value = self.builder.relu(name, self._value)
