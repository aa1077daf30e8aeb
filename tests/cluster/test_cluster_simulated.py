"""The small end of the simulated fleets: real pods that start together, beside as many simulated.

A pod is recorded by its conditions, which have whole seconds, and by its server's log.
"""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cluster_load import pods, wait_for_pods
from cluster_site import NAME, Site

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(7200)]

SERVER = f"deployment/{NAME}-server"
FACTOR = 3.0  # between what is measured and what is simulated; machines of tests are no benches


def test_a_fleet_of_three_takes_about_as_long_as_it_is_simulated_to(
    applied: Site, tmp_path: Path
) -> None:
    alone = scaled(applied, 2)[0]
    applied.kubectl("scale", SERVER, "--replicas=1")
    wait_for_pods(applied, 1)
    together = scaled(applied, 4)
    cpus = float(len(os.sched_getaffinity(0)))
    recording = tmp_path / "recording.json"
    recording.write_text(json.dumps({"node_cpus": cpus, "alone": alone, "pods": together}))
    said = applied.do("lab", "simulate", "--recording", str(recording), folder=tmp_path)
    sys.stderr.write(said)
    compared = applied.do(
        "lab", "simulate", "--recording", str(recording), "--json", folder=tmp_path
    )
    assert 1 / FACTOR < json.loads(compared)["ratio"] < FACTOR
    applied.kubectl("scale", SERVER, "--replicas=1")
    wait_for_pods(applied, 1)


def scaled(site: Site, replicas: int) -> list[dict[str, Any]]:
    """The pods that came when so many were asked for, in seconds since then."""
    before = pods(site)
    asked = time.time()
    site.kubectl("scale", SERVER, f"--replicas={replicas}")
    site.wait("server", log="kubelet")
    return [recorded(site, name, asked) for name in sorted(pods(site) - before)]


def recorded(site: Site, name: str, asked: float) -> dict[str, Any]:
    pod = site.get("pod", name)["status"]
    reached = {each["type"]: moment(each["lastTransitionTime"]) for each in pod["conditions"]}
    (server,) = pod["containerStatuses"]
    told = site.kubectl("logs", name, "--container=server").stdout.splitlines()
    events = {
        each["event"]: each for line in told if line[:1] == "{" for each in [json.loads(line)]
    }
    released = moment(events["key_received"]["time"])
    points = {
        "scheduled": reached["PodScheduled"],
        "started": moment(server["state"]["running"]["startedAt"]),
        "key_asked": released - events["started"]["key"],
        "key_released": released,
        "listening": moment(events["started"]["time"]),
        "ready": reached["Ready"],
    }
    return {"pod": name, **{point: max(0.0, at - asked) for point, at in points.items()}}


def moment(text: str) -> float:
    return datetime.fromisoformat(text).astimezone(UTC).timestamp()
