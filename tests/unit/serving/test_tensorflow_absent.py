"""What can be told of TensorFlow's engine without importing TensorFlow."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sealserve.errors import UsageError
from sealserve.serving.engine import Precision
from sealserve.serving.engines.tensorflow import PRECISIONS, has_bfloat16, require_tensorflow


@pytest.mark.parametrize(
    ("flags", "found"),
    [
        ("fpu avx2", False),
        ("fpu avx2 avx512f avx512_bf16", True),
        ("fpu avx_ne_convert", True),
        ("fpu avx512fp16", False),
    ],
)
def test_bfloat16_is_in_what_the_processor_says(flags: str, found: bool) -> None:
    assert has_bfloat16(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t: spectre_v1\n") is found


@pytest.mark.parametrize("precision", [p for p in Precision if p not in PRECISIONS])
def test_other_precisions_are_refused_installed_or_not(precision: Precision) -> None:
    with pytest.raises(UsageError, match=f"computes in f32 or bf16, not in {precision}"):
        require_tensorflow(precision)


def test_a_missing_package_is_told_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(UsageError, match="which is not installed") as caught:
        require_tensorflow(Precision.F32)
    assert caught.value.hint == "pip install 'sealserve[tensorflow]'"


def test_nothing_but_the_engine_itself_imports_tensorflow() -> None:
    script = "import sys, sealserve.serving.server, sealserve.serving.engines.tensorflow; "
    script += "print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "False"
