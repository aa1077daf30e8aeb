"""The digit classifier: what it reaches in the engine, and that its data is what it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino
import pytest

from sealserve.errors import UsageError
from sealserve.models.digits import digits_model, export_digits, held_out
from sealserve.models.saved_model import serialize


def test_the_exported_model_reads_at_least_97_percent_of_the_held_out_digits(
    tmp_path: Path,
) -> None:
    path = export_digits(tmp_path / "digits")
    images, labels = held_out()

    predict = openvino.Core().compile_model(path.parent, "CPU")
    probabilities = predict({"input": images})["predict"]

    assert path == tmp_path / "digits" / "1" / "saved_model.pb"
    assert probabilities.shape == (300, 10)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert (probabilities.argmax(axis=1) == labels).sum() >= 291


def test_the_held_out_images_are_30_of_each_digit_scaled_from_0_to_1() -> None:
    images, labels = held_out()

    assert images.shape == (300, 8, 8, 1)
    assert images.dtype == np.float32
    assert labels.dtype == np.int64
    assert (images.min(), images.max()) == (0, 1)
    assert set(np.unique(images * 16)) == set(range(17))
    assert np.bincount(labels).tolist() == [30] * 10
    assert len(np.unique(images.reshape(300, -1), axis=0)) == 300


def test_two_exports_have_the_same_bytes() -> None:
    assert serialize(digits_model()) == serialize(digits_model())


def test_an_existing_version_is_never_overwritten(tmp_path: Path) -> None:
    path = export_digits(tmp_path)
    path.write_bytes(b"what was there")

    with pytest.raises(UsageError, match="exists and is not overwritten"):
        export_digits(tmp_path)

    assert path.read_bytes() == b"what was there"
    assert export_digits(tmp_path, version=2).parent.name == "2"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["1", "2"]
