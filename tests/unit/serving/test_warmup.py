"""Warm-up: a version's own requests, replayed before it serves; what is wrong with them is told."""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealserve.errors import FormatError, InvalidArgument, SealServeError, Unimplemented
from sealserve.messages.prediction_log_pb2 import PredictionLog
from sealserve.messages.tensors import to_proto
from sealserve.serving.engine import Loaded, VersionFiles
from sealserve.serving.engines.openvino import OpenVinoEngine
from sealserve.serving.formats.records import read_records
from sealserve.serving.formats.table import masked_crc32c
from sealserve.serving.life.servable import Loader
from sealserve.serving.life.warmup import FILE_NAME, WarmUp
from sealserve.serving.opening.vault import Vault

Publish = Callable[..., Path]


def tfrecord(*records: bytes) -> bytes:
    framed = b""
    for record in records:
        length = struct.pack("<Q", len(record))
        framed += length + struct.pack("<I", masked_crc32c(length))
        framed += record + struct.pack("<I", masked_crc32c(record))
    return framed


def predict_log(array: Any = ((1.0, 2.0),), *, signature: str = "", alias: str = "x") -> bytes:
    record = PredictionLog()
    request = record.predict_log.request
    request.model_spec.name = "whatever"
    request.model_spec.signature_name = signature
    request.inputs[alias].CopyFrom(to_proto(np.asarray(array, np.float32)))
    return record.SerializeToString()


def classify_log(signature: str) -> bytes:
    record = PredictionLog()
    record.classify_log.request.model_spec.signature_name = signature
    record.classify_log.request.input.example_list.examples.add()
    return record.SerializeToString()


class Counting:
    """The real engine; counts the rows of every run. `strings` is a signature it does not run."""

    name, concurrency = "counting", 1

    def __init__(self, engine: OpenVinoEngine) -> None:
        self._engine = engine
        self.rows: list[int] = []

    def load(self, files: VersionFiles, tags: Any) -> Loaded:
        loaded = self._engine.load(files, tags)
        rows = self.rows

        class Counted:
            def __init__(self, inner: Any) -> None:
                self.inner, self.signature = inner, inner.signature

            def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
                rows.append(len(inputs["x"]))
                return self.inner.run(inputs)

        counted: dict[str, Any] = {n: Counted(e) for n, e in loaded.executables.items()}
        return Loaded(loaded.definitions, {**counted, "strings": Unimplemented("no strings")})


@pytest.fixture
def counting(engine: OpenVinoEngine) -> Counting:
    return Counting(engine)


@pytest.fixture
def load(counting: Counting, publish: Publish) -> Callable[..., None]:
    """Load a version with this warm-up file."""

    def begin(data: bytes, warm_up: WarmUp | None = None) -> None:
        folder = publish(1) / "1"
        (folder / FILE_NAME).parent.mkdir()
        (folder / FILE_NAME).write_bytes(data)
        Loader(counting, Vault(None), ["serve"], warm_up or WarmUp()).load("m", 1, str(folder))

    return begin


def test_every_record_is_run_before_the_version_is_there(
    load: Callable[..., None], counting: Counting, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    load(tfrecord(predict_log(), predict_log(np.ones((3, 2)), signature="serving_default")))
    assert counting.rows == [1, 3]
    assert "event=warmed_up requests=2 left_out=0" in caplog.text


def test_every_record_is_run_as_often_as_asked(
    load: Callable[..., None], counting: Counting
) -> None:
    load(tfrecord(predict_log(), predict_log(np.ones((3, 2)))), WarmUp(iterations=2))
    assert counting.rows == [1, 1, 3, 3]


def test_what_this_engine_does_not_run_is_left_out_and_told(
    load: Callable[..., None], counting: Counting, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    load(tfrecord(classify_log("strings"), predict_log(), PredictionLog().SerializeToString()))
    assert counting.rows == [1]
    assert "event=warm_up_left_out record=1 kind=classify_log" in caplog.text
    assert "no strings" in caplog.text
    assert "event=warmed_up requests=1 left_out=2" in caplog.text


def test_a_version_without_the_file_is_not_warmed_up(counting: Counting, publish: Publish) -> None:
    folder = publish(1) / "1"
    Loader(counting, Vault(None), ["serve"], WarmUp()).load("m", 1, str(folder))
    assert counting.rows == []


STREAMED = PredictionLog()
STREAMED.predict_streamed_log.request.add()
GOOD = predict_log()
BROKEN: dict[str, tuple[bytes, type[SealServeError], str]] = {
    "wrong-input": (
        tfrecord(GOOD, predict_log(alias="z")),
        InvalidArgument,
        "warm-up record 2 (predict_log): input size does not match signature",
    ),
    "wrong-shape": (
        tfrecord(predict_log([[1, 2, 3]])),
        InvalidArgument,
        "warm-up record 1 (predict_log): input 'x': expected shape [-1,2], found [1,3]",
    ),
    "no-such-signature": (
        tfrecord(predict_log(signature="nothing")),
        InvalidArgument,
        'warm-up record 1 (predict_log): Serving signature key "nothing" not found.',
    ),
    "no-examples-taken": (
        tfrecord(classify_log("")),
        InvalidArgument,
        "warm-up record 1 (classify_log): input size does not match signature",
    ),
    "streamed": (
        tfrecord(STREAMED.SerializeToString()),
        InvalidArgument,
        "warm-up record 1 (predict_streamed_log): Unsupported log_type for warmup",
    ),
    "no-prediction-log": (
        tfrecord(GOOD, b"\xff\xff"),
        FormatError,
        "warm-up record 2 is no PredictionLog",
    ),
    "too-many": (
        tfrecord(*[GOOD] * 1001),
        FormatError,
        "Number of warmup records exceeds the maximum (1000)",
    ),
    "short-head": (
        tfrecord(GOOD) + b"\x01",
        FormatError,
        "warm-up: record 2 of a TFRecord file: it ends within its head",
    ),
    "short-data": (
        tfrecord(GOOD)[:-5],
        FormatError,
        "warm-up: record 1 of a TFRecord file: it ends before its data does",
    ),
    "damaged-length": (
        b"\x00" + tfrecord(GOOD)[1:],
        FormatError,
        "the checksum of its length is wrong",
    ),
    "damaged-data": (
        tfrecord(GOOD)[:-5] + b"\x00" + tfrecord(GOOD)[-4:],
        FormatError,
        "the checksum of its data is wrong",
    ),
    "text": (b"{}" * 20, FormatError, "the checksum of its length is wrong"),
}


@pytest.mark.parametrize(("data", "kind", "text"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_warm_up_fails_the_load_and_says_where(
    load: Callable[..., None], data: bytes, kind: type[SealServeError], text: str
) -> None:
    with pytest.raises(kind) as caught:
        load(data)
    assert text in caught.value.message
    assert caught.value.code == "serving.warm-up"
    assert FILE_NAME not in caught.value.message


@given(st.lists(st.binary(max_size=40), max_size=5))
def test_records_come_out_as_they_went_in(records: list[bytes]) -> None:
    assert list(read_records(tfrecord(*records))) == records


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=3), st.data())
def test_no_damaged_file_is_read_to_its_end(records: list[bytes], data: st.DataObject) -> None:
    framed = bytearray(tfrecord(*records))
    place = data.draw(st.integers(0, len(framed) - 1))
    framed[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(FormatError):
        list(read_records(framed))
