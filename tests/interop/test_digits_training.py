"""The shipped digit classifier is what its script makes of scikit-learn's digits, byte for byte."""

from __future__ import annotations

import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

pytestmark = pytest.mark.interop

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "train_digits.py"


def test_training_again_gives_the_shipped_bytes_and_the_accuracy_in_the_docs(
    tmp_path: Path,
) -> None:
    pytest.importorskip("sklearn", reason="needs the package scikit-learn")

    done = subprocess.run(
        [sys.executable, SCRIPT, "--out", tmp_path],
        check=True,
        capture_output=True,
        text=True,
        timeout=100,
    )

    shipped = resources.files("sealserve.models") / "data"
    for name in ("digits.json", "digits_held_out.txt"):
        assert (tmp_path / name).read_bytes() == (shipped / name).read_bytes()
    docs = (SCRIPT.parents[1] / "docs" / "models.md").read_text("utf-8")
    assert done.stdout in docs
