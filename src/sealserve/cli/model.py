"""`sealserve model`: the model owner's tools, without TensorFlow."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np

from sealserve.cli.interruption import clean_end
from sealserve.cli.model_facts import version_json, version_rows
from sealserve.cli.model_record import check_record, record
from sealserve.cli.output import json_option, note, print_json, print_table, progress
from sealserve.errors import UsageError
from sealserve.files import PUBLIC, atomic_file, read_file, write_file
from sealserve.models import digits as digits_model
from sealserve.models import synth as synth_model
from sealserve.models.convert import SignatureNames, split_names
from sealserve.models.convert import convert as convert_graph
from sealserve.models.fetch import Limits
from sealserve.models.fetch import fetch as fetch_source
from sealserve.models.inspect import inspect as inspect_folder
from sealserve.models.saved_model import (
    MAX_BYTES,
    MAX_VERSION,
    require_new_version,
    write_saved_model,
)
from sealserve.models.sources import KNOWN, resolve

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
    """Fetch, convert, synthesise, inspect and record models.

    \b
    digits        a small real model and its test images
    fetch         download a model, its SHA-256 pinned
    convert       a frozen graph to a SavedModel
    synth         a large model with random weights, for benchmarks
    inspect       what a model is, and the digests of its files
    record        which files it has, for servers to check them against
    check-record  whether a folder has the files of a record
    record   which files it has, for servers to check them against; check-record checks a folder

    \b
    Example:
      sealserve model digits --out models/digits
    """


@model.command()
@out_option
@version_option
@click.option("--held-out", type=FilePath, help="Also write 300 test images, as .npy.")
@click.option("--labels", type=FilePath, help="Also write the digits that they show, as .npy.")
@json_option
@clean_end()
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
    arrays = {path: array for path, array in ((held_out, images), (labels, shown)) if path}
    for path, array in arrays.items():
        _write_npy(path, array)
    files = [digits_model.export_digits(out, version), *arrays]
    _print_files(files, as_json=as_json)


def _print_files(files: list[Path], *, as_json: bool) -> None:
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


@model.command()
@click.option(
    "--input", "source", required=True, type=FilePath, help="The frozen graph, at most 2 GiB."
)
@click.option(
    "--inputs", required=True, metavar="NAME[,NAME]", help="Placeholders that clients feed."
)
@click.option("--outputs", required=True, metavar="NAME[,NAME]", help="Tensors that clients get.")
@out_option
@version_option
@json_option
@clean_end()
def convert(
    source: Path, inputs: str, outputs: str, out: Path, version: int, as_json: bool
) -> None:
    """Make a SavedModel of a frozen TensorFlow graph.

    The signature is `serving_default`; dtypes and shapes come from the graph. A name is a node's,
    or NODE:NUMBER for another output than its first. A protobuf message, and so a frozen graph,
    has at most 2 GiB.

    \b
    Example:
      sealserve model convert --input resnet50-v15-fp32.pb --inputs input --outputs predict \\
        --out models/resnet50-v15-fp32
    """
    names = SignatureNames(split_names(inputs), split_names(outputs))
    require_new_version(out, version)
    saved_model = convert_graph(read_file(source, limit=MAX_BYTES), names)
    path = write_saved_model(saved_model, out, version)
    _print_files([path], as_json=as_json)


@model.command()
@click.argument("name", type=click.Choice([synth_model.RESNET50]))
@out_option
@version_option
@click.option(
    "--seed",
    type=click.IntRange(0, synth_model.MAX_SEED),
    default=0,
    show_default=True,
    help="The same seed gives the same bytes.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["saved-model", "graph"]),
    default="saved-model",
    show_default=True,
    help="A SavedModel, or a frozen graph NAME.pb as for `convert`.",
)
@json_option
@clean_end()
def synth(name: str, out: Path, version: int, seed: int, form: str, as_json: bool) -> None:
    """Make a model with random weights, for benchmarks only: it recognises nothing.

    resnet50-v15 is ResNet-50 v1.5 in float32, 97 MiB: input `input` [n,224,224,3], output `predict`
    [n,1001], the operations and sizes of the trained one.

    \b
    Example:
      sealserve model synth resnet50-v15 --out models/resnet50-v15-fp32
    """
    note(f"{name} gets random weights (seed {seed}): for benchmarks, its answers mean nothing")
    if form == "saved-model":
        require_new_version(out, version)
    with progress(name, synth_model.weight_bytes()) as advance:
        graph = synth_model.resnet50(seed, advance=advance)
    if form == "saved-model":
        path = write_saved_model(synth_model.resnet50_model(graph), out, version)
    else:
        path = _write_graph(out / f"{name}.pb", graph.SerializeToString(deterministic=True))
    _print_files([path], as_json=as_json)


def _write_graph(path: Path, data: bytes) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, data, replace=False)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
    return path


@model.command()
@click.argument("source", metavar="NAME|URL")
@click.option("--sha256", metavar="HEX", help="The digest that the file must have.")
@click.option("--out", type=FilePath, help="The file to write; by default, the name in the URL.")
@click.option(
    "--max-size",
    type=click.IntRange(1),
    default=MAX_BYTES,
    show_default=True,
    metavar="BYTES",
    help="A larger file is refused.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0, 3600, min_open=True),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="How long the server may send nothing.",
)
@json_option
def fetch(
    source: str,
    sha256: str | None,
    out: Path | None,
    max_size: int,
    timeout: float,
    as_json: bool,
) -> None:
    """Download a model whose SHA-256 you know.

    NAME is resnet50-v15-fp32, the guide's ResNet-50, whose publisher states no digest; a URL is
    https: or file:. A transfer that breaks off goes on where it was when the command is run again.
    A file with another digest is not kept.

    \b
    Example:
      sealserve model fetch https://example.com/model.pb --sha256 $(cat model.pb.sha256)
    """
    wanted = resolve(source, sha256=sha256, out=out)
    if source in KNOWN:
        note(f"{KNOWN[source].about}, from {wanted.shown}")
    fetched = fetch_source(
        wanted, Limits(max_size, timeout), lambda size: progress(wanted.out.name, size)
    )
    if as_json:
        facts = asdict(fetched)
        print_json({**facts, "path": str(fetched.path), "url": wanted.shown})
        return
    if fetched.resumed_at == fetched.size:
        note("it was there already, with the right digest")
    click.echo(fetched.path)


@model.command()
@click.argument("folder", metavar="DIR", type=FolderPath)
@json_option
def inspect(folder: Path, as_json: bool) -> None:
    """Show what a model is: versions, signatures, operations, digests.

    DIR is a model's base folder (with 1, 2, ... in it) or one version. A sealed model is said to be
    sealed, and its digests are shown; to see inside, unseal it first.

    \b
    Example:
      sealserve model inspect models/digits
    """
    versions = inspect_folder(folder)
    if as_json:
        print_json({"versions": [version_json(version) for version in versions]})
        return
    for version in versions:
        print_table(str(version.folder), list(version_rows(version)))


model.add_command(record)
model.add_command(check_record)
