"""How `sealserve model inspect` shows what it found.

Names in a model are somebody else's: a character that would move the cursor is shown as `?`.
JSON escapes such characters by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from sealserve.models.inspect import (
    FileFacts,
    GraphFacts,
    SignatureFacts,
    TensorFacts,
    VersionFacts,
)


def version_json(version: VersionFacts) -> dict[str, Any]:
    """One version for `--json`."""
    facts = asdict(version)
    return {
        **facts,
        "folder": str(version.folder),
        "sealed": version.sealed,
        "variables_files": version.has_variables_files,
    }


def version_rows(version: VersionFacts) -> Iterator[tuple[str, object]]:
    """One version as rows of a table, name and value, fit for a terminal."""
    for name, value in _rows(version):
        yield _printable(name), _printable(str(value))


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)


def _rows(version: VersionFacts) -> Iterator[tuple[str, object]]:
    for graph in version.graphs:
        yield from _graph_rows(graph, has_files=version.has_variables_files)
    if version.sealed:
        yield "model", "sealed (Gramine protected file); unseal it to see inside"
    for file in version.files:
        yield file.path, _file_text(file)


def _graph_rows(graph: GraphFacts, *, has_files: bool) -> Iterator[tuple[str, object]]:
    yield "tags", ", ".join(graph.tags)
    for name, signature in graph.signatures.items():
        yield from _signature_rows(name, signature)
    counts = ", ".join(f"{op} {count}" for op, count in graph.operations.items())
    yield "operations", f"{sum(graph.operations.values())}: {counts}"
    if not graph.variables:
        yield "variables", "none: the graph is frozen"
    elif has_files:
        yield "variables", f"{graph.variables}, with values in variables/"
    else:
        yield "variables", f"{graph.variables}, but no variables/ folder: it cannot be served"


def _signature_rows(name: str, signature: SignatureFacts) -> Iterator[tuple[str, object]]:
    yield f"signature {name}", signature.method or "(no method)"
    for kind, tensors in (("input", signature.inputs), ("output", signature.outputs)):
        for key, tensor in tensors.items():
            yield f"  {kind} {key}", _tensor_text(tensor)


def _tensor_text(tensor: TensorFacts) -> str:
    if tensor.shape is None:
        return f"{tensor.dtype} of unknown rank, {tensor.tensor}"
    sizes = ",".join("n" if size == -1 else str(size) for size in tensor.shape)
    return f"{tensor.dtype} [{sizes}], {tensor.tensor}"


def _file_text(file: FileFacts) -> str:
    return f"{file.size} bytes, sha256 {file.sha256}{', sealed' if file.sealed else ''}"
