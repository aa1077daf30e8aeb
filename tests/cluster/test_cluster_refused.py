"""What must be refused, each tried: by RBAC to the accounts of our pods, and by Pod Security.

Who may not speak to whom is in test_cluster_policies.py. Sources: Kubernetes, "Using RBAC
Authorization", "Pod Security Standards".
"""

from __future__ import annotations

import copy
import json
import subprocess
from typing import Any

import pytest

from cluster_site import NAME, Site
from real_cluster import Object

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(7200)]

PARTS = ("server", "edge", "keyservice")
ACCOUNTS = (*(f"{NAME}-{part}" for part in PARTS), "default")
OURS, APPS = f"/api/v1/namespaces/{NAME}", f"/apis/apps/v1/namespaces/{NAME}"
DRY = "?dryRun=All"
POD: Object = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "tried", "namespace": NAME},
    "spec": {
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "tried",
                "image": "tried:1",
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                },
            }
        ],
    },
}
TOKEN = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
EVICTION = {
    "apiVersion": "policy/v1",
    "kind": "Eviction",
    "metadata": {"name": "tried", "namespace": NAME},
}
BINDING = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRoleBinding",
    "metadata": {"name": "tried"},
    "roleRef": {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "ClusterRole",
        "name": "cluster-admin",
    },
    "subjects": [{"kind": "ServiceAccount", "name": f"{NAME}-server", "namespace": NAME}],
}
# Verb and resource as RBAC names them; kubectl's command and path; what is sent.
RIGHTS: dict[str, tuple[str, str, str, str, Object | None]] = {
    "read the keys": ("get", "secrets", "get", f"{OURS}/secrets/{NAME}-keyservice", None),
    "list Secrets": ("list", "secrets", "get", f"{OURS}/secrets", None),
    "list all Secrets": ("list", "secrets", "get", "/api/v1/secrets", None),
    "read the policy": ("get", "configmaps", "get", f"{OURS}/configmaps/{NAME}-policy", None),
    "list pods": ("list", "pods", "get", f"{OURS}/pods", None),
    "read a log": ("get", "pods/log", "get", f"{OURS}/pods/{{pod}}/log", None),
    "create a pod": ("create", "pods", "create", f"{OURS}/pods{DRY}", POD),
    "run a command": ("create", "pods/exec", "create", f"{OURS}/pods/{{pod}}/exec?command=id", {}),
    "delete a pod": ("delete", "pods", "delete", f"{OURS}/pods/{{pod}}{DRY}", None),
    "evict": ("create", "pods/eviction", "create", f"{OURS}/pods/{{pod}}/eviction{DRY}", EVICTION),
    "change a Deployment": (
        *("update", "deployments", "replace"),
        *(f"{APPS}/deployments/{NAME}-server{DRY}", {}),
    ),
    "scale": (
        *("update", "deployments/scale", "replace"),
        *(f"{APPS}/deployments/{NAME}-server/scale{DRY}", {}),
    ),
    "open the network": (
        *("delete", "networkpolicies", "delete"),
        *(f"/apis/networking.k8s.io/v1/namespaces/{NAME}/networkpolicies/{NAME}-deny{DRY}", None),
    ),
    "change the namespace": ("update", "namespaces", "replace", f"{OURS}{DRY}", {}),
    "get a token": (
        *("create", "serviceaccounts/token", "create"),
        *(f"{OURS}/serviceaccounts/{NAME}-server/token{DRY}", TOKEN),
    ),
    "become an administrator": (
        *("create", "clusterrolebindings", "create"),
        *(f"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings{DRY}", BINDING),
    ),
    "list nodes": ("list", "nodes", "get", "/api/v1/nodes", None),
    "ask the kubelet": ("get", "nodes/proxy", "get", "/api/v1/nodes/{node}/proxy/pods", None),
}


def asked(site: Site, what: str, account: str = "") -> subprocess.CompletedProcess[str]:
    """One request to the API server, as an administrator or as one of the accounts."""
    _, _, command, path, sent = RIGHTS[what]
    pod = site.get("pods")["items"][0]
    path = path.format(pod=pod["metadata"]["name"], node=pod["spec"]["nodeName"])
    words = [command, f"--raw={path}"]
    if account:
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{NAME}")
        words += [f"--as=system:serviceaccount:{NAME}:{account}"]
        words += [f"--as-group={each}" for each in (*groups, "system:authenticated")]
    given = {} if sent is None else {"input": json.dumps(sent), "stdin": None}
    words += [] if sent is None else ["--filename=-"]
    return site.cluster.kubectl(*words, check=False, **given)


@pytest.mark.parametrize("what", RIGHTS)
def test_no_account_of_a_pod_has_a_right(applied: Site, what: str) -> None:
    assert "Forbidden" not in asked(applied, what).stderr, "not even an administrator may"
    verb, resource, *_ = RIGHTS[what]
    for account in ACCOUNTS:
        told = asked(applied, what, account)
        assert told.returncode != 0, account
        assert f'cannot {verb} resource "{resource}"' in told.stderr, told.stderr


@pytest.mark.parametrize("part", PARTS)
def test_no_pod_of_ours_has_a_token(applied: Site, part: str) -> None:
    command = (
        "sh",
        "-c",
        "ls -d /var/run/secrets/kubernetes.io; grep -c serviceaccount /proc/mounts",
    )
    told = applied.kubectl("exec", f"deploy/{NAME}-{part}", "--", *command, check=False)
    assert "No such file" in told.stderr
    assert told.stdout == "0\n"


CONTAINER = "containers/0/securityContext"
LAX: dict[str, tuple[str, Any, str]] = {  # where in the pod, what, and why it is refused
    "privileged": (
        *(CONTAINER, {"privileged": True, "allowPrivilegeEscalation": True}),
        "must not set securityContext.privileged=true",
    ),
    "root": (f"{CONTAINER}/runAsUser", 0, "runAsUser=0"),
    "perhaps root": ("securityContext/runAsNonRoot", False, "runAsNonRoot != true"),
    "more privileges": (
        *(f"{CONTAINER}/allowPrivilegeEscalation", True),
        "allowPrivilegeEscalation != false",
    ),
    "a capability": (f"{CONTAINER}/capabilities/add", ["SYS_ADMIN"], "capabilities"),
    "all capabilities": (f"{CONTAINER}/capabilities", {}, "unrestricted capabilities"),
    "no seccomp": ("securityContext/seccompProfile", None, "seccompProfile"),
    "seccomp off": ("securityContext/seccompProfile/type", "Unconfined", "seccompProfile"),
    "AppArmor off": (f"{CONTAINER}/appArmorProfile", {"type": "Unconfined"}, "AppArmor"),
    "the host's files": (
        *("volumes", [{"name": "host", "hostPath": {"path": "/"}}]),
        "restricted volume types",
    ),
    "the host's network": ("hostNetwork", True, "host namespaces"),
    "the host's processes": ("hostPID", True, "host namespaces"),
    "the host's IPC": ("hostIPC", True, "host namespaces"),
    "the host's port": ("containers/0/ports", [{"containerPort": 80, "hostPort": 80}], "hostPort"),
    "a sysctl": (
        *("securityContext/sysctls", [{"name": "kernel.msgmax", "value": "1"}]),
        "forbidden sysctls",
    ),
}


def create(site: Site, pod: Object) -> subprocess.CompletedProcess[str]:
    words = ("create", "--dry-run=server", "--filename=-")
    return site.kubectl(*words, check=False, input=json.dumps(pod), stdin=None)


def test_a_pod_with_nothing_of_it_is_admitted(applied: Site) -> None:
    told = create(applied, POD)
    assert told.returncode == 0, told.stderr


@pytest.mark.parametrize("what", LAX)
def test_a_laxer_pod_is_refused_by_pod_security(applied: Site, what: str) -> None:
    path, value, reason = LAX[what]
    pod = copy.deepcopy(POD)
    *parents, last = path.split("/")
    place = pod["spec"]
    for each in parents:
        place = place[int(each)] if each.isdigit() else place[each]
    place[last] = {**place[last], **value} if last == "securityContext" else value
    told = create(applied, pod)
    assert told.returncode != 0
    assert 'violates PodSecurity "restricted:latest"' in told.stderr, told.stderr
    assert reason in told.stderr.partition("violates PodSecurity")[2]


def test_a_laxer_container_is_not_put_into_a_running_pod(applied: Site) -> None:
    pod = applied.get("pods")["items"][0]["metadata"]["name"]
    words = (pod, "--image=tried:1", "--profile=sysadmin", "--container=tried", "--", "id")
    told = applied.kubectl("debug", *words, check=False)
    assert told.returncode != 0
    assert "violates PodSecurity" in told.stderr, told.stderr
