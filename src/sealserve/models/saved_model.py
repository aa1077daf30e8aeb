"""SavedModels as TensorFlow Serving lays them out: `BASE/VERSION/saved_model.pb`.

One MetaGraphDef with the tag `serve` and one signature, `serving_default`; the graph is frozen, so
there is no `variables/` folder. Source: TensorFlow 2.21, core/protobuf/saved_model.proto and
meta_graph.proto, cc/saved_model/{constants,tag_constants,signature_constants}.h.

A version folder appears whole or not at all, for servers poll for it; one that exists is never
touched. Models are written for their owner alone (files 0600, folders 0700), because what is to be
sealed is not for others to read before.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from sealserve.errors import UsageError
from sealserve.files import sync_folder, write_file
from sealserve.messages import tensor_pb2
from sealserve.messages.graph_pb2 import GraphDef
from sealserve.messages.saved_model_pb2 import SavedModel, TensorInfo
from sealserve.models.graph import shape_proto

FILE_NAME = "saved_model.pb"
SCHEMA_VERSION = 1  # core/protobuf/saved_model.proto: "presently 1"
TAG = "serve"
SIGNATURE = "serving_default"
METHOD = "tensorflow/serving/predict"
MAX_BYTES = 2**31 - 1  # protobuf's limit for one message
MAX_VERSION = 2**63 - 1  # int64 in TensorFlow Serving (ModelSpec.version)


def tensor_info(
    tensor: str, dtype: tensor_pb2.DataType, shape: Sequence[int | None] | None
) -> TensorInfo:
    """What a signature says of `tensor` (`node:output`); a `shape` of None is an unknown rank."""
    info = TensorInfo(name=tensor, dtype=dtype)
    info.tensor_shape.CopyFrom(shape_proto(shape))
    return info


def make_saved_model(
    graph: GraphDef, *, inputs: Mapping[str, TensorInfo], outputs: Mapping[str, TensorInfo]
) -> SavedModel:
    """The message for one frozen graph; `inputs` and `outputs` go by the names clients use."""
    model = SavedModel(saved_model_schema_version=SCHEMA_VERSION)
    meta_graph = model.meta_graphs.add()
    meta_graph.meta_info_def.tags.append(TAG)
    meta_graph.graph_def.CopyFrom(graph)
    signature = meta_graph.signature_def[SIGNATURE]
    signature.method_name = METHOD
    for name, info in inputs.items():
        signature.inputs[name].CopyFrom(info)
    for name, info in outputs.items():
        signature.outputs[name].CopyFrom(info)
    return model


def serialize(model: SavedModel) -> bytes:
    """The bytes of `saved_model.pb`, the same for the same model; UsageError beyond 2 GiB."""
    size = model.ByteSize()
    if size > MAX_BYTES:
        raise UsageError(
            f"the model takes {size} bytes; a saved_model.pb holds at most {MAX_BYTES}",
            hint="protobuf cannot carry a larger message: use a model with its own variables files",
        )
    return model.SerializeToString(deterministic=True)


def write_saved_model(model: SavedModel, base: Path, version: int = 1) -> Path:
    """Write `base/version/saved_model.pb` and return its path.

    Raises UsageError if the version exists, is not 1 or more, or cannot be written.
    """
    target = require_new_version(base, version)
    data = serialize(model)
    try:
        base.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{version}.", suffix=".part", dir=base))
    except OSError as error:
        raise _unwritable(base, error) from error
    try:
        write_file(folder / FILE_NAME, data)
        folder.rename(target)  # fails where a version with files has appeared meanwhile
        sync_folder(base)
    except OSError as error:
        raise _unwritable(target, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return target / FILE_NAME


def require_new_version(base: Path, version: int) -> Path:
    """The folder of a version that is still free; UsageError otherwise."""
    if not 1 <= version <= MAX_VERSION:
        raise UsageError(f"version {version}: expected 1 to {MAX_VERSION}")
    target = base / str(version)
    if target.exists() or target.is_symlink():
        raise UsageError(
            f"{target} exists and is not overwritten",
            hint="give another --version: servers take the highest, and clients may rely on this",
        )
    return target


def _unwritable(path: Path, error: OSError) -> UsageError:
    return UsageError(f"cannot write {path}: {error.strerror}")
