"""SavedModels on disk: whole versions, for their owner alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from sealserve.errors import UsageError
from sealserve.messages import tensor_pb2
from sealserve.messages.saved_model_pb2 import SavedModel
from sealserve.models.graph import GraphBuilder
from sealserve.models.saved_model import make_saved_model, tensor_info, write_saved_model


def small_model() -> SavedModel:
    builder = GraphBuilder()
    builder.relu("y", builder.placeholder("x", [None, 2]))
    info = {name: tensor_info(f"{name}:0", tensor_pb2.DT_FLOAT, [None, 2]) for name in ("x", "y")}
    return make_saved_model(builder.graph, inputs={"x": info["x"]}, outputs={"y": info["y"]})


def test_a_version_is_written_as_tensorflow_serving_expects_it(tmp_path: Path) -> None:
    path = write_saved_model(small_model(), tmp_path / "new" / "base", version=7)

    assert path == tmp_path / "new/base/7/saved_model.pb"
    model = SavedModel.FromString(path.read_bytes())
    assert model.saved_model_schema_version == 1
    (meta_graph,) = model.meta_graphs
    assert list(meta_graph.meta_info_def.tags) == ["serve"]
    signature = meta_graph.signature_def["serving_default"]
    assert signature.method_name == "tensorflow/serving/predict"
    assert signature.inputs["x"].name == "x:0"
    assert [dim.size for dim in signature.outputs["y"].tensor_shape.dim] == [-1, 2]


def test_a_model_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    path = write_saved_model(small_model(), tmp_path)

    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("version", [0, -1, 2**63], ids=["zero", "negative", "beyond int64"])
def test_a_version_that_no_server_could_serve_is_refused(tmp_path: Path, version: int) -> None:
    with pytest.raises(UsageError, match="expected 1 to"):
        write_saved_model(small_model(), tmp_path, version)
    assert list(tmp_path.iterdir()) == []


def test_a_base_that_cannot_be_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(UsageError, match="cannot write"):
        write_saved_model(small_model(), tmp_path / "file")


def test_a_write_that_fails_leaves_no_version_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sealserve.models.saved_model.write_file", full_disk)

    with pytest.raises(UsageError, match="No space left"):
        write_saved_model(small_model(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_graph_has_each_name_once_and_only_operands_that_exist() -> None:
    builder = GraphBuilder()
    builder.placeholder("x", [1])

    with pytest.raises(UsageError, match="two nodes named 'x'"):
        builder.relu("x", "x")
    with pytest.raises(UsageError, match="takes 'y', which is not in the graph"):
        builder.relu("z", "y")
