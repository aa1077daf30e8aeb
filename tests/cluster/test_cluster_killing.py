"""Servers that are killed, one each ten seconds for three minutes, while clients ask all the time.

A kill is SIGKILL to every process of a pod, with nothing said to Kubernetes before; then the pod is
taken away at once, so that its successor does not wait out the back-off of a container that ends.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import pytest

from cluster_load import STOCK, errors, report, steady, wait_for_pods
from cluster_site import NAME, Site, ask
from real_cluster import tell

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(7200)]

REPLICAS = 4
SECONDS = 180.0
EVERY = 10.0
SERVER = f"deployment/{NAME}-server"


def test_killing_a_server_each_ten_seconds_fails_no_request_of_our_client(applied: Site) -> None:
    lines: list[dict[str, Any]] = []
    applied.kubectl("scale", SERVER, f"--replicas={REPLICAS}")
    applied.wait("server", log="kubelet")
    killed: Counter[bool] = Counter()
    with steady(applied, lines):
        began = time.monotonic()
        while time.monotonic() < began + SECONDS:
            turn = time.monotonic()
            killed[kill_the_oldest(applied)] += 1
            time.sleep(max(0.0, turn + EVERY - time.monotonic()))
        applied.wait("server", log="kubelet")
    tell(
        f"servers killed: {killed[True]}; turns without two that were ready: {killed[False]}", began
    )
    report(lines)
    assert killed[True] >= SECONDS / EVERY / 2
    assert not errors(lines, "ours")
    assert len(errors(lines, "stock")) <= STOCK * killed[True]
    applied.kubectl("scale", SERVER, "--replicas=1")
    wait_for_pods(applied, 1)


@pytest.mark.parametrize("component", ["keyservice", "server", "edge"])
def test_a_pod_whose_sandbox_is_lost_comes_back_by_itself(component: str, applied: Site) -> None:
    selected = f"--selector=app.kubernetes.io/component={component}"
    pod = applied.get("pods", selected)["items"][0]
    kill(applied, pod)

    def back() -> bool:
        (found,) = (
            each
            for each in applied.get("pods", selected)["items"]
            if each["metadata"]["uid"] == pod["metadata"]["uid"]
        )
        restarts = sum(each["restartCount"] for each in found["status"]["containerStatuses"])
        return serves(found) and restarts > 0

    applied.cluster.wait(f"{component} is back in another sandbox", back, log="kubelet")
    ask(applied)


def kill_the_oldest(site: Site) -> bool:
    """Kill the server that has been ready for longest; not the last one, which nobody replaces."""
    selected = "--selector=app.kubernetes.io/component=server"
    found = [each for each in site.get("pods", selected)["items"] if serves(each)]
    if len(found) < 2:
        return False
    victim = min(found, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))
    kill(site, victim)
    name = victim["metadata"]["name"]
    site.kubectl("delete", "pod", name, "--force", "--grace-period=0", "--wait=false")
    return True


def kill(site: Site, pod: dict[str, Any]) -> None:
    """Every process of a pod, its sandbox's too."""
    site.cluster.space.run("sh", "-c", KILL.format(uid=pod["metadata"]["uid"]))


KILL = """
for each in $(grep -ls {uid} /proc/[0-9]*/cgroup | cut -d/ -f3); do
  kill -9 $each 2>/dev/null || true
done
"""


def serves(pod: dict[str, Any]) -> bool:
    status = pod["status"].get("containerStatuses", [])
    ready = bool(status) and all(each["ready"] for each in status)
    return ready and "deletionTimestamp" not in pod["metadata"]
