"""A sealing run that is ended half-way leaves nothing that could be taken for its output."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

LARGE = 8 << 30  # a hole, so it takes no room; sealing it would take long
DEADLINE = 60.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "first").write_bytes(b"small")
    with (tmp_path / "plain" / "large").open("wb") as stream:
        stream.truncate(LARGE)
    key = tmp_path / "wrap.key"
    key.write_bytes(bytes(16))
    key.chmod(0o600)
    return tmp_path


def end_half_way(folder: Path, source: str, number: signal.Signals) -> int:
    """Start sealing, wait until it writes the large file, send the signal; the exit code."""
    words = ["seal", "-w", "wrap.key", "-i", source, "-o", "out"]
    process = subprocess.Popen([sys.executable, "-m", "sealserve", *words], cwd=folder)
    try:
        end = time.monotonic() + DEADLINE
        while not any(part.stat().st_size > 1 << 20 for part in parts(folder)):
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.01)
        process.send_signal(number)
        return process.wait(DEADLINE)
    finally:
        process.kill()
        process.wait()


def parts(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*.part") if path.is_file()]


@pytest.mark.parametrize("source", ["plain/large", "plain"], ids=["file", "folder"])
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"]
)
def test_an_interrupted_run_leaves_nothing(
    folder: Path, source: str, number: signal.Signals, code: int
) -> None:
    before = sorted(folder.iterdir())
    assert end_half_way(folder, source, number) == code
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("source", ["plain/large", "plain"], ids=["file", "folder"])
def test_a_killed_run_leaves_no_output(folder: Path, source: str) -> None:
    assert end_half_way(folder, source, signal.SIGKILL) == -signal.SIGKILL
    assert not (folder / "out").exists()
