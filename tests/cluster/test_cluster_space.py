"""What a killed test run leaves: no process, no network; and the next start removes the rest."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import cluster_space
from cluster_space import controllers, space

pytestmark = [pytest.mark.cluster, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

NAME = "sealserve-left"  # not the name under which the cluster of other tests may run
GONE_SECONDS = 30.0
RUN = """
import sys, time
from pathlib import Path
import cluster_space
from cluster_space import controllers, space
NAME = cluster_space.NAME = sys.argv[2]
with space(Path(sys.argv[1])) as made:
    made.start("sleeper", "sleep", "600")
    made.run("ip", "link", "add", "left0", "type", "bridge")
    inner = controllers()[0] / NAME / "left"
    inner.mkdir()
    (inner / "cgroup.procs").write_text(str(made.process))
    made.run("mount", "-t", "tmpfs", "tmpfs", made.folder / "logs")
    print(made.process, flush=True)
    time.sleep(600)
"""


def test_who_was_killed_leaves_nothing_that_the_next_start_does_not_remove(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_space, "NAME", NAME)
    folder = tmp_path / "space"
    environment = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    command = [sys.executable, "-c", RUN, str(folder), NAME]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as killed:
        assert killed.stdout is not None
        keeper = Path(f"/proc/{int(killed.stdout.readline())}")
        network = (keeper / "ns" / "net").readlink()
        killed.kill()
    deadline = time.monotonic() + GONE_SECONDS
    while keeper.exists():
        assert time.monotonic() < deadline, "the keeper outlives its test run"
        time.sleep(0.05)
    assert network not in {_network(each) for each in Path("/proc").glob("[0-9]*")}
    assert str(folder) not in Path("/proc/mounts").read_text()
    assert any((each / NAME / "left").exists() for each in controllers())
    with space(folder) as again:
        assert not any((each / NAME / "left").exists() for each in controllers())
        assert "left0" not in again.run("ip", "link").stdout
    assert not any((each / NAME).exists() for each in controllers())


def _network(process: Path) -> Path | None:
    try:
        return (process / "ns" / "net").readlink()
    except OSError:
        return None
