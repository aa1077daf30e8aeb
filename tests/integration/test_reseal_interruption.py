"""A resealing run that is killed anywhere leaves each file whole, and is simply run again.

Each file is at any time either the old one, under the old key, or the new one, under the new key.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sealserve.folders import find_tree, seal_tree
from sealserve.resealing import Resealed, reseal_in_place
from sealserve.sealing import open_sealed_under

OLD, NEW = bytes(range(16)), bytes(range(16, 32))
FILES, SIZE = 48, 1 << 20
KILLS = 16
DEADLINE = 60.0
COMMAND = ["reseal", "-w", "old.key", "--new-wrap-key", "new.key", "-i", "models"]


@pytest.fixture
def plain(tmp_path: Path) -> dict[str, bytes]:
    """What is sealed in `models`, under `old.key`."""
    made = random.Random(1)
    content = {f"{number:02}/saved_model.pb": made.randbytes(SIZE) for number in range(FILES)}
    for name, data in content.items():
        (tmp_path / "plain" / name).parent.mkdir(parents=True)
        (tmp_path / "plain" / name).write_bytes(data)
    seal_tree(find_tree(tmp_path / "plain"), tmp_path / "models", OLD, embed_path="models")
    for name, key in (("old.key", OLD), ("new.key", NEW)):
        (tmp_path / name).write_bytes(key)
        (tmp_path / name).chmod(0o600)
    return content


def start(folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "sealserve", *COMMAND], cwd=folder, stderr=subprocess.DEVNULL
    )


def inodes(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_ino for path in (folder / "models").rglob("saved_model.pb")}


def end_after_files(folder: Path, count: int, pause: float, number: signal.Signals) -> int:
    """Start a run, wait until it has replaced `count` files and a moment more; its exit code."""
    before = inodes(folder)
    process = start(folder)
    try:
        end = time.monotonic() + DEADLINE
        while sum(before[path] != inode for path, inode in inodes(folder).items()) < count:
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.001)
        time.sleep(pause)
        process.send_signal(number)
        return process.wait(DEADLINE)
    finally:
        process.kill()
        process.wait()


def under_the_new_key(folder: Path, plain: dict[str, bytes]) -> int:
    """Check that every file opens under one of the keys, whole; how many under the new one."""
    done = 0
    for name, data in plain.items():
        with (folder / "models" / name).open("rb") as stream:
            number, reader = open_sealed_under(stream, [OLD, NEW], expected_path=f"models/{name}")
            assert reader.readall() == data
            done += number
    return done


def finish(folder: Path) -> list[Resealed]:
    return reseal_in_place(find_tree(folder / "models"), OLD, NEW)


def test_a_run_that_is_killed_again_and_again_ends_with_every_file_under_the_new_key(
    tmp_path: Path, plain: dict[str, bytes]
) -> None:
    moments = random.Random(2)
    done = 0
    for _ in range(KILLS):
        code = end_after_files(tmp_path, 1, moments.uniform(0, 0.02), signal.SIGKILL)
        assert code in (-signal.SIGKILL, 0)
        before, done = done, under_the_new_key(tmp_path, plain)
        assert done > before
        if done == FILES:
            break
    left = finish(tmp_path)
    assert sum(each.resealed for each in left) == FILES - done
    assert under_the_new_key(tmp_path, plain) == FILES
    files = {path for path in (tmp_path / "models").rglob("*") if path.is_file()}
    assert files == {tmp_path / "models" / name for name in plain}


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"]
)
def test_an_interrupted_run_leaves_no_half_file(
    tmp_path: Path, plain: dict[str, bytes], number: signal.Signals, code: int
) -> None:
    assert end_after_files(tmp_path, 2, 0, number) == code
    done = under_the_new_key(tmp_path, plain)
    assert 2 <= done < FILES
    assert sum(each.resealed for each in finish(tmp_path)) == FILES - done


def test_readers_that_open_while_files_are_replaced_always_find_whole_ones(
    tmp_path: Path, plain: dict[str, bytes]
) -> None:
    process = start(tmp_path)
    try:
        while process.poll() is None:
            under_the_new_key(tmp_path, plain)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert under_the_new_key(tmp_path, plain) == FILES
