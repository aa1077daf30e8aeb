"""A sealing run that is ended half-way leaves nothing that could be taken for its output.

Its output may have no name until it is whole, so progress is seen in what the process has open.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
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
        while not half_way(process.pid, folder):
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.01)
        process.send_signal(number)
        return process.wait(DEADLINE)
    finally:
        process.kill()
        process.wait()


def half_way(pid: int, folder: Path) -> bool:
    """Whether the process has a file of some size open in the folder that is no input."""
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            name = str(descriptor.readlink())
            written = name.startswith(f"{folder}/") and not name.startswith(f"{folder}/plain/")
            if written and descriptor.stat().st_size > 1 << 20:
                return True
    return False


@pytest.mark.parametrize("source", ["plain/large", "plain"], ids=["file", "folder"])
@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)],
    ids=["SIGTERM", "SIGINT", "SIGHUP"],
)
def test_an_interrupted_run_leaves_nothing(
    folder: Path, source: str, number: signal.Signals, code: int
) -> None:
    before = sorted(folder.iterdir())
    assert end_half_way(folder, source, number) == code
    assert sorted(folder.iterdir()) == before


def test_a_killed_run_leaves_no_file(folder: Path) -> None:
    try:
        os.close(os.open(folder, os.O_RDWR | os.O_TMPFILE))
    except OSError as error:
        pytest.skip(f"O_TMPFILE in {folder}: {error.strerror}")
    before = sorted(folder.iterdir())
    assert end_half_way(folder, "plain/large", signal.SIGKILL) == -signal.SIGKILL
    assert sorted(folder.iterdir()) == before


def test_a_killed_run_leaves_no_folder_that_looks_whole(folder: Path) -> None:
    before = sorted(folder.iterdir())
    assert end_half_way(folder, "plain", signal.SIGKILL) == -signal.SIGKILL
    (left,) = set(folder.iterdir()) - set(before)
    assert left.name.startswith(".out.")
    assert left.suffix == ".part"
