"""What a model folder holds: versions, signatures, operations, and the digest of every file.

It reads a base folder (`BASE/1`, `BASE/2`, ...) or one version folder, as TensorFlow Serving lays
them out. A file that is sealed (a Gramine protected file, which begins with `GRAFS_PF`) is said to
be sealed and its digest given; nothing is decrypted. The folder may come from anybody: files and
sizes have limits, links to folders are not followed, and what is no regular file is not opened.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.message import DecodeError

from sealserve.errors import FormatError, UsageError
from sealserve.messages.graph_pb2 import GraphDef
from sealserve.messages.saved_model_pb2 import MetaGraphDef, SavedModel, SignatureDef, TensorInfo
from sealserve.messages.tensors import dtype_name
from sealserve.models.frozen import VARIABLES
from sealserve.models.saved_model import FILE_NAME, MAX_BYTES
from sealserve.sealing import MAGIC

MAX_FILES = 10_000
MAX_VERSION_DIGITS = 19  # of an int64


@dataclass(frozen=True)
class FileFacts:
    """One file: its path below the version folder, its size in bytes, its SHA-256 in hex."""

    path: str
    size: int
    sha256: str
    sealed: bool


@dataclass(frozen=True)
class TensorFacts:
    """One input or output. `shape` is None for an unknown rank; -1 is an unknown dimension."""

    tensor: str
    dtype: str
    shape: Sequence[int] | None


@dataclass(frozen=True)
class SignatureFacts:
    """One signature, with its inputs and outputs by the names that clients use."""

    method: str
    inputs: Mapping[str, TensorFacts]
    outputs: Mapping[str, TensorFacts]


@dataclass(frozen=True)
class GraphFacts:
    """One meta graph. `operations` counts nodes, those of functions included."""

    tags: Sequence[str]
    signatures: Mapping[str, SignatureFacts]
    operations: Mapping[str, int]
    variables: int


@dataclass(frozen=True)
class VersionFacts:
    """One version folder; `graphs` is empty where `saved_model.pb` is sealed."""

    folder: Path
    files: Sequence[FileFacts]
    graphs: Sequence[GraphFacts]

    @property
    def sealed(self) -> bool:
        """Whether the model itself is a sealed file."""
        return any(file.path == FILE_NAME and file.sealed for file in self.files)

    @property
    def has_variables_files(self) -> bool:
        """Whether there are files that variables are loaded from."""
        return any(file.path.startswith("variables/") for file in self.files)


def inspect(folder: Path) -> list[VersionFacts]:
    """The versions in a base folder, lowest first, or the one that `folder` itself is.

    Raises UsageError where there is no model, FormatError where `saved_model.pb` is none.
    """
    if (folder / FILE_NAME).is_file():
        return [_version(folder)]
    versions = _version_folders(folder)
    if not versions:
        raise UsageError(
            f"{folder} is no model: expected {FILE_NAME} in it, or folders 1, 2, ... with one each",
            hint="a frozen graph (.pb) becomes a model with: sealserve model convert",
        )
    return [_version(versions[number]) for number in sorted(versions)]


def _version_folders(base: Path) -> dict[int, Path]:
    try:
        folders = [path for path in base.iterdir() if path.is_dir()]
    except OSError as error:
        raise UsageError(f"cannot read {base}: {error.strerror}") from error
    return {int(path.name): path for path in folders if _is_version(path.name)}


def _is_version(name: str) -> bool:
    return name.isascii() and name.isdecimal() and len(name) <= MAX_VERSION_DIGITS


def _version(folder: Path) -> VersionFacts:
    files = [_file_facts(path, folder) for path in _regular_files(folder)]
    model = next((file for file in files if file.path == FILE_NAME), None)
    if model is None:
        raise FormatError(f"{folder} has no {FILE_NAME}")
    graphs = [] if model.sealed else _graphs(folder / FILE_NAME)
    return VersionFacts(folder, files, graphs)


def _regular_files(folder: Path) -> list[Path]:
    found: list[Path] = []
    for place, folders, names in os.walk(folder, onerror=_unreadable):
        folders.sort()
        found += [path for name in sorted(names) if (path := Path(place, name)).is_file()]
        if len(found) > MAX_FILES:
            raise FormatError(f"{folder} has more than {MAX_FILES} files; that is no model")
    return found


def _file_facts(path: Path, folder: Path) -> FileFacts:
    try:
        # Between the walk and here a file may have become a pipe, which would never end.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as stream:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise UsageError(f"{path} is not a regular file")
            sealed = stream.read(len(MAGIC)) == MAGIC
            stream.seek(0)
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            size = stream.tell()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    return FileFacts(path.relative_to(folder).as_posix(), size, digest, sealed)


def _graphs(path: Path) -> list[GraphFacts]:
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise FormatError(f"{path} is larger than the {MAX_BYTES} bytes that a SavedModel can have")
    try:
        return describe(data)
    except FormatError as error:
        raise FormatError(f"{path}: {error.message}", hint=error.hint) from error


def describe(data: bytes) -> list[GraphFacts]:
    """The meta graphs in the bytes of a `saved_model.pb`; FormatError if they are none."""
    try:
        model = SavedModel.FromString(data)
    except DecodeError as error:
        raise FormatError("the bytes are no SavedModel message") from error
    if not model.meta_graphs:
        raise FormatError("the SavedModel holds no graph; expected one with the tag 'serve'")
    return [_graph_facts(meta_graph) for meta_graph in model.meta_graphs]


def _graph_facts(meta_graph: MetaGraphDef) -> GraphFacts:
    operations = _count_operations(meta_graph.graph_def)
    signatures = {
        name: _signature_facts(signature)
        for name, signature in sorted(meta_graph.signature_def.items())
    }
    variables = sum(count for op, count in operations.items() if op in VARIABLES)
    tags = list(meta_graph.meta_info_def.tags)
    return GraphFacts(tags, signatures, dict(operations.most_common()), variables)


def _count_operations(graph: GraphDef) -> Counter[str]:
    counts = Counter(node.op for node in graph.node)
    for function in graph.library.function:
        counts.update(node.op for node in function.node_def)
    return counts


def _signature_facts(signature: SignatureDef) -> SignatureFacts:
    return SignatureFacts(
        method=signature.method_name,
        inputs={name: _tensor_facts(info) for name, info in sorted(signature.inputs.items())},
        outputs={name: _tensor_facts(info) for name, info in sorted(signature.outputs.items())},
    )


def _tensor_facts(info: TensorInfo) -> TensorFacts:
    shape = info.tensor_shape
    sizes = None if shape.unknown_rank else [dim.size for dim in shape.dim]
    tensor = info.name if info.HasField("name") else "(composite)"
    return TensorFacts(tensor, dtype_name(info.dtype), sizes)


def _unreadable(error: OSError) -> None:
    raise UsageError(f"cannot read {error.filename}: {error.strerror}") from error
