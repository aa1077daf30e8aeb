"""What is served of a SavedModel: its meta graph by tags, its signatures as far as they run."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from made_versions import add_restoring, bundle
from sealserve.errors import FailedPrecondition, FormatError, IntegrityError, Unimplemented
from sealserve.messages import tensor_pb2
from sealserve.messages.saved_model_pb2 import SavedModel
from sealserve.sealing import ModelRecord, RecordedFile, seal
from sealserve.serving.capacity import Capacity
from sealserve.serving.engine import Loaded
from sealserve.serving.engines.openvino import OpenVinoEngine
from sealserve.serving.formats.saved_model import parse_saved_model
from sealserve.serving.life.servable import Loader
from sealserve.serving.opening.keys import WrapKey
from sealserve.serving.opening.vault import Vault

FLOAT, STRING = tensor_pb2.DT_FLOAT, tensor_pb2.DT_STRING
New = Callable[..., Any]


@pytest.fixture
def model(new_graph: New, new_signature: New, new_model: New) -> SavedModel:
    graph = new_graph()
    graph.placeholder("x", (None,))
    graph.placeholder("text", (None,), STRING)
    graph.op("y", "Relu", "x")
    graph.op("same", "Identity", "text", data_type=STRING)
    model: SavedModel = new_model(
        graph.proto,
        serving_default=new_signature({"x": ("x:0", FLOAT, (None,))}, {"y": ("y:0", FLOAT, None)}),
        texts=new_signature({"t": ("text:0", STRING, (None,))}, {"u": ("same:0", STRING, None)}),
        __saved_model_init_op=new_signature({}, {"__saved_model_init_op": ("", 0, None)}),
    )
    return model


def load(model: SavedModel, engine: OpenVinoEngine, folder: Path, *tags: str) -> Any:
    (folder / "saved_model.pb").write_bytes(model.SerializeToString())
    return Loader(engine, Vault(None), tags or ["serve"]).load("m", 3, str(folder))


def test_a_signature_that_cannot_run_does_not_keep_the_others_from_it(
    model: SavedModel, engine: OpenVinoEngine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    servable = load(model, engine, tmp_path)
    assert servable.executable("").signature.name == "serving_default"
    with pytest.raises(Unimplemented, match="DT_STRING"):
        servable.executable("texts")
    with pytest.raises(FailedPrecondition, match='Serving signature key "other" not found'):
        servable.executable("other")
    assert set(servable.definitions.signature_def) == {"serving_default", "texts"}
    assert "signature_not_served model=m version=3 reason=\"tensor 't' is DT_STRING" in caplog.text


def test_the_log_says_what_to_do_about_a_signature_that_is_not_served(
    model: SavedModel, engine: OpenVinoEngine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Advising(OpenVinoEngine):
        def load(self, files: Any, tags: Any) -> Loaded:
            loaded = super().load(files, tags)
            refused = Unimplemented("it lacks something", hint="take another engine")
            return Loaded(loaded.definitions, {**loaded.executables, "texts": refused})

    advising = Advising(Capacity(streams=1, threads=1))
    load(model, advising, tmp_path)
    assert 'reason="it lacks something" hint="take another engine"' in caplog.text


def test_a_model_of_which_nothing_can_run_is_refused(
    model: SavedModel, engine: OpenVinoEngine, tmp_path: Path
) -> None:
    del model.meta_graphs[0].signature_def["serving_default"]
    with pytest.raises(Unimplemented, match="DT_STRING"):
        load(model, engine, tmp_path)


def test_tags_choose_the_meta_graph_whose_set_they_are(model: SavedModel) -> None:
    other = model.meta_graphs.add()
    other.CopyFrom(model.meta_graphs[0])
    other.meta_info_def.tags.append("gpu")
    del other.signature_def["texts"]
    data = model.SerializeToString()
    assert "texts" in parse_saved_model(data, ["serve"]).signatures
    assert "texts" not in parse_saved_model(data, ["gpu", "serve"]).signatures
    with pytest.raises(FailedPrecondition, match=r"supplied tags: \['tpu'\]; found"):
        parse_saved_model(data, ["tpu"])


def test_bytes_that_are_no_saved_model_are_refused() -> None:
    with pytest.raises(FormatError, match="no SavedModel"):
        parse_saved_model(b"\xff\xff", ["serve"])


def test_a_model_without_signatures_is_refused(model: SavedModel) -> None:
    model.meta_graphs[0].signature_def.clear()
    with pytest.raises(FailedPrecondition, match="no signature"):
        parse_saved_model(model.SerializeToString(), ["serve"])


def test_a_version_is_loaded_as_it_was_recorded_or_not_at_all(
    model: SavedModel, engine: OpenVinoEngine, tmp_path: Path
) -> None:
    data = model.SerializeToString(deterministic=True)
    recorded = RecordedFile("1/saved_model.pb", len(data), hashlib.sha256(data).digest())
    record = ModelRecord("m", None, (recorded,))
    for version in ("1", "2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "saved_model.pb").write_bytes(data)
    loader = Loader(engine, Vault(None, record=record, record_root=str(tmp_path)), ["serve"])
    assert loader.load("m", 1, f"{tmp_path}/1").version == 1
    with pytest.raises(IntegrityError, match=r"2/saved_model\.pb: the record does not name it"):
        loader.load("m", 2, f"{tmp_path}/2")
    (tmp_path / "1/saved_model.pb").write_bytes(data + data)
    with pytest.raises(IntegrityError, match=r"1/saved_model\.pb: its plaintext is not"):
        loader.load("m", 1, f"{tmp_path}/1")


def variables_model(new_graph: New, new_signature: New, new_model: New) -> dict[str, bytes]:
    """The files of y = x * w, with w = [2, 3] in a bundle."""
    graph = new_graph()
    graph.placeholder("x", (None, 2))
    graph.proto.node.add(name="w", op="VarHandleOp").attr["dtype"].type = FLOAT
    graph.proto.node.add(name="read", op="ReadVariableOp", input=["w"])
    graph.op("y", "Mul", "x", "read")
    restore = add_restoring(graph.proto, {"w": "w"})
    tensors = {"x": ("x:0", FLOAT, (None, 2))}, {"y": ("y:0", FLOAT, None)}
    model = new_model(graph.proto, serving_default=new_signature(*tensors))
    model.meta_graphs[0].saver_def.restore_op_name = restore
    values = bundle({"w": np.float32([2, 3])})
    return {"saved_model.pb": model.SerializeToString(), **values}


def test_variables_are_sealed_files_as_all_others(
    new_graph: New, new_signature: New, new_model: New, engine: OpenVinoEngine, tmp_path: Path
) -> None:
    key = bytes(range(16))
    for name, data in variables_model(new_graph, new_signature, new_model).items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        with path.open("w+b") as sink:
            seal(io.BytesIO(data), sink, key, path=str(path))
    loader = Loader(engine, Vault([WrapKey(key)]), ["serve"])
    outputs = loader.load("m", 1, str(tmp_path)).executable("").run({"x": np.float32([[1, 1]])})
    assert outputs["y"].tolist() == [[2, 3]]
    shard = tmp_path / "variables/variables.data-00000-of-00001"
    shard.write_bytes(np.float32([9, 9]).tobytes())
    with pytest.raises(IntegrityError, match="00000-of-00001"):
        loader.load("m", 1, str(tmp_path))
