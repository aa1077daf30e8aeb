"""Arrays to send, from files and from nothing: .npy, images, JSON as the REST API takes it, random.

What a person gives is a UsageError where it does not fit; sizes are bounded before memory is set
aside. Pillow is imported for images alone.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from sealserve.client.answers import Array, Signature, TensorSpec
from sealserve.errors import UsageError

MAX_BYTES = 256 << 20
MAX_PIXELS = 64 << 20
# Of the kinds that numpy makes of JSON, those that each kind of dtype takes without a loss.
_SORTS = {
    "f": frozenset("fiu"),
    "c": frozenset("fiu"),
    "i": frozenset("iu"),
    "u": frozenset("iu"),
    "b": frozenset("b"),
    "O": frozenset("U"),
}
RANDOM_SEED = 0  # the same numbers in every run, so that runs can be compared


def load_npy(path: Path) -> Array:
    """The array in a .npy file; one that holds Python objects is refused."""
    try:
        # Mapped, a header that claims more than the file holds is refused, not allocated.
        mapped = np.lib.format.open_memmap(path, mode="r")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, EOFError) as error:
        raise UsageError(f"{path} is no .npy file of plain values") from error
    return np.array(mapped)


def load_image(path: Path, spec: TensorSpec, *, size: tuple[int, int] | None, full: float) -> Array:
    """An image as the array [1, height, width, channels] that an input wants.

    `size` is (height, width), None for that of the input; the image is scaled to it, bilinearly.
    One channel is grey, three are red, green and blue; `full` is the value of full light.
    """
    from PIL import Image, UnidentifiedImageError

    (height, width), mode = _image_form(spec, size)
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise UsageError(f"{path} has more than {MAX_PIXELS} pixels")
            scaled = image.convert(mode).resize((width, height), Image.Resampling.BILINEAR)
            pixels = np.asarray(scaled, np.float32)
    except UnidentifiedImageError as error:
        raise UsageError(f"{path} is no image of a known format") from error
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or 'damaged image'}") from error
    return (pixels * (full / 255)).astype(spec.dtype).reshape(1, height, width, -1)


def _image_form(spec: TensorSpec, size: tuple[int, int] | None) -> tuple[tuple[int, int], str]:
    """Height and width, and Pillow's mode, of an input [batch, height, width, channels]."""
    modes = {1: "L", 3: "RGB", None: "RGB"}
    shape = spec.shape if spec.shape is not None else (None, None, None, None)
    if len(shape) != 4 or shape[3] not in modes or spec.dtype is None or spec.dtype.kind == "O":
        raise UsageError(
            f"the input is {spec.data_type} {spec.shape}; an image is"
            " numbers of shape [batch, height, width, 1 or 3]"
        )
    height, width = size if size is not None else shape[1:3]
    if height is None or width is None:
        raise UsageError("the model takes images of any size", hint="give one with --size")
    return (height, width), modes[shape[3]]


def random_array(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Random values of a shape: floats from 0 to 1, integers from 0 to 100; the same every time."""
    if math.prod(shape) * dtype.itemsize > MAX_BYTES:
        raise UsageError(f"shape {list(shape)} has more than the {MAX_BYTES} bytes allowed here")
    generator = np.random.default_rng(RANDOM_SEED)
    if dtype.kind == "f":
        return generator.random(shape, np.float32).astype(dtype)
    if dtype.kind in "iu":
        return generator.integers(0, 100, shape, np.int64, endpoint=True).astype(dtype)
    raise UsageError(f"no random values of {dtype}; expected floats or integers")


def parse_json(text: str, signature: Signature) -> dict[str, Array]:
    """The inputs in a request body of TensorFlow Serving's REST API, with the signature's dtypes.

    `{"instances": [...]}` (one value or one object for each row) or `{"inputs": ...}` (one value
    or an object of them). A single value stands for the only input.
    """
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError("the request is no JSON") from error
    if not isinstance(body, dict) or ("instances" in body) == ("inputs" in body):
        raise UsageError('the request is no object with either "instances" or "inputs"')
    values = _columns(body["instances"]) if "instances" in body else body["inputs"]
    if not isinstance(values, dict):
        values = {only_input(signature): values}
    return {name: _array(name, value, _spec(name, signature)) for name, value in values.items()}


def only_input(signature: Signature) -> str:
    """The name of a signature's single input; UsageError if it has several."""
    if len(signature.inputs) != 1:
        raise UsageError(f"the signature has the inputs {sorted(signature.inputs)}: name them")
    return next(iter(signature.inputs))


def _columns(rows: Any) -> Any:
    """Rows as columns, where each row is an object of values."""
    if not isinstance(rows, list) or not rows:
        raise UsageError('"instances" is no list of rows')
    if not any(isinstance(row, dict) for row in rows):
        return rows
    if not all(isinstance(row, dict) and row.keys() == rows[0].keys() for row in rows):
        raise UsageError('the rows of "instances" have different names')
    return {name: [row[name] for row in rows] for name in rows[0]}


def _spec(name: str, signature: Signature) -> TensorSpec:
    spec = signature.inputs.get(name)
    if spec is None:
        raise UsageError(f"no input {name!r}; the signature has {sorted(signature.inputs)}")
    return spec


def _array(name: str, value: Any, spec: TensorSpec) -> Array:
    if spec.dtype is None:
        raise UsageError(f"input {name!r} is {spec.data_type}, which cannot be sent as JSON")
    try:
        if not _sort_of(np.array(value)) <= _SORTS[spec.dtype.kind]:
            raise UsageError(f"the values of input {name!r} are no {spec.data_type}")
        return np.array(value, spec.dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise UsageError(
            f"the values of input {name!r} make no array of {spec.data_type}"
        ) from error


def _sort_of(values: Array) -> frozenset[str]:
    """The kind of what JSON held: nothing fits every dtype."""
    return frozenset(values.dtype.kind) if values.size else frozenset()
