"""`sealserve model`: the model owner's tools, without TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np

from sealserve.cli.output import json_option, print_json
from sealserve.errors import UsageError
from sealserve.files import PUBLIC, atomic_file
from sealserve.models import digits as digits_model
from sealserve.models.saved_model import MAX_VERSION

FilePath = click.Path(dir_okay=False, path_type=Path)
FolderPath = click.Path(file_okay=False, path_type=Path)

out_option = click.option(
    "--out", required=True, type=FolderPath, help="The model's base folder; versions go below it."
)
version_option = click.option(
    "--version",
    type=click.IntRange(1, MAX_VERSION),
    default=1,
    show_default=True,
    help="The version to write; it must not exist.",
)


@click.group()
def model() -> None:
    """Fetch, convert, synthesise and inspect models.

    \b
    digits   a small real model and its test images
    fetch    download a model, its SHA-256 pinned
    convert  a frozen graph to a SavedModel
    synth    a large model with random weights, for benchmarks
    inspect  what a model is, and the digests of its files
    """


@model.command()
@out_option
@version_option
@click.option("--held-out", type=FilePath, help="Also write 300 test images, as .npy.")
@click.option("--labels", type=FilePath, help="Also write the digits that they show, as .npy.")
@json_option
def digits(
    out: Path, version: int, held_out: Path | None, labels: Path | None, as_json: bool
) -> None:
    """Write the digit classifier that SealServe ships.

    Input `input` float32 [n,8,8,1], 0 (white) to 1 (black); output `predict` float32 [n,10]. The
    test images were not trained on.

    \b
    Example:
      sealserve model digits --out models/digits --held-out digits.npy --labels labels.npy
    """
    images, shown = digits_model.held_out()
    files = [digits_model.export_digits(out, version)]
    for path, array in ((held_out, images), (labels, shown)):
        if path is not None:
            _write_npy(path, array)
            files.append(path)
    if as_json:
        print_json({"files": [str(file) for file in files]})
        return
    for file in files:
        click.echo(file)


def _write_npy(path: Path, array: np.ndarray[Any, Any]) -> None:
    try:
        with atomic_file(path, mode=PUBLIC, replace=False) as stream:
            np.save(stream, array, allow_pickle=False)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
