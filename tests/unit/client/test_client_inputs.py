from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sealserve.client import Signature, TensorSpec
from sealserve.client.inputs import load_image, load_npy, only_input, parse_json, random_array
from sealserve.errors import UsageError

FLOATS = TensorSpec("DT_FLOAT", (None, 2), np.dtype("float32"))
INTS = TensorSpec("DT_INT64", (None, 2), np.dtype("int64"))
BYTES = TensorSpec("DT_UINT8", (None,), np.dtype("uint8"))
BOOLS = TensorSpec("DT_BOOL", (None,), np.dtype("bool"))
STRINGS = TensorSpec("DT_STRING", (None,), np.dtype("object"))
VARIANT = TensorSpec("DT_VARIANT", (None,), None)
ONE = Signature("tensorflow/serving/predict", {"x": FLOATS}, {})
GREY = TensorSpec("DT_FLOAT", (None, 2, 3, 1), np.dtype("float32"))


def _signature(spec: TensorSpec) -> Signature:
    return Signature("tensorflow/serving/predict", {"x": spec}, {})


def test_an_array_file_gives_its_array(tmp_path: Path) -> None:
    array = np.arange(6, dtype=np.int16).reshape(2, 3)
    np.save(tmp_path / "x.npy", array)
    found = load_npy(tmp_path / "x.npy")
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)


def _npy_that_claims(shape: str) -> bytes:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(64)


def _pickled(path: Path) -> None:
    np.save(path, np.array([{"a": 1}], object), allow_pickle=True)


def _zipped(path: Path) -> None:
    with path.open("wb") as stream:
        np.savez(stream, x=np.ones(2))


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(lambda path: path.write_bytes(b""), id="empty"),
        pytest.param(lambda path: path.write_bytes(b"text"), id="text"),
        pytest.param(lambda path: path.write_bytes(_npy_that_claims("(1 << 40,)")), id="code"),
        pytest.param(lambda path: path.write_bytes(_npy_that_claims(f"({1 << 40},)")), id="huge"),
        pytest.param(_pickled, id="Python objects"),
        pytest.param(_zipped, id="npz"),
        pytest.param(lambda path: None, id="absent"),
    ],
)
def test_whatever_is_no_array_file_is_refused(write: object, tmp_path: Path) -> None:
    write(tmp_path / "x.npy")
    with pytest.raises(UsageError, match=r"x\.npy"):
        load_npy(tmp_path / "x.npy")


def test_a_grey_image_fits_the_input_and_its_range(tmp_path: Path) -> None:
    Image.new("RGB", (30, 20), "white").save(tmp_path / "white.png")
    array = load_image(tmp_path / "white.png", GREY, size=None, full=1.0)
    assert (array.shape, array.dtype) == ((1, 2, 3, 1), np.float32)
    assert np.all(array == 1.0)


def test_a_colour_image_keeps_red_green_and_blue_apart(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4), (255, 0, 51)).save(tmp_path / "pink.png")
    colour = TensorSpec("DT_UINT8", (None, None, None, 3), np.dtype("uint8"))
    array = load_image(tmp_path / "pink.png", colour, size=(2, 2), full=255)
    assert (array.shape, array.dtype) == ((1, 2, 2, 3), np.uint8)
    assert array[0, 0, 0].tolist() == [255, 0, 51]


@pytest.mark.parametrize(
    ("spec", "size"),
    [
        pytest.param(FLOATS, None, id="a matrix"),
        pytest.param(TensorSpec("DT_FLOAT", (None, 2, 2, 4), GREY.dtype), None, id="4 channels"),
        pytest.param(TensorSpec("DT_STRING", (None, 2, 2, 3), STRINGS.dtype), None, id="strings"),
        pytest.param(TensorSpec("DT_FLOAT", (None, None, None, 3), GREY.dtype), None, id="no size"),
    ],
)
def test_an_input_that_takes_no_image_is_a_clear_error(
    spec: TensorSpec, size: tuple[int, int] | None, tmp_path: Path
) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "x.png")
    with pytest.raises(UsageError):
        load_image(tmp_path / "x.png", spec, size=size, full=1.0)


def test_whatever_is_no_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    for name in ("x.png", "absent.png"):
        with pytest.raises(UsageError, match=name):
            load_image(tmp_path / name, GREY, size=None, full=1.0)


def test_random_values_have_the_shape_asked_for_and_are_the_same_every_time() -> None:
    first = random_array((2, 3), np.dtype("float32"))
    assert (first.shape, first.dtype) == ((2, 3), np.float32)
    assert np.array_equal(first, random_array((2, 3), np.dtype("float32")))
    assert first.min() >= 0 and first.max() < 1 and np.unique(first).size == 6
    assert random_array((50,), np.dtype("int8")).max() <= 100


@pytest.mark.parametrize(
    ("shape", "dtype"), [((1 << 40,), "float32"), ((1 << 20, 1 << 20), "uint8"), ((2,), "bool")]
)
def test_random_values_without_bounds_or_sense_are_refused(
    shape: tuple[int, ...], dtype: str
) -> None:
    with pytest.raises(UsageError):
        random_array(shape, np.dtype(dtype))


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"instances": [[1, 2], [3, 4]]}, id="rows"),
        pytest.param({"instances": [{"x": [1, 2]}, {"x": [3, 4]}]}, id="rows of objects"),
        pytest.param({"inputs": [[1, 2], [3, 4]]}, id="one column"),
        pytest.param({"inputs": {"x": [[1, 2], [3, 4]]}}, id="columns"),
    ],
)
def test_json_in_rows_and_in_columns_makes_the_same_array(body: object) -> None:
    found = parse_json(json.dumps(body), ONE)
    assert list(found) == ["x"]
    assert found["x"].dtype == np.float32
    assert found["x"].tolist() == [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize(
    ("spec", "values", "expected"),
    [
        pytest.param(FLOATS, "[1, 2.5]", [1.0, 2.5], id="whole numbers as floats"),
        pytest.param(FLOATS, "[Infinity, -Infinity]", [np.inf, -np.inf], id="infinities"),
        pytest.param(INTS, "[9007199254740993]", [9007199254740993], id="beyond a double"),
        pytest.param(INTS, "[]", [], id="nothing"),
        pytest.param(BOOLS, "[true, false]", [True, False], id="booleans"),
        pytest.param(STRINGS, '["a", "bc"]', ["a", "bc"], id="strings"),
    ],
)
def test_json_values_take_the_dtype_of_the_signature(
    spec: TensorSpec, values: str, expected: list[object]
) -> None:
    found = parse_json(f'{{"inputs": {values}}}', _signature(spec))["x"]
    assert found.dtype == spec.dtype
    assert found.tolist() == expected


@pytest.mark.parametrize(
    ("text", "signature"),
    [
        pytest.param("", ONE, id="empty"),
        pytest.param("[1, 2]", ONE, id="no object"),
        pytest.param("{}", ONE, id="neither form"),
        pytest.param('{"inputs": [1], "instances": [1]}', ONE, id="both forms"),
        pytest.param('{"instances": 1}', ONE, id="rows that are none"),
        pytest.param('{"instances": []}', ONE, id="no rows"),
        pytest.param('{"instances": [{"x": 1}, 2]}', ONE, id="mixed rows"),
        pytest.param('{"instances": [{"x": 1}, {"y": 1}]}', ONE, id="rows of different names"),
        pytest.param('{"inputs": {"y": [1]}}', ONE, id="unknown input"),
        pytest.param('{"inputs": [[1, 2], [3]]}', ONE, id="ragged"),
        pytest.param('{"inputs": ["1"]}', ONE, id="text for numbers"),
        pytest.param('{"inputs": [null]}', ONE, id="null"),
        pytest.param('{"inputs": [true]}', ONE, id="booleans for numbers"),
        pytest.param('{"inputs": [1.5]}', _signature(INTS), id="fractions for integers"),
        pytest.param('{"inputs": [256]}', _signature(BYTES), id="out of range"),
        pytest.param('{"inputs": [-1]}', _signature(BYTES), id="negative for unsigned"),
        pytest.param('{"inputs": [1]}', _signature(STRINGS), id="numbers for strings"),
        pytest.param('{"inputs": [1]}', _signature(VARIANT), id="a dtype without arrays"),
        pytest.param("[" * 100_000, ONE, id="deep"),
    ],
)
def test_json_that_does_not_fit_is_refused(text: str, signature: Signature) -> None:
    with pytest.raises(UsageError):
        parse_json(text, signature)


def test_a_single_value_needs_a_signature_with_a_single_input() -> None:
    several = Signature("predict", {"x": FLOATS, "y": FLOATS}, {})
    assert only_input(ONE) == "x"
    with pytest.raises(UsageError, match=r"\['x', 'y'\]"):
        parse_json('{"inputs": [[1, 2]]}', several)
