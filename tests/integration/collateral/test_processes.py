"""Several processes over one cache folder and one service: one fetch, whoever dies."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sealserve.collateral.disk import CacheFolder
from sealserve.collateral.key import CollateralKey
from sealserve.lab.authorities import FMSPC
from sealserve.verifier import load_trust_root

KEY = CollateralKey("SGX", FMSPC, "platform", "standard")
PATHS = ["tcb", "qe/identity", "pckcrl", "rootcacrl"]
PROGRAM = """
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from sealserve.collateral.disk import CacheFolder
from sealserve.collateral.key import CollateralKey
from sealserve.collateral.shared import SharedCollateral
from sealserve.collateral.source import CollateralService
from sealserve.errors import SealServeError
from sealserve.verifier import load_trust_root

url, root_file, folder_path, key_name = sys.argv[1:]
root = load_trust_root(Path(root_file).read_bytes())
folder = CacheFolder(Path(folder_path), root.sha256)
folder.make()
shared = SharedCollateral(CollateralService(url), root, folder, max_age=timedelta(hours=1))
print("ready", flush=True)
sys.stdin.readline()
try:
    held = shared.obtain(CollateralKey.parse(key_name).platform, datetime.now(UTC))
except SealServeError as error:
    print(error.code)
else:
    print(held.verified.tcb_info.evaluation_data_number)
"""


@pytest.fixture
def start(tmp_path, world, pccs):
    """A process that asks for collateral once it reads a line; it ends with the test."""
    (tmp_path / "root_ca.pem").write_bytes(world.root_ca_pem)
    started = []

    def start():
        arguments = [pccs.url, tmp_path / "root_ca.pem", tmp_path / "cache", KEY.name]
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *map(str, arguments)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    pccs.released.set()
    for process in started:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def go(process):
    process.stdin.write("\n")
    process.stdin.flush()


def test_many_processes_that_want_the_same_at_once_make_one_fetch(start, pccs):
    processes = [start() for _ in range(3)]
    for process in processes:
        go(process)
    assert [process.stdout.readline() for process in processes] == ["17\n"] * 3
    assert sorted(pccs.asked) == sorted(PATHS)


def test_many_processes_that_meet_an_outage_hear_of_one_failure(start, pccs):
    pccs.spoil_only("tcb", lambda answer: type(answer)(status=404))
    processes = [start() for _ in range(3)]
    for process in processes:
        go(process)
    assert [process.stdout.readline() for process in processes] == ["collateral\n"] * 3
    assert pccs.asked == ["tcb"]


def test_the_death_of_the_one_that_fetches_lets_the_next_one_fetch(start, pccs, tmp_path, world):
    pccs.spoil_only("pckcrl", lambda answer: None)
    first, second = start(), start()
    go(first)
    while "pckcrl" not in pccs.asked:  # it is in the middle of its fetch, and holds the lock
        assert first.poll() is None
    go(second)
    pccs.behave()
    first.kill()
    assert second.stdout.readline() == "17\n"
    root = load_trust_root(world.root_ca_pem)
    assert CacheFolder(tmp_path / "cache", root.sha256).read(KEY) is not None
