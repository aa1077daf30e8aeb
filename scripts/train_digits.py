"""Trains the digit classifier that SealServe ships, and writes it as text.

Data: the handwritten digits that scikit-learn carries (1797 images of 8x8, values 0 to 16). 300 of
them, 30 of each digit, are held out: they are written to `digits_held_out.txt` and never trained
on. The choices below (layers, steps, rates) were made by `--validate`, which sets another 300 of
the training images aside; the held-out images only ever give the number printed at the end.

Two runs give the same bytes, on other machines too. Pixels are multiples of 1/16 and every weight
is rounded to a multiple of 2**-20 after each step, so that what a convolution sums is exact in
float64, and the last-bit differences of other linear algebra libraries do not grow from step to
step. Random numbers come from RandomState, whose stream numpy has frozen.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from sealserve.models.digits import PIXEL_SYMBOLS

Array = NDArray[Any]
Weights = dict[str, Array]

DATA = Path(__file__).resolve().parents[1] / "src/sealserve/models/data"
SEED = 2
HELD_OUT_PER_DIGIT = 30
CHANNELS = 8
EPOCHS = 60
BATCH = 32
RATE = 0.05
MOMENTUM = 0.9
DECAY = 0.001
GRID = 2.0**20
DECIMALS = 3
PIXEL_MAX = 16

WEIGHTS_HEADER = {
    "about": "Digit classifier of SealServe, made by scripts/train_digits.py",
    "data": "Trained on 1497 images of: E. Alpaydin, C. Kaynak, Optical Recognition of "
    "Handwritten Digits, UCI Machine Learning Repository, 1998, doi:10.24432/C50P49, CC BY 4.0",
}
HELD_OUT_HEADER = """\
# 300 handwritten digits, 30 of each, that the classifier was not trained on.
# Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning
# Repository, 1998, doi:10.24432/C50P49, licence CC BY 4.0
# (https://creativecommons.org/licenses/by/4.0/), as carried by scikit-learn. Selected and written
# in this form by scripts/train_digits.py.
# A line: the digit, a space, 64 pixels row by row, each 0 (white) to g (16, black).
"""


def main() -> None:
    """Train, write both files, and print what was reached."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=DATA, help="folder for the two files")
    parser.add_argument("--validate", action="store_true", help="score choices; write nothing")
    arguments = parser.parse_args()
    pixels, labels = load()
    random = np.random.RandomState(SEED)
    training, held_out = split(labels, random)
    if arguments.validate:
        training, held_out = validation_split(labels, training, random)
    weights = rounded(train(pixels[training] / PIXEL_MAX, labels[training], random))
    correct = count_correct(weights, pixels[held_out] / PIXEL_MAX, labels[held_out])
    known = count_correct(weights, pixels[training] / PIXEL_MAX, labels[training])
    if not arguments.validate:
        write_weights(arguments.out / "digits.json", weights)
        write_held_out(arguments.out / "digits_held_out.txt", pixels[held_out], labels[held_out])
    print(f"parameters: {sum(array.size for array in weights.values())}")
    print(f"training:   {known} of {len(training)} right ({known / len(training):.1%})")
    kind = "validation" if arguments.validate else "held out"
    print(f"{kind + ':':<11} {correct} of {len(held_out)} right ({correct / len(held_out):.1%})")


def load() -> tuple[Array, Array]:
    """Pixels int [1797,8,8] (0 to 16) and labels int [1797]; no image occurs twice."""
    digits = load_digits()
    pixels = digits.images.astype(np.int64)
    if len(np.unique(pixels.reshape(len(pixels), -1), axis=0)) != len(pixels):
        raise SystemExit("an image occurs twice: training and held-out images may not be disjoint")
    return pixels, digits.target.astype(np.int64)


def split(labels: Array, random: np.random.RandomState) -> tuple[Array, Array]:
    """Indices of the training and of the held-out images, each in the data's order."""
    held_out = np.concatenate(
        [
            random.permutation(np.flatnonzero(labels == digit))[:HELD_OUT_PER_DIGIT]
            for digit in range(10)
        ]
    )
    return np.setdiff1d(np.arange(len(labels)), held_out), np.sort(held_out)


def validation_split(
    labels: Array, training: Array, random: np.random.RandomState
) -> tuple[Array, Array]:
    """The training images split once more, in the same way."""
    kept, validation = split(labels[training], random)
    return training[kept], training[validation]


def train(images: Array, labels: Array, random: np.random.RandomState) -> Weights:
    """Stochastic gradient descent with momentum; the rate falls linearly to zero."""
    weights = initial(random)
    velocity = {name: np.zeros_like(array) for name, array in weights.items()}
    steps = EPOCHS * (len(images) // BATCH)
    for step in range(steps):
        if step % (steps // EPOCHS) == 0:
            order = random.permutation(len(images))
        start = step % (steps // EPOCHS) * BATCH
        batch = order[start : start + BATCH]
        rate = RATE * (1 - step / steps)
        for name, gradient in gradients(weights, images[batch], labels[batch]).items():
            change = MOMENTUM * velocity[name] - rate * (gradient + DECAY * weights[name])
            velocity[name] = on_grid(change)
            weights[name] = weights[name] + velocity[name]
    return weights


def initial(random: np.random.RandomState) -> Weights:
    """He's initialisation, for layers that a ReLU follows."""
    return {
        "conv_kernel": on_grid(random.randn(3, 3, 1, CHANNELS) * (2 / 9) ** 0.5),
        "conv_bias": np.zeros(CHANNELS),
        "dense_weights": on_grid(random.randn(16 * CHANNELS, 10) * (2 / (16 * CHANNELS)) ** 0.5),
        "dense_bias": np.zeros(10),
    }


def on_grid(array: Array) -> Array:
    """The nearest multiples of 2**-20."""
    return np.round(array * GRID) / GRID


def forward(weights: Weights, images: Array) -> tuple[Array, Array, Array]:
    """3x3 patches [n,8,8,9], the pooling windows [n,4,4,4,c] after ReLU, and logits [n,10]."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    patches = np.stack([padded[:, y : y + 8, x : x + 8] for y in range(3) for x in range(3)], -1)
    kernel = weights["conv_kernel"].reshape(9, -1)
    active = np.maximum(patches @ kernel + weights["conv_bias"], 0)
    corners = [active[:, y::2, x::2] for y in range(2) for x in range(2)]
    windows = np.stack(corners, axis=3)
    features = windows.max(axis=3).reshape(len(images), -1)
    return patches, windows, features @ weights["dense_weights"] + weights["dense_bias"]


def gradients(weights: Weights, images: Array, labels: Array) -> Weights:
    """The gradient of the mean cross-entropy, by name of the weight."""
    patches, windows, logits = forward(weights, images)
    features = windows.max(axis=3).reshape(len(images), -1)
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    error = exponents / exponents.sum(axis=1, keepdims=True)
    error[np.arange(len(labels)), labels] -= 1
    error /= len(labels)
    pooled = (error @ weights["dense_weights"].T).reshape(len(images), 4, 4, 1, -1)
    first = windows.argmax(axis=3)[:, :, :, None] == np.arange(4)[:, None]
    back = unpool(pooled * first * (windows > 0))
    return {
        "conv_kernel": np.einsum("nyxp,nyxc->pc", patches, back).reshape(3, 3, 1, -1),
        "conv_bias": back.sum(axis=(0, 1, 2)),
        "dense_weights": features.T @ error,
        "dense_bias": error.sum(axis=0),
    }


def unpool(windows: Array) -> Array:
    """[n,4,4,4,c] back to [n,8,8,c]: the inverse of cutting into 2x2 windows."""
    count, channels = windows.shape[0], windows.shape[-1]
    squares = windows.reshape(count, 4, 4, 2, 2, channels)
    return squares.transpose(0, 1, 3, 2, 4, 5).reshape(count, 8, 8, channels)


def rounded(weights: Weights) -> Weights:
    """The weights as they are written and used."""
    return {name: np.round(array, DECIMALS) + 0.0 for name, array in weights.items()}


def count_correct(weights: Weights, images: Array, labels: Array) -> int:
    """How many images the classifier reads right."""
    return int((forward(weights, images)[2].argmax(axis=1) == labels).sum())


def write_weights(path: Path, weights: Weights) -> None:
    """A JSON object: where it comes from, then shape and values, row by row, of each array."""
    arrays = {
        name: {"shape": list(array.shape), "values": array.ravel().tolist()}
        for name, array in weights.items()
    }
    text = json.dumps({**WEIGHTS_HEADER, "arrays": arrays}, separators=(",", ":"))
    path.write_text(text.replace('"arrays"', '\n"arrays"').replace('},"', '},\n"') + "\n")


def write_held_out(path: Path, pixels: Array, labels: Array) -> None:
    """The held-out images as text."""
    lines = [
        f"{label} {''.join(PIXEL_SYMBOLS[value] for value in image.ravel())}\n"
        for image, label in zip(pixels, labels, strict=True)
    ]
    path.write_text(HELD_OUT_HEADER + "".join(lines))


if __name__ == "__main__":
    main()
