"""How many servers there may be, how far each has come, and what is told of it."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealserve.deploy.description.model import Description
from sealserve.deploy.description.reading import check_description
from sealserve.deploy.description.writing import Answers, describe
from sealserve.deploy.kubernetes.live.room import needed, room
from sealserve.deploy.kubernetes.live.scaling import (
    Bounds,
    after_apply,
    autoscaler_of,
    bounds_of,
    placed,
    reached,
)
from sealserve.deploy.kubernetes.live.stages import changes, stage
from sealserve.deploy.kubernetes.render import plan_for
from sealserve.deploy.kubernetes.targets import ENCLAVE, EPC, LAB, find_target

NEED = {EPC: Decimal(2 << 30), ENCLAVE: Decimal(1)}


def description(table: str = "", replicas: int = 2) -> Description:
    text = describe(Answers(replicas=replicas))
    found = check_description(f"{text}\n[kubernetes]\n{table}\n").description
    assert found is not None
    return found


def pod(called="a", *, ready=False, leaving=False, server=None, **status):
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {
        "metadata": {"name": called, **({"deletionTimestamp": "x"} if leaving else {})},
        "status": {
            "conditions": conditions + status.pop("conditions", []),
            "containerStatuses": [{"name": "server", "state": {}, **(server or {})}],
            **status,
        },
    }


UNSCHEDULED = {
    "type": "PodScheduled",
    "status": "False",
    "message": "0/1 nodes are available:\n1 Insufficient sgx.intel.com/epc.",
}
PULLING = {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling"}}
STAGES = {
    "new": (pod(), "made"),
    "nowhere to run": (
        pod(conditions=[UNSCHEDULED]),
        "has no node: 0/1 nodes are available: 1 Insufficient sgx.intel.com/epc.",
    ),
    "no image": (pod(server={"image": "s:1", "state": PULLING}), "waits for the image s:1"),
    "being made": (
        pod(server={"state": {"waiting": {"reason": "PodInitializing"}}}),
        "made",
    ),
    "no volume": (
        pod(server={"state": {"waiting": {"reason": "X", "message": "no\n volume"}}}),
        "waits, X: no volume",
    ),
    "running": (pod(server={"state": {"running": {"startedAt": "x"}}}), "started"),
    "ready": (pod(ready=True, server={"state": {"running": {}}}), "ready"),
    "on its way out": (pod(ready=True, leaving=True), "leaves"),
    "denied": (
        pod(server={"state": {"terminated": {"exitCode": 4}}}),
        "has ended, exit code 4: the policy in force denies it its key",
    ),
    "started again after its end": (
        pod(server={"state": {"running": {}}, "lastState": {"terminated": {"exitCode": 137}}}),
        "has ended, exit code 137",
    ),
    "ready after an end": (
        pod(ready=True, server={"lastState": {"terminated": {"exitCode": 3}}}),
        "ready",
    ),
    "of an unknown form": ({"metadata": {"name": "a"}}, "made"),
}


@pytest.mark.parametrize(("found", "said"), STAGES.values(), ids=STAGES)
def test_a_pod_s_stage_is_said_in_a_few_words(found, said):
    assert stage(found) == said


def test_only_changes_are_told():
    before = {"a": "made", "b": "ready", "c": "leaves"}
    after = {"a": "started", "b": "ready", "d": "made"}
    assert list(changes(before, after)) == ["pod a  started", "pod d  made", "pod c  gone"]
    assert list(changes(after, after)) == []


REACHED = {
    "as many": ([pod("a", ready=True), pod("b", ready=True)], False, True),
    "one starts": ([pod("a", ready=True), pod("b")], False, False),
    "one leaves": ([pod("a", ready=True), pod("b", leaving=True)], False, False),
    "too few": ([pod("a", ready=True)], True, False),
    "too many": ([pod(each, ready=True) for each in "abc"], False, False),
    "too many, by the autoscaler": ([pod(each, ready=True) for each in "abc"], True, True),
}


@pytest.mark.parametrize(("pods", "more", "done"), REACHED.values(), ids=REACHED)
def test_it_waits_for_as_many_and_no_others(pods, more, done):
    assert reached(pods, 2, more=more) is done


def scaler(target, least=1, most=4, kind="Deployment"):
    spec = {"minReplicas": least, "maxReplicas": most}
    return {
        "metadata": {"name": f"of-{target}"},
        "spec": {**spec, "scaleTargetRef": {"kind": kind, "name": target}},
    }


def test_the_autoscaler_is_found_by_its_target_whatever_its_name():
    others = [scaler("edge"), scaler("server", kind="StatefulSet")]
    assert autoscaler_of([*others, scaler("server")], "server") == scaler("server")
    assert autoscaler_of(others, "server") is None


@pytest.mark.parametrize(
    ("before", "replicas", "after"),
    [((1, 4), 3, (3, 4)), ((1, 4), 6, (6, 6)), ((3, 4), 1, (1, 4)), ((4, 4), 4, (4, 4))],
)
def test_an_autoscaler_keeps_no_fewer_and_may_make_as_many(before, replicas, after):
    assert Bounds(*before).around(replicas) == Bounds(*after)


def test_bounds_without_a_least_begin_at_one():
    assert bounds_of({"spec": {"maxReplicas": 3}}) == Bounds(1, 3)


def test_what_the_next_apply_makes_of_it_is_said():
    alone = plan_for(description("max_replicas = 2"), LAB)
    assert after_apply(alone, 2, None) is None
    assert "makes 2 of them again" in after_apply(alone, 4, None)
    scaled = plan_for(description(), LAB)
    assert after_apply(scaled, 2, Bounds(2, 4)) is None
    assert "keep 2 to 4 again" in after_apply(scaled, 3, Bounds(3, 4))


def node(called, epc, enclaves=20, **spec):
    given = {EPC: str(epc), ENCLAVE: str(enclaves), "cpu": "4"}
    return {"metadata": {"name": called}, "spec": spec, "status": {"allocatable": given}}


def enclave(called, epc, phase="Running"):
    limits = {EPC: epc, ENCLAVE: "1"}
    spec = {"nodeName": called, "containers": [{"resources": {"limits": limits}}]}
    return {"spec": spec, "status": {"phase": phase}}


ROOM = {
    "an empty node": ([node("a", "8Gi")], [], 4),
    "one that others use": ([node("a", "8Gi")], [enclave("a", "3Gi")], 2),
    "what is over is free": ([node("a", "8Gi")], [enclave("a", "8Gi", "Succeeded")], 4),
    "each pod is on one node": ([node("a", "3Gi"), node("b", "3Gi")], [], 2),
    "devices count too": ([node("a", "8Gi", enclaves=1)], [], 1),
    "none left": ([node("a", "8Gi")], [enclave("a", "7Gi")], 0),
    "more than there is": ([node("a", "1Gi")], [enclave("a", "7Gi")], 0),
    "a node that is closed": ([node("a", "8Gi", unschedulable=True), node("b", "2Gi")], [], 1),
    "nodes that tell nothing": ([{"metadata": {"name": "a"}}], [], None),
}


@pytest.mark.parametrize(("nodes", "pods", "fits"), ROOM.values(), ids=ROOM)
def test_pods_are_counted_node_by_node(nodes, pods, fits):
    assert room(NEED, nodes, pods) == fits


@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=5),
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 40)), max_size=8),
)
def test_what_fits_is_never_more_than_there_is(given_mib, asked):
    nodes = [node(str(number), f"{each}Gi") for number, each in enumerate(given_mib)]
    pods = [enclave(str(where), f"{each}Gi") for where, each in asked]
    fits = room(NEED, nodes, pods)
    assert fits is not None
    assert 0 <= fits <= sum(each // 2 for each in given_mib)
    more = [*pods, enclave("0", "2Gi")]
    assert room(NEED, nodes, more) in (fits, fits - 1)


def test_only_pods_that_stay_on_a_node_have_room_already():
    def on(node_, found):
        return {**found, "spec": {"nodeName": node_}}

    assert placed([on("a", pod()), on("a", pod(leaving=True)), pod(), on("", pod())]) == 1


def test_a_pod_needs_what_its_template_asks_for():
    limits = {EPC: "2Gi", ENCLAVE: "1", "memory": "4Gi"}
    template = {"spec": {"containers": [{"resources": {"limits": limits}}, {}]}}
    assert needed(find_target("generic"), template) == NEED
    assert needed(LAB, template) == {}
