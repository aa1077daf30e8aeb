"""Where `sealserve predict` takes its input from, and what the options for that mean."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from sealserve.client import Signature, TensorSpec
from sealserve.client.answers import Array
from sealserve.client.inputs import MAX_BYTES, load_image, load_npy, parse_json, random_array
from sealserve.errors import UsageError
from sealserve.files import read_file


@dataclass(frozen=True)
class Source:
    """The four ways to give an input; exactly one is set. All but JSON need the input's name."""

    input_name: str
    npy: Path | None
    image: Path | None
    json_file: str | None
    random: tuple[int, ...] | None
    size: tuple[int, int] | None
    full_light: float
    dtype: str

    def __post_init__(self) -> None:
        given = [self.npy, self.image, self.json_file, self.random]
        if sum(source is not None for source in given) != 1:
            raise UsageError("expected exactly one of --npy, --image, --json and --random")
        if self.size is not None and self.image is None:
            raise UsageError("--size is that of an --image")

    def inputs(self, signature: Callable[[], Signature]) -> dict[str, Array]:
        """The arrays to send; `signature` asks the server where the source alone does not say."""
        name = self.input_name
        if self.npy is not None:
            return {name: load_npy(self.npy)}
        if self.random is not None:
            return {name: random_array(self.random, np.dtype(self.dtype))}
        if self.image is not None:
            spec = _input(signature(), name)
            return {name: load_image(self.image, spec, size=self.size, full=self.full_light)}
        return parse_json(self.json_text(), signature())

    def json_text(self) -> str:
        """The request body that --json names."""
        return _text(self.json_file or "-")


def parse_sizes(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> tuple[int, ...] | None:
    """Whole positive numbers with commas or `x` between them."""
    if value is None:
        return None
    words = value.replace("x", ",").split(",")
    if not all(word.isascii() and word.isdigit() and 0 < int(word) < 2**31 for word in words):
        raise click.BadParameter(f"{value!r}; expected sizes such as 1,224,224,3", ctx, param)
    return tuple(map(int, words))


def parse_height_and_width(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> tuple[int, int] | None:
    """One size for both, or two."""
    sizes = parse_sizes(ctx, param, value)
    if sizes is None:
        return None
    if len(sizes) > 2:
        raise click.BadParameter("expected one size, or height and width", ctx, param)
    return sizes[0], sizes[-1]


def _input(signature: Signature, name: str) -> TensorSpec:
    if name not in signature.inputs:
        raise UsageError(
            f"the signature has no input {name!r}; it has {sorted(signature.inputs)}",
            hint="name one with --input-name",
        )
    return signature.inputs[name]


def _text(file: str) -> str:
    data = sys.stdin.buffer.read(MAX_BYTES + 1) if file == "-" else _read(file)
    if len(data) > MAX_BYTES:
        raise UsageError(f"the request is larger than the {MAX_BYTES} bytes allowed here")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError("the request is no UTF-8 text") from error


def _read(file: str) -> bytes:
    return read_file(Path(file), limit=MAX_BYTES)
