"""Replicas that follow the load, as the rendered autoscaler has it: CPU, and requests in flight.

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
from cluster_metrics import custom_metrics, metrics
from cluster_site import Site, standing
from real_cluster import Cluster, tell

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(7200)]

QUIET = 15  # seconds in the place of the ten minutes
FOLLOWING = 600.0  # seconds until the autoscaler has acted: it takes one in two minutes away
COUNTED = "counted"  # a service whose autoscaler is told of requests in flight
METRIC = "sealserve_serving_requests_in_flight"
IN_FLIGHT = "max_replicas = 2\nrequests_in_flight = 1"
ROWS = 4000  # of a request, so that several are in flight at any time


def autoscaler(site: Site) -> Any:
    return site.get("horizontalpodautoscaler", f"{site.name}-server")


def wait_until_known(site: Site, kind: str) -> None:
    """Until the autoscaler has a value of that kind of metric."""

    def known() -> bool:
        found = autoscaler(site)["status"].get("currentMetrics") or []
        return kind in [each["type"] for each in found]

    site.cluster.wait(f"the autoscaler knows {kind}", known, seconds=FOLLOWING)
    assert len(pods(site)) == 1


def wait_until_wanted(site: Site, least: int, most: int) -> None:
    def wanted() -> bool:
        return least <= autoscaler(site)["status"].get("desiredReplicas", 0) <= most

    what = f"the autoscaler wants {least} at least, {most} at most"
    site.cluster.wait(what, wanted, seconds=FOLLOWING)


def grows(site: Site) -> None:
    """There is more load: more servers come."""
    began = time.monotonic()
    wait_until_wanted(site, 2, 4)
    site.wait("server", log="kubelet")
    assert len(pods(site)) > 1
    tell("from the load to more servers", began)
    sys.stderr.write(site.kubectl("get", "horizontalpodautoscaler").stdout)


def shrinks(site: Site) -> None:
    """The load is over: one server is left."""
    began = time.monotonic()
    wait_until_wanted(site, 1, 1)
    wait_for_pods(site, 1)
    tell("from the end of the load to one server", began)


def patch(site: Site, seconds: int) -> None:
    changed = {"spec": {"behavior": {"scaleDown": {"stabilizationWindowSeconds": seconds}}}}
    words = ("horizontalpodautoscaler", f"{site.name}-server", "--type=merge")
    site.kubectl("patch", *words, f"--patch={json.dumps(changed)}")


@pytest.fixture
def metered(applied: Site) -> Iterator[Site]:
    """The service, with a metrics API and an autoscaler that soon takes replicas back."""
    behavior = autoscaler(applied)["spec"]["behavior"]["scaleDown"]
    with metrics(applied.cluster):
        patch(applied, QUIET)
        yield applied
        patch(applied, behavior["stabilizationWindowSeconds"])
    applied.kubectl("scale", f"deployment/{applied.name}-server", "--replicas=1")
    applied.wait("server", log="kubelet")


def test_replicas_follow_the_load_and_no_request_fails(metered: Site) -> None:
    lines: list[dict[str, Any]] = []
    busy: list[dict[str, Any]] = []
    wait_until_known(metered, "Resource")
    told = metered.kubectl("top", "pods").stdout
    sys.stderr.write(told)
    assert f"{metered.name}-server" in told
    with steady(metered, lines):
        with steady(metered, busy, pause=0.0):
            grows(metered)
        shrinks(metered)
    report(lines)
    report(busy)
    assert not errors(lines) + errors(busy)


def test_requests_in_flight_alone_bring_more_replicas_and_none_fails(
    node: Cluster, pushed: dict[str, str]
) -> None:
    lines: list[dict[str, Any]] = []
    crowd: list[dict[str, Any]] = []
    site = Site(node, node.space.folder / COUNTED, pushed, service=COUNTED, table=IN_FLIGHT)
    with standing(site), custom_metrics(site):
        wait_until_known(site, "Pods")
        with steady(site, lines):
            with steady(site, crowd, pause=0.0, rows=ROWS):
                grows(site)
            why = [each["message"] for each in site.get("events")["items"]]
            with metrics(site.cluster):  # without it nothing is ever taken away
                patch(site, QUIET)
                shrinks(site)
    report(lines)
    report(crowd)
    assert not errors(lines) + errors(crowd)
    assert any(f"pods metric {METRIC} above target" in each for each in why), why
