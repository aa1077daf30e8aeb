"""Who may speak to whom, tried between pods: what is rendered, enforced by kube-router."""

from __future__ import annotations

import pytest

from cluster_parts import FIRST_SERVICE
from cluster_site import NAME, Site
from real_cluster import Object

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(7200)]

ASKERS: dict[str, tuple[str, dict[str, str]]] = {  # namespace and labels
    "anybody": ("elsewhere", {}),
    "client": ("elsewhere", {"sealserve.io/client": "true"}),
    "monitor": ("monitoring", {}),
    "stranger": (NAME, {}),
    "server": (NAME, {}),
    "edge": (NAME, {}),
}
SPACES = {"elsewhere": {}, "monitoring": {"sealserve.io/monitoring": "true"}}
PORTS = {
    "edge": ("edge", 8500),
    "server": ("server", 8500),
    "server's REST": ("server", 8501),
    "keys": ("keyservice", 4433),
    "key service's metrics": ("keyservice", 9433),
}
ALLOWED = {
    "anybody": {"edge"},
    "client": {"edge", "server"},
    "monitor": {"edge", "server's REST", "key service's metrics"},
    "stranger": set(),
    "server": {"keys"},
    "edge": {"server"},
}
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
    for name in ("anybody", "client", "monitor", "stranger"):
        space, labels = ASKERS[name]
        applied.cluster.apply(_account(space), _asker(applied, name, space, labels))

    def running() -> bool:
        found = [_pod(applied, name)["status"] for name in ASKERS if name not in PORTS]
        return all(each["phase"] == "Running" for each in found)

    applied.cluster.wait("pods that ask run", running, log="kubelet")
    return applied


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
    targets[f"{FIRST_SERVICE}:443"] = "API server"
    pod = f"deploy/{NAME}-{asker}" if asker in PORTS else asker
    tried = ["bash", "-c", TRY, "-", *targets]
    told = asking.cluster.kubectl("exec", f"--namespace={ASKERS[asker][0]}", pod, "--", *tried)
    reached = {targets[line] for line in told.stdout.split()}
    free = {"API server"} if ASKERS[asker][0] != NAME else set()  # no policy of ours is there
    assert reached == ALLOWED[asker] | free
