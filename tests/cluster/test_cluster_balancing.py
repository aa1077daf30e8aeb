"""Which replica answers whom: counted by the servers, each of its own requests."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster_load import pods
from cluster_site import DOMAIN, PORT, Site, edge_target, standing
from real_cluster import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(7200)]

SPREAD = Path(__file__).parent / "spread.py"
REPLICAS = 3
SECONDS = 20.0
AGE = 3  # seconds, after which a server asks for another connection
AGED_SECONDS = 45.0  # ten connections and more: all to one of three is one chance in 3 ** 9
REST = 8501
METRICS = "/monitoring/prometheus/metrics"
COUNT = re.compile(r':tensorflow:serving:request_count\{model_name="digits",status="OK"\} (\S+)')
TABLE = f"max_replicas = {REPLICAS}\nrequests_in_flight = 16"  # which has metrics be served
ELSEWHERE = "callers"  # a namespace, from whose pods servers may be asked


@pytest.fixture(scope="module")
def balanced(
    request: pytest.FixtureRequest, node: Cluster, pushed: dict[str, str]
) -> Iterator[Site]:
    """Three replicas; the parameter is how old a connection becomes, 0 for any age."""
    age = int(request.param)
    made = Site(
        node,
        node.space.folder / f"balanced-{age}",
        pushed,
        service=f"balanced-{age}",
        replicas=REPLICAS,
        server=f"connection_age = {age}",
        table=TABLE,
    )
    with standing(made):
        yield made


@pytest.fixture
def caller(node: Cluster, pushed: dict[str, str]) -> Iterator[None]:
    """A pod of the client's image that waits to be told what to run."""
    container = {"name": "caller", "image": pushed["client"], "command": ["sleep", "3600"]}
    labels = {"sealserve.io/client": "true"}
    account = {"name": "default", "namespace": ELSEWHERE}
    node.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ELSEWHERE}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account},
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "caller", "namespace": ELSEWHERE, "labels": labels},
            "spec": {
                "automountServiceAccountToken": False,
                "terminationGracePeriodSeconds": 0,
                "containers": [container],
            },
        },
    )

    def running() -> bool:
        found = node.get("pod", "caller", f"--namespace={ELSEWHERE}")
        return bool(found["status"]["phase"] == "Running")

    node.wait("a pod that calls runs", running, log="kubelet")
    yield
    node.kubectl("delete", "namespace", ELSEWHERE, "--wait=false")


def connections_of(age: int) -> pytest.MarkDecorator:
    """Of what age they are at most; services of two ages do not stand at once."""
    return pytest.mark.parametrize("balanced", [age], indirect=True)


def answered(site: Site) -> Counter[str]:
    """Predictions that each pod has answered, by its metrics."""
    found: Counter[str] = Counter()
    for pod in pods(site):
        path = f"/api/v1/namespaces/{site.name}/pods/https:{pod}:{REST}/proxy{METRICS}"
        told = site.kubectl("get", "--raw", path).stdout
        found[pod] = sum(int(float(each)) for each in COUNT.findall(told))
    return found


def command(site: Site, kind: str, target: str, seconds: float) -> list[str]:
    ca = (site.client / "ca.pem").read_text()
    return [kind, target, DOMAIN, ca, str(seconds)]


def spread(site: Site, what: str, command: list[str | Path], **more: Any) -> list[int]:
    """The shares of all pods in what a client asked, the largest first; none has failed."""
    before = answered(site)
    told = site.cluster.space.run(*command, **more)
    result = json.loads(told.stdout)
    after = answered(site)
    shares = sorted((after[pod] - before[pod] for pod in after), reverse=True)
    sys.stderr.write(f"{what}: {result['asked']} requests, by pod {shares}\n")
    assert result["failed"] == []
    assert sum(shares) == result["asked"]
    return shares


def from_here(site: Site, what: str, kind: str, target: str, seconds: float) -> list[int]:
    return spread(site, what, [sys.executable, SPREAD, *command(site, kind, target, seconds)])


def from_a_pod(site: Site, what: str, kind: str, target: str, seconds: float) -> list[int]:
    kubectl = (site.cluster.parts.bin / "kubectl", f"--kubeconfig={site.cluster.config}")
    words = ("exec", "--stdin", f"--namespace={ELSEWHERE}", "caller", "--", "python3", "-")
    with SPREAD.open() as script:
        asked = [*kubectl, *words, *command(site, kind, target, seconds)]
        return spread(site, what, asked, stdin=script)


@connections_of(0)
def test_a_stock_client_on_one_channel_stays_with_one_pod(balanced: Site) -> None:
    shares = from_here(balanced, "stock, by the edge", "stock", edge_target(balanced), SECONDS)
    assert shares[1:] == [0] * (REPLICAS - 1)


@connections_of(0)
def test_our_client_sends_its_requests_to_all_targets_in_turn(balanced: Site) -> None:
    found = (balanced.get("pod", each) for each in pods(balanced))
    targets = ",".join(f"{each['status']['podIP']}:{PORT}" for each in found)
    shares = from_here(balanced, "ours, by pods", "ours", targets, SECONDS)
    assert len(shares) == REPLICAS
    assert min(shares) >= sum(shares) / REPLICAS / 2


@connections_of(0)
@pytest.mark.usefixtures("caller")
def test_a_stock_client_in_the_cluster_sends_its_requests_to_all_pods(balanced: Site) -> None:
    target = f"dns:///{balanced.name}-pods.{balanced.name}.svc.cluster.local:{PORT}"
    shares = from_a_pod(balanced, "stock, round_robin", "round_robin", target, SECONDS)
    assert min(shares) >= sum(shares) / REPLICAS / 2


@connections_of(AGE)
def test_connections_that_end_lead_a_stock_client_to_other_pods(balanced: Site) -> None:
    what = f"stock, by the edge, connections of {AGE} s"
    shares = from_here(balanced, what, "stock", edge_target(balanced), AGED_SECONDS)
    assert shares[1] > 0
