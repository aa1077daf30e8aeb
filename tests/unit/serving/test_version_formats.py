"""Which format a version is, and ONNX and IR: from memory, under a signature of their own names."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from made_onnx import dense_model
from made_versions import HeldFiles
from sealserve.errors import (
    ConfigError,
    FailedPrecondition,
    FormatError,
    SealServeError,
    Unimplemented,
)
from sealserve.messages import tensor_pb2
from sealserve.serving.capacity import plan
from sealserve.serving.engine import Executable, Precision
from sealserve.serving.engines.openvino import OpenVinoEngine
from sealserve.serving.formats.found import EXPECTED, Format, found_in
from sealserve.serving.formats.onnx import read_onnx

WEIGHTS = np.float32([[1, 2], [3, -4], [5, 6]])
X = np.float32([[1, 0, 2], [0, 1, 0], [1, 1, 1]])


def served(engine: OpenVinoEngine, files: dict[str, bytes]) -> Executable:
    found = engine.load(HeldFiles(files), ["serve"]).executables["serving_default"]
    assert not isinstance(found, Unimplemented)
    return found


@pytest.mark.parametrize(
    ("names", "format_", "name"),
    [
        (["saved_model.pb", "variables/variables.index"], Format.SAVED_MODEL, "saved_model.pb"),
        (["assets.extra/a.xml", "assets.extra/a.bin", "model.onnx"], Format.ONNX, "model.onnx"),
        (["face.bin", "face.xml", "notes.txt"], Format.IR, "face.xml"),
    ],
)
def test_a_version_is_what_its_own_folder_says(
    names: list[str], format_: Format, name: str
) -> None:
    found = found_in(names)
    assert (found.format, found.name) == (format_, name)


@pytest.mark.parametrize(
    ("names", "text"),
    [
        pytest.param([], "expected saved_model.pb.* found no file", id="empty"),
        pytest.param(["model.pbtxt"], "found model.pbtxt", id="unknown"),
        pytest.param(["model.xml"], "found model.xml", id="ir-without-weights"),
        pytest.param(
            ["model.onnx", "saved_model.pb"],
            "more than one model: a SavedModel, an ONNX model.* found model.onnx, saved_model.pb",
            id="two-formats",
        ),
        pytest.param(["a.bin", "a.xml", "b.bin", "b.xml"], "more than one model", id="two-irs"),
        pytest.param([f"{n:02}" for n in range(30)], r"found 00, .*09, \.\.\.$", id="many"),
    ],
)
def test_a_version_of_no_format_or_of_several_is_refused(names: list[str], text: str) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        found_in(names)
    assert re.search(text, f"{caught.value.message} {caught.value.hint}")
    assert not any(name in caught.value.message for name in names if name not in EXPECTED)


def test_an_onnx_model_is_served_by_its_own_names(engine: OpenVinoEngine) -> None:
    executable = served(engine, {"model.onnx": dense_model(WEIGHTS)})
    assert executable.signature.inputs["x"].shape == (None, 3)
    assert executable.signature.outputs["product"].shape == (None, 2)
    outputs = executable.run({"x": X})
    assert outputs.keys() == {"product", "positive"}
    assert np.array_equal(outputs["product"], X @ WEIGHTS)
    assert np.array_equal(outputs["positive"], np.maximum(X @ WEIGHTS, 0))


def test_metadata_has_the_signature_that_is_made_up(engine: OpenVinoEngine) -> None:
    loaded = engine.load(HeldFiles({"model.onnx": dense_model(WEIGHTS)}), ["serve"])
    definition = loaded.definitions.signature_def["serving_default"]
    assert definition.method_name == "tensorflow/serving/predict"
    assert definition.inputs["x"].dtype == tensor_pb2.DT_FLOAT
    assert [dim.size for dim in definition.inputs["x"].tensor_shape.dim] == [-1, 3]


def test_data_elsewhere_are_read_as_all_files_are(engine: OpenVinoEngine) -> None:
    elsewhere = {"location": "model.onnx.data", "offset": "4", "length": "24"}
    files = {
        "model.onnx": dense_model(WEIGHTS, elsewhere=elsewhere),
        "model.onnx.data": b"....%b...." % WEIGHTS.tobytes(),
    }
    assert np.array_equal(served(engine, files).run({"x": X})["product"], X @ WEIGHTS)


@pytest.mark.parametrize(
    ("elsewhere", "text"),
    [
        pytest.param({"location": "/etc/passwd"}, "the version lacks", id="absolute"),
        pytest.param({"location": "../2/weights"}, "the version lacks", id="another-version"),
        pytest.param({"location": "*/_ORT_MEM_ADDR_/*"}, "the version lacks", id="address"),
        pytest.param({}, "the version lacks", id="nowhere"),
        pytest.param({"location": "data", "offset": "-1"}, "no number", id="negative"),
        pytest.param({"location": "data", "offset": "9" * 30}, "no number", id="huge"),
        pytest.param({"location": "data", "length": "25"}, "is shorter", id="too-long"),
        pytest.param({"location": "data", "offset": "99"}, "is shorter", id="behind"),
    ],
)
def test_data_that_are_not_the_versions_are_never_followed(
    elsewhere: dict[str, str], text: str
) -> None:
    model = dense_model(WEIGHTS, elsewhere=elsewhere)
    with pytest.raises(FormatError, match=text):
        read_onnx(HeldFiles({"model.onnx": model, "data": WEIGHTS.tobytes()}))


@pytest.mark.parametrize("data", [b"", b"\xff\xff", b"<net/>"], ids=["empty", "noise", "xml"])
def test_bytes_that_are_no_onnx_model_are_refused(data: bytes, engine: OpenVinoEngine) -> None:
    with pytest.raises(FormatError, match="no ONNX model"):
        engine.load(HeldFiles({"model.onnx": data}), ["serve"])


def ir(folder: Path, *, named: bool = True) -> dict[str, bytes]:
    """An IR of x @ WEIGHTS, and x itself as a second output."""
    import openvino
    from openvino import opset13

    x = opset13.parameter([-1, 3], np.float32, name="x")
    product = opset13.matmul(x, opset13.constant(WEIGHTS), False, False)
    product.set_friendly_name("the_product")
    if named:
        x.output(0).get_tensor().set_names({"input", "other_name"})
        product.output(0).get_tensor().set_names({"product"})
    results = [opset13.result(product), opset13.result(x)]
    results[1].set_friendly_name("echo")
    openvino.save_model(openvino.Model(results, [x], "m"), folder / "m.xml", compress_to_fp16=False)
    return {name: (folder / name).read_bytes() for name in ("m.xml", "m.bin")}


def test_an_ir_is_served_from_memory(engine: OpenVinoEngine, tmp_path: Path) -> None:
    executable = served(engine, ir(tmp_path))
    assert executable.signature.inputs.keys() == {"input"}
    outputs = executable.run({"input": X})
    assert np.array_equal(outputs["product"], X @ WEIGHTS)
    assert np.array_equal(outputs["input"], X)


def test_an_ir_without_names_goes_by_those_of_its_nodes(
    engine: OpenVinoEngine, tmp_path: Path
) -> None:
    executable = served(engine, ir(tmp_path, named=False))
    assert len(executable.signature.outputs) == 2
    (name,) = executable.signature.inputs
    outputs = executable.run({name: X})
    assert any(np.array_equal(value, X @ WEIGHTS) for value in outputs.values())


@pytest.mark.parametrize("graph", [b"", b"nonsense", b"<net></net>", b"/etc/passwd"])
def test_an_ir_that_is_none_is_refused(graph: bytes, engine: OpenVinoEngine) -> None:
    with pytest.raises((FormatError, Unimplemented)):
        engine.load(HeldFiles({"m.xml": graph, "m.bin": b""}), ["serve"])


def test_an_ir_with_too_few_weights_is_refused(engine: OpenVinoEngine, tmp_path: Path) -> None:
    files = ir(tmp_path)
    with pytest.raises((FormatError, Unimplemented)):
        engine.load(HeldFiles({**files, "m.bin": files["m.bin"][:8]}), ["serve"])


SOUND = dense_model(WEIGHTS, elsewhere={"location": "data", "offset": "0"})


@given(
    at=st.lists(st.integers(0, len(SOUND) - 1), min_size=1, max_size=4), byte=st.integers(0, 255)
)
def test_damaged_onnx_is_whole_or_refused(at: list[int], byte: int) -> None:
    damaged = bytearray(SOUND)
    for place in at:
        damaged[place] = byte
    try:
        read_onnx(HeldFiles({"model.onnx": bytes(damaged), "data": WEIGHTS.tobytes()}))
    except SealServeError:
        return


def test_another_precision_is_in_the_name_and_in_the_log_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    engine = OpenVinoEngine(plan(1), Precision.AUTO)
    for _ in range(2):
        executable = served(engine, {"model.onnx": dense_model(WEIGHTS)})
    assert engine.name.endswith(" (auto)")
    assert caplog.text.count("answers differ from float32's") == 1
    assert np.allclose(executable.run({"x": X})["product"], X @ WEIGHTS, rtol=0.02)


@pytest.mark.parametrize("precision", [Precision.BF16, Precision.F16])
def test_a_precision_is_computed_in_or_refused(precision: Precision) -> None:
    try:
        engine = OpenVinoEngine(plan(1), precision)
    except ConfigError as error:
        assert f"does not compute in {precision}" in error.message
        return
    weights = np.random.default_rng(0).standard_normal((256, 32)).astype(np.float32)
    x = np.random.default_rng(1).standard_normal((64, 256)).astype(np.float32)
    found = served(engine, {"model.onnx": dense_model(weights)}).run({"x": x})["product"]
    error = np.abs(found - x @ weights).max()
    assert 1e-4 < error < 1  # less exact than float32, and no nonsense
