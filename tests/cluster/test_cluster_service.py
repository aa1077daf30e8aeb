"""A whole service on a real cluster: from nothing to an answer, and scaled under load."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cluster_images import images
from cluster_site import (
    DOMAIN,
    NAME,
    Site,
    apply,
    edge_target,
    give_model_key,
    give_policy,
    give_secrets,
    make_volumes,
    measure,
    prepare,
)
from real_cluster import Cluster, tell

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(7200)]

STEADY = Path(__file__).parent / "steady.py"
FIRST_ANSWER_SECONDS = 120.0
BEFORE = 5.0  # seconds of load around each change
LEAST_RIGHT = 0.9


@pytest.fixture(scope="module")
def site(node: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """What is there before anything is applied: a node with our images, an owner's files."""
    names = {}
    for role, (name, archive) in images(tmp_path_factory.mktemp("images")).items():
        began = time.monotonic()
        node.take(archive)
        tell(f"the image {name} is imported", began)
        names[role] = name
    made = Site(node, node.space.folder / "site", names)
    prepare(made)
    return made


@pytest.fixture(scope="module")
def applied(site: Site) -> Site:
    """The service, applied from nothing: it answers."""
    began = time.monotonic()
    make_volumes(site)
    give_secrets(site)
    give_policy(site, measure(site))
    from_nothing = time.monotonic()
    apply(site)
    site.wait("keyservice", log="kubelet")
    give_model_key(site)
    site.wait("server", log="kubelet")
    site.wait("edge", log="kubelet")
    ask(site)
    tell("from the first apply to the first answer", from_nothing)
    tell("the same, with secrets and the measurement before", began)
    return site


def ask(site: Site) -> str:
    """One prediction through the edge over TLS, by our command."""
    target = edge_target(site)
    words = ["predict", "--target", target, "--server-name", DOMAIN, "--model", "digits"]
    words += ["--ca", str(site.client / "ca.pem"), "--random", "1,8,8,1"]
    deadline = time.monotonic() + FIRST_ANSWER_SECONDS
    while True:
        asked = site.cluster.space.run(sys.executable, "-m", "sealserve", *words, check=False)
        if asked.returncode == 0:
            return asked.stdout
        assert time.monotonic() < deadline, asked.stderr


def pods(site: Site) -> set[str]:
    """The servers' pods, those on their way out too."""
    selected = "--selector=app.kubernetes.io/component=server"
    return {each["metadata"]["name"] for each in site.get("pods", selected)["items"]}


def wait_for_pods(site: Site, count: int) -> None:
    """Until so many are left, and those on their way out are gone."""

    def gone() -> bool:
        return len(pods(site)) == count

    site.cluster.wait("pods on their way out are gone", gone, log="kubelet")


@contextmanager
def steady(site: Site, lines: list[dict[str, Any]]) -> Iterator[None]:
    """Clients that ask all the time; what they saw is in `lines` afterwards."""
    path = site.folder / "steady.jsonl"
    command = [sys.executable, STEADY, edge_target(site), DOMAIN, site.client]
    with path.open("w") as output:
        client = subprocess.Popen(
            site.cluster.space.inside(*command), stdin=subprocess.PIPE, stdout=output
        )
        try:
            time.sleep(BEFORE)
            yield
            time.sleep(BEFORE)
        finally:
            assert client.stdin is not None
            client.stdin.close()
            assert client.wait(60) == 0
    lines += [json.loads(line) for line in path.read_text().splitlines()]


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
                    "imagePullPolicy": "Never",
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


def test_scaling_up_and_down_under_load_fails_no_request(applied: Site) -> None:
    lines: list[dict[str, Any]] = []
    before = pods(applied)
    deployment = f"deployment/{NAME}-server"
    with steady(applied, lines):
        began = time.time()
        applied.kubectl("scale", deployment, "--replicas=2")
        applied.wait("server", log="kubelet")
        up = time.time()
        (added,) = pods(applied) - before
        time.sleep(4 * BEFORE)
        spread = answered(applied)
        down = time.time()
        applied.kubectl("scale", deployment, "--replicas=1")
        wait_for_pods(applied, 1)
        ended = time.time()
    errors = [line["error"] for line in lines if line["error"]]
    slowest = max(line["ended"] - line["began"] for line in lines)
    sys.stderr.write(
        f"1 to 2 replicas in {up - began:.1f} s ({added}), 2 to 1 in {ended - down:.1f} s; "
        f"{len(lines)} requests, {len(errors)} failed, the slowest took {slowest:.2f} s\n"
        f"connections by replica while there were two: {dict(spread)}\n"
    )
    assert not errors
    assert len(spread) > 1
    assert sum(line["right"] for line in lines) >= LEAST_RIGHT * len(lines)


def answered(site: Site) -> Counter[str]:
    """To whom the edge has led clients lately, by its own log; probes name nobody."""
    selected = ("--selector=app.kubernetes.io/component=edge", f"--since={4 * BEFORE:.0f}s")
    told = site.kubectl("logs", *selected, "--tail=-1").stdout
    lines = [line for line in told.splitlines() if f"name={DOMAIN}" in line]
    return Counter(word for line in lines for word in line.split() if "replica=" in word)
