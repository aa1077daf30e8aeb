"""How a service in a cluster stands, from what was seen of it: recorded on a real one."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from sealserve.deploy.kubernetes.live.seen import Seen
from sealserve.deploy.kubernetes.live.status.rows import (
    UNKNOWN,
    Attested,
    ModelState,
    PodStatus,
    Status,
)
from sealserve.deploy.kubernetes.live.status.statuses import status_of
from seen_recordings import failing, seen

ACCEPTED = "79829f4a46699d9be08e2976ee20997bd5808b67edfc862be1782afdc5fec136"


def server(found: Seen) -> PodStatus:
    """The row of the server that is not ready, or of the one there is."""
    rows = [each for each in status_of(found, None).pods if each.component == "server"]
    return next((each for each in rows if not each.ready), rows[0])


def test_a_service_that_serves_is_told_as_it_is() -> None:
    found = status_of(seen("healthy"), None)
    assert found.ready
    assert found.simulated
    assert [(each.component, each.wanted, each.ready) for each in found.replicas] == [
        ("server", 1, 1),
        ("edge", 2, 2),
        ("keyservice", 1, 1),
    ]
    (row, *others) = found.pods
    assert (row.component, row.phase, row.restarts, row.node, row.image_tag) == (
        "server",
        "Running",
        0,
        "node-1",
        "test",
    )
    assert row.attested == Attested("released", "", ACCEPTED, "UpToDate")
    assert row.models is None
    assert row.age_seconds > 0
    assert {each.attested for each in others} == {None}


def test_the_autoscaler_is_told_by_its_bounds_and_what_it_does_not_know() -> None:
    scaler = status_of(seen("healthy"), None).autoscaler
    assert scaler is not None
    assert (scaler.minimum, scaler.maximum, scaler.replicas) == (1, 4, 1)
    assert (scaler.current, scaler.target) == (None, 70)


# What was broken, how the server's attestation stands, and what kubectl would call its phase.
STATES = {
    "denied": ("denied", "policy.measurement", "Running"),
    "platform": ("denied", "policy.revoked", "Running"),
    "port": ("asking", "", "Running"),
    "name": ("asking", "", "Running"),
    "certificate": ("asking", "", "CrashLoopBackOff"),
    "tampered": ("released", "", "Running"),
    "cpu": ("waiting", "", "Pending"),
    "secret": ("waiting", "", "Pending"),
    "image": ("waiting", "", "ImagePullBackOff"),
}


@pytest.mark.parametrize("name", STATES)
def test_the_state_of_attestation_is_told(name: str) -> None:
    state, code, phase = STATES[name]
    row = server(seen(name))
    assert row.attested is not None
    assert (row.attested.state, row.attested.code, row.phase) == (state, code, phase)
    assert not status_of(seen(name), None).ready


def test_what_was_denied_is_told_with_what_it_measured() -> None:
    attested = server(seen("denied")).attested
    assert attested is not None
    assert attested.measurement.startswith("742b81d9")
    assert attested.tcb_status == "UpToDate"


def test_what_a_server_of_others_does_not_tell_is_unknown() -> None:
    found = replace(seen("healthy"), decisions=None, logs={})
    assert server(found).attested == Attested(UNKNOWN)


def test_models_are_those_that_each_server_told() -> None:
    found = seen("healthy")
    name = found.pods("server")[0]["metadata"]["name"]
    told = [ModelState("digits", 2, "AVAILABLE"), ModelState("digits", 1, "END")]
    rows = {each.pod: each.models for each in status_of(found, {name: told}).pods}
    assert rows.pop(name) == tuple(told)
    assert set(rows.values()) == {None}


def _edge(**specification: Any) -> Status:
    found = seen("healthy")
    objects = copy.deepcopy(list(found.objects))
    for each in objects:
        if (each["kind"], each["metadata"]["name"]) == ("Service", "digits-simulated-edge"):
            status = specification.pop("status", {})
            each["spec"] |= specification
            each["status"] = status
    return status_of(replace(found, objects=objects), None)


def test_the_edge_is_told_where_clients_reach_it() -> None:
    ports = [{"port": 8500, "nodePort": 31500}]
    given = {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}, {"hostname": "lb.example.com"}]}}
    assert _edge(clusterIP="10.96.0.7").edge == ("10.96.0.7:8500",)
    assert _edge(ports=ports).edge == ("10.210.0.1:31500",)
    assert _edge(ports=ports, status=given).edge == ("192.0.2.7:8500", "lb.example.com:8500")


def test_nothing_applied_is_not_ready() -> None:
    found = status_of(replace(seen("healthy"), objects=()), None)
    assert not found.ready
    assert (found.pods, found.replicas, found.description_sha256) == ((), (), "")


def test_a_deployment_that_is_missing_is_not_ready() -> None:
    found = seen("healthy")
    objects = [each for each in found.objects if each["metadata"]["name"][-4:] != "edge"]
    assert not status_of(replace(found, objects=objects), None).ready


def test_it_is_told_whether_the_description_is_the_one_that_is_applied() -> None:
    found = seen("healthy")
    objects = copy.deepcopy(list(found.objects))
    assert not status_of(found, None).as_described  # recorded with another one
    for each in objects:
        if each["kind"] == "Deployment":
            each["metadata"]["annotations"] = found.plan.annotations
    assert status_of(replace(found, objects=objects), None).as_described


def test_a_pod_on_its_way_out_says_so() -> None:
    found = seen("denied")
    objects = copy.deepcopy(list(found.objects))
    name = failing(found)["metadata"]["name"]
    for each in objects:
        if each["metadata"].get("name") == name if "metadata" in each else False:
            each["metadata"]["deletionTimestamp"] = "2026-11-29T13:35:00Z"
    rows = {each.pod: each.phase for each in status_of(replace(found, objects=objects), None).pods}
    assert rows[name] == "Terminating"
