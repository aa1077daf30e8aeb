"""What `inspect` says of model folders, good, sealed and bad."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from sealserve.errors import FormatError, UsageError
from sealserve.messages.saved_model_pb2 import SavedModel
from sealserve.models.digits import digits_model, export_digits
from sealserve.models.inspect import inspect


def test_a_base_folder_shows_its_versions_lowest_first(tmp_path: Path) -> None:
    for version in (10, 9, 1):
        export_digits(tmp_path, version)
    (tmp_path / "notes").mkdir()
    (tmp_path / ".2.part").mkdir()

    assert [facts.folder.name for facts in inspect(tmp_path)] == ["1", "9", "10"]


def test_a_version_shows_signature_operations_and_digests(tmp_path: Path) -> None:
    path = export_digits(tmp_path)

    (facts,) = inspect(path.parent)

    (graph,) = facts.graphs
    signature = graph.signatures["serving_default"]
    assert graph.tags == ["serve"]
    assert signature.method == "tensorflow/serving/predict"
    assert signature.inputs["input"].dtype == "DT_FLOAT"
    assert signature.inputs["input"].shape == [-1, 8, 8, 1]
    assert signature.outputs["predict"].tensor == "predict:0"
    assert graph.operations["Const"] == 5
    assert graph.variables == 0
    (file,) = facts.files
    data = path.read_bytes()
    assert (file.path, file.size, file.sealed) == ("saved_model.pb", len(data), False)
    assert file.sha256 == hashlib.sha256(data).hexdigest()


def test_variables_and_their_files_are_seen(tmp_path: Path) -> None:
    model = digits_model()
    function = model.meta_graphs[0].graph_def.library.function.add()
    function.node_def.add(name="bias", op="VarHandleOp")
    (tmp_path / "saved_model.pb").write_bytes(model.SerializeToString())
    (facts,) = inspect(tmp_path)
    assert facts.graphs[0].variables == 1
    assert not facts.has_variables_files

    (tmp_path / "variables").mkdir()
    (tmp_path / "variables" / "variables.index").touch()
    (facts,) = inspect(tmp_path)
    assert facts.has_variables_files
    assert [file.path for file in facts.files] == ["saved_model.pb", "variables/variables.index"]


def test_a_sealed_model_is_said_to_be_sealed(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").write_bytes(b"GRAFS_PF" + bytes(4088))

    (facts,) = inspect(tmp_path)

    assert facts.sealed
    assert facts.graphs == []
    assert facts.files[0].sealed
    assert facts.files[0].size == 4096


def no_folder(folder: Path) -> None:
    folder.rmdir()


def empty(folder: Path) -> None:
    pass


def file_instead(folder: Path) -> None:
    folder.rmdir()
    folder.touch()


@pytest.mark.parametrize("make", [no_folder, empty, file_instead], ids=lambda make: make.__name__)
def test_what_is_no_model_folder_is_said(tmp_path: Path, make: object) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    assert callable(make)
    make(folder)

    with pytest.raises(UsageError):
        inspect(folder)


BAD_FILES = {
    "no protobuf": b"\xff\xff\xff",
    "empty": b"",
    "a graph, not a SavedModel": digits_model().meta_graphs[0].graph_def.SerializeToString(),
    "no meta graph": SavedModel(saved_model_schema_version=1).SerializeToString(),
}


@pytest.mark.parametrize("data", BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_file_that_is_no_saved_model_is_rejected_by_name(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "saved_model.pb").write_bytes(data)

    with pytest.raises(FormatError, match=r"saved_model\.pb"):
        inspect(tmp_path)


def test_a_version_without_a_model_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()

    with pytest.raises(FormatError, match=r"has no saved_model\.pb"):
        inspect(tmp_path)


def test_pipes_and_folders_behind_links_are_left_alone(tmp_path: Path) -> None:
    export_digits(tmp_path)
    os.mkfifo(tmp_path / "1" / "pipe")
    (tmp_path / "1" / "elsewhere").symlink_to("/")

    (facts,) = inspect(tmp_path)

    assert [file.path for file in facts.files] == ["saved_model.pb"]
