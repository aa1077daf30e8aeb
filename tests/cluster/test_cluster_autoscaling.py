"""Replicas that follow the load, as the rendered autoscaler has it, with a metrics API to ask.

Only the ten quiet minutes before a replica goes are made seconds.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from cluster_load import errors, pods, report, steady, wait_for_pods
from cluster_metrics import metrics
from cluster_site import NAME, Site
from real_cluster import tell

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(7200)]

SERVER = f"{NAME}-server"
QUIET = 15  # seconds in the place of the ten minutes
FOLLOWING = 600.0  # seconds until the autoscaler has acted: it takes one in two minutes away


@pytest.fixture(scope="module")
def metered(applied: Site) -> Iterator[Site]:
    """The service, with a metrics API and an autoscaler that soon takes replicas back."""
    behavior = autoscaler(applied)["spec"]["behavior"]["scaleDown"]
    with metrics(applied.cluster):
        patch(applied, QUIET)
        yield applied
        patch(applied, behavior["stabilizationWindowSeconds"])
    applied.kubectl("scale", f"deployment/{SERVER}", "--replicas=1")
    applied.wait("server", log="kubelet")


def autoscaler(site: Site) -> Any:
    return site.get("horizontalpodautoscaler", SERVER)


def patch(site: Site, seconds: int) -> None:
    changed = {"spec": {"behavior": {"scaleDown": {"stabilizationWindowSeconds": seconds}}}}
    words = ("horizontalpodautoscaler", SERVER, "--type=merge")
    site.kubectl("patch", *words, f"--patch={json.dumps(changed)}")


def test_kubectl_top_says_what_servers_use(metered: Site) -> None:
    def told() -> str:
        return metered.kubectl("top", "pods", check=False).stdout

    metered.cluster.wait("kubectl top knows the server", lambda: SERVER in told())
    sys.stderr.write(told())


def test_replicas_follow_the_load_and_no_request_fails(metered: Site) -> None:
    lines: list[dict[str, Any]] = []
    busy: list[dict[str, Any]] = []

    def wanted() -> int:
        return int(autoscaler(metered)["status"].get("desiredReplicas", 0))

    def active() -> bool:
        conditions = autoscaler(metered)["status"].get("conditions", [])
        return ("ScalingActive", "True") in {(each["type"], each["status"]) for each in conditions}

    metered.cluster.wait("the autoscaler knows the load", active, seconds=FOLLOWING)
    assert wanted() == len(pods(metered)) == 1
    with steady(metered, lines):
        began = time.monotonic()
        with steady(metered, busy, pause=0.0):
            metered.cluster.wait(
                "under load the autoscaler wants more", lambda: wanted() > 1, seconds=FOLLOWING
            )
            metered.wait("server", log="kubelet")
            assert len(pods(metered)) > 1
        tell("from the load to more servers", began)
        sys.stderr.write(metered.kubectl("get", "horizontalpodautoscaler").stdout)
        began = time.monotonic()
        metered.cluster.wait(
            "after it the autoscaler wants one", lambda: wanted() == 1, seconds=FOLLOWING
        )
        wait_for_pods(metered, 1)
        tell("from the end of the load to one server", began)
    report(lines)
    report(busy)
    assert not errors(lines) + errors(busy)
