"""A SavedModel from its bytes: one meta graph, chosen by tags, and its signatures.

Source: TensorFlow 2.21, core/protobuf/{saved_model,meta_graph}.proto; how tags choose:
cc/saved_model/reader.cc (the sets must be equal).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from sealserve.errors import FailedPrecondition, FormatError
from sealserve.messages.graph_pb2 import GraphDef
from sealserve.messages.saved_model_pb2 import MetaGraphDef, SavedModel, SignatureDef
from sealserve.serving.signature import INIT_SIGNATURE

FILE_NAME = "saved_model.pb"
SIZE_LIMIT = (2 << 30) - 1  # a protobuf message has less than 2 GiB


@dataclass(frozen=True)
class MetaGraph:
    """What one meta graph holds for serving."""

    graph: GraphDef
    signatures: Mapping[str, SignatureDef]
    restore_op: str = ""  # the node that restores variables, where there are any


def parse_saved_model(data: bytes | bytearray, tags: Sequence[str]) -> MetaGraph:
    """The meta graph of `saved_model.pb` whose tags are exactly `tags`.

    Raises FormatError for bytes that are no SavedModel, FailedPrecondition when no meta graph has
    these tags or it has nothing to serve.
    """
    try:
        model = SavedModel.FromString(data)  # type: ignore[arg-type]  # takes any buffer
    except DecodeError as error:
        raise FormatError(f"the bytes of {FILE_NAME} are no SavedModel", code="saved-model") from (
            error
        )
    chosen = _choose(model, set(tags))
    signatures = {
        name: definition
        for name, definition in chosen.signature_def.items()
        if name != INIT_SIGNATURE
    }
    if not signatures:
        raise FailedPrecondition(
            "the SavedModel has no signature to serve", hint="export it with a signature"
        )
    return MetaGraph(
        graph=chosen.graph_def,
        signatures=signatures,
        restore_op=chosen.saver_def.restore_op_name,
    )


def _choose(model: SavedModel, tags: set[str]) -> MetaGraphDef:
    for meta_graph in model.meta_graphs:
        if set(meta_graph.meta_info_def.tags) == tags:
            return meta_graph
    found = [sorted(meta_graph.meta_info_def.tags) for meta_graph in model.meta_graphs]
    raise FailedPrecondition(
        f"Could not find meta graph def matching supplied tags: {sorted(tags)}; found {found}",
        hint="name the tags of the export with --saved_model_tags",
    )
