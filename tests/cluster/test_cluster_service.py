"""A whole service on a real cluster: from nothing to an answer, and scaled under load."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from typing import Any

import pytest

from cluster_load import STOCK, errors, pods, report, steady, wait_for_pods
from cluster_site import DOMAIN, NAME, Site, ask
from real_cluster import tell

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(7200)]

SPREAD = 20.0  # seconds in which connections choose among replicas
LEAST_RIGHT = 0.9
SERVER = f"deployment/{NAME}-server"


def test_a_pod_of_our_image_runs(site: Site) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "version", "namespace": "default"},
        "spec": {
            "restartPolicy": "Never",
            "containers": [
                {
                    "name": "version",
                    "image": site.images["client"],
                    "args": ["--version"],
                }
            ],
        },
    }
    site.cluster.apply(pod)

    def ended() -> bool:
        phase = site.cluster.get("pod", "version", "--namespace=default")["status"]["phase"]
        assert phase != "Failed"
        return bool(phase == "Succeeded")

    site.cluster.wait("a pod of the client's image has ended", ended, log="kubelet")
    assert "sealserve" in site.cluster.kubectl("logs", "version", "--namespace=default").stdout


def test_a_service_applied_from_nothing_answers_through_the_edge_over_tls(applied: Site) -> None:
    assert ask(applied).startswith("{'outputs': {'predict': {'dtype': 'DT_FLOAT'")


def test_the_key_service_s_audit_record_says_to_whom_it_released_the_key(applied: Site) -> None:
    words = ["exec", f"deploy/{NAME}-keyservice", "--", "sealserve", "audit"]
    config = "--config=/etc/sealserve/keyservice.toml"
    applied.kubectl(*words, "verify", config)
    applied.kubectl(*words, "export", "--out=/tmp/exported", config)
    told = applied.kubectl("exec", f"deploy/{NAME}-keyservice", "--", "cat", "/tmp/exported").stdout
    decisions = [json.loads(line) for line in told.splitlines()]
    assert "released" in [each["outcome"] for each in decisions if each["kind"] == "decision"]


def test_logs_name_whose_lines_they_are_and_follow_servers_that_come_later(applied: Site) -> None:
    ended = subprocess.run(
        applied.live("logs", "server", "--lines=50"), capture_output=True, text=True, check=True
    )
    (first,) = pods(applied)
    assert f"{first} server | sealserve serve: ready" in ended.stdout
    assert ended.stderr.startswith("SIMULATED")
    path = applied.folder / "followed.log"
    with path.open("w") as output:
        following = subprocess.Popen(applied.live("logs", "server", "--follow"), stdout=output)
        try:
            applied.kubectl("scale", SERVER, "--replicas=2")
            applied.wait("server", log="kubelet")
            (second,) = pods(applied) - {first}
            line = f"{second} server | sealserve serve: ready"
            applied.cluster.wait("its lines are followed", lambda: line in path.read_text())
            assert path.read_text().count(line) == 1
        finally:
            following.terminate()
            following.wait(30)
    applied.kubectl("scale", SERVER, "--replicas=1")
    wait_for_pods(applied, 1)


def test_scaling_up_and_down_under_load_fails_no_request(applied: Site) -> None:
    lines: list[dict[str, Any]] = []
    spread: Counter[str] = Counter()
    with steady(applied, lines):
        for replicas in (2, 4, 1):
            began = time.monotonic()
            applied.kubectl("scale", SERVER, f"--replicas={replicas}")
            applied.wait("server", log="kubelet")
            wait_for_pods(applied, replicas)
            tell(f"to {replicas} replicas", began)
            time.sleep(SPREAD)
            spread = answered(applied)
            sys.stderr.write(f"connections then: {dict(spread)}\n")
            assert min(replicas, 2) <= len(spread) <= replicas
    report(lines)
    assert not errors(lines)
    assert sum(line["right"] for line in lines) >= LEAST_RIGHT * len(lines)


def test_a_rollout_under_load_fails_no_request(applied: Site) -> None:
    lines: list[dict[str, Any]] = []
    before = pods(applied)
    with steady(applied, lines):
        began = time.monotonic()
        applied.kubectl("rollout", "restart", SERVER)
        applied.wait("server", log="kubelet")
        wait_for_pods(applied, 1)
        tell("one server in the place of another", began)
    assert not pods(applied) & before
    report(lines)
    assert not errors(lines)


def test_a_server_that_is_killed_takes_no_more_than_its_requests_with_it(applied: Site) -> None:
    lines: list[dict[str, Any]] = []
    applied.kubectl("scale", SERVER, "--replicas=2")
    applied.wait("server", log="kubelet")
    killed = min(pods(applied))
    with steady(applied, lines):
        applied.kubectl("delete", "pod", killed, "--force", "--grace-period=0")
        applied.wait("server", log="kubelet")
    report(lines)
    assert not errors(lines, "ours")
    assert len(errors(lines, "stock")) <= STOCK
    applied.kubectl("scale", SERVER, "--replicas=1")
    wait_for_pods(applied, 1)


def test_a_key_service_that_is_killed_is_missed_by_no_request(applied: Site) -> None:
    lines: list[dict[str, Any]] = []
    selected = "--selector=app.kubernetes.io/component=keyservice"
    (killed,) = (each["metadata"]["name"] for each in applied.get("pods", selected)["items"])
    with steady(applied, lines):
        applied.kubectl("delete", "pod", killed, "--force", "--grace-period=0")
        applied.wait("keyservice", log="kubelet")
    report(lines)
    assert not errors(lines)


def test_a_changed_server_is_given_no_key_and_the_old_one_serves_on(applied: Site) -> None:
    lines: list[dict[str, Any]] = []
    before = pods(applied)
    deployment = applied.get("deployment", f"{NAME}-server")
    place = deployment["spec"]["template"]["spec"]["containers"][0]["args"].index("serve") + 1
    path = f"/spec/template/spec/containers/0/args/{place}"
    patch = [{"op": "add", "path": path, "value": "--enable_batching"}]
    with steady(applied, lines):
        applied.kubectl("patch", SERVER, "--type=json", f"--patch={json.dumps(patch)}")

        def denied() -> bool:
            return any(each["outcome"] == "denied" and "policy" in each["code"] for each in said())

        def said() -> list[dict[str, Any]]:
            told = applied.kubectl("logs", f"deploy/{NAME}-keyservice", "--container=keyservice")
            found = [json.loads(line) for line in told.stdout.splitlines() if line[:1] == "{"]
            return [each for each in found if each["event"] == "decision"]

        applied.cluster.wait("the changed server is denied the key", denied, log="kubelet")
        (changed,) = pods(applied) - before
        ready = applied.get("pod", changed)["status"]["containerStatuses"][0]["ready"]
        assert not ready and before <= pods(applied)
        applied.kubectl("rollout", "undo", SERVER)
        applied.wait("server", log="kubelet")
    report(lines)
    assert not errors(lines)
    assert before <= pods(applied)


def answered(site: Site) -> Counter[str]:
    """To whom the edge has led clients lately, by its own log; probes name nobody."""
    selected = ("--selector=app.kubernetes.io/component=edge", f"--since={SPREAD / 2:.0f}s")
    told = site.kubectl("logs", *selected, "--tail=-1").stdout
    lines = [line for line in told.splitlines() if f"name={DOMAIN}" in line]
    return Counter(word for line in lines for word in line.split() if "replica=" in word)
