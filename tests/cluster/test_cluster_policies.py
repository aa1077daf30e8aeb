"""Who may speak to whom, tried between pods: what is rendered, enforced by kube-router."""

from __future__ import annotations

import sys

import pytest

from cluster_parts import FIRST_SERVICE
from cluster_site import NAME, Site
from cluster_space import NODE_ADDRESS, Space
from real_cluster import Object

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(7200)]

ASKERS: dict[str, tuple[str, dict[str, str]]] = {  # namespace and labels
    "anybody": ("elsewhere", {}),
    "client": ("elsewhere", {"sealserve.io/client": "true"}),
    "monitor": ("monitoring", {}),
    "stranger": (NAME, {}),
    "server": (NAME, {}),
    "edge": (NAME, {}),
    "keyservice": (NAME, {}),
}
OURS = ("server", "edge", "keyservice")  # Deployments; the others are pods of the test's
SPACES = {"elsewhere": {}, "monitoring": {"sealserve.io/monitoring": "true"}}
PORTS = {
    "edge": ("edge", 8500),
    "server": ("server", 8500),
    "server's REST": ("server", 8501),
    "keys": ("keyservice", 4433),
    "key service's metrics": ("keyservice", 9433),
}
METADATA, INTERNET = "169.254.169.254", "192.0.2.1"
PAST_US = {  # where no policy of ours is in the way
    f"{FIRST_SERVICE}:443": "API server",
    f"{NODE_ADDRESS}:10250": "kubelet",
    f"{METADATA}:80": "metadata service",
    f"{INTERNET}:443": "internet",
}
ALLOWED = {
    "anybody": {"edge"},
    "client": {"edge", "server"},
    "monitor": {"edge", "server's REST", "key service's metrics"},
    "stranger": set(),
    "server": {"keys"},
    "edge": {"server"},
    "keyservice": set(),
}
LISTEN = """
import signal, socket, sys
made = [socket.create_server((host, int(port))) for host, port in zip(*[iter(sys.argv[1:])] * 2)]
signal.pause()
"""
TRY = """
for each; do
  timeout 2 bash -c "</dev/tcp/${each/:/\\/}" 2>/dev/null && echo "$each"
done
true
"""


@pytest.fixture(scope="module")
def asking(applied: Site) -> Site:
    """Pods from which connections are tried."""
    for name, labels in SPACES.items():
        metadata = {"name": name, "labels": labels}
        applied.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    _outside(applied.cluster.space)
    mine = [name for name in ASKERS if name not in OURS]
    for name in mine:
        space, labels = ASKERS[name]
        applied.cluster.apply(_account(space), _asker(applied, name, space, labels))

    def running() -> bool:
        found = [_pod(applied, name)["status"] for name in mine]
        return all(each["phase"] == "Running" for each in found)

    applied.cluster.wait("pods that ask run", running, log="kubelet")
    return applied


def _outside(space: Space) -> None:
    """Addresses that are no pod's, and somebody who listens there."""
    for address in (METADATA, INTERNET):
        space.run("ip", "address", "add", f"{address}/32", "dev", "node0")
    space.start("outside", sys.executable, "-c", LISTEN, METADATA, "80", INTERNET, "443")


def _account(space: str) -> Object:
    metadata = {"name": "default", "namespace": space}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}


def _asker(site: Site, name: str, space: str, labels: dict[str, str]) -> Object:
    container = {
        "name": "asker",
        "image": site.images["client"],
        "command": ["sleep", "3600"],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": space, "labels": labels},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
        },
    }


def _pod(site: Site, name: str) -> Object:
    return dict(site.cluster.get("pod", name, f"--namespace={ASKERS[name][0]}"))


def _address(site: Site, component: str) -> str:
    selected = f"--selector=app.kubernetes.io/component={component}"
    return str(site.get("pods", selected)["items"][0]["status"]["podIP"])


@pytest.mark.parametrize("asker", ALLOWED)
def test_a_pod_reaches_those_whom_it_may_and_nobody_else(asking: Site, asker: str) -> None:
    targets = {
        f"{_address(asking, part)}:{port}": name
        for name, (part, port) in PORTS.items()
        if part != asker
    }
    targets |= PAST_US
    pod = f"deploy/{NAME}-{asker}" if asker in OURS else asker
    tried = ["bash", "-c", TRY, "-", *targets]
    told = asking.cluster.kubectl("exec", f"--namespace={ASKERS[asker][0]}", pod, "--", *tried)
    reached = {targets[line] for line in told.stdout.split()}
    free = set() if ASKERS[asker][0] == NAME else set(PAST_US.values())
    assert reached == ALLOWED[asker] | free
