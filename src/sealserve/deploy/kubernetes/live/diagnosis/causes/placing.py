"""Pods that are not made, or that no node takes: quota, Pod Security, EPC, CPU, memory, claims.

Sources: Kubernetes, kube-scheduler's messages as of 1.34, kept in a pod's condition PodScheduled;
Deployment status, ReplicaFailure; "Resource Management for Pods and Containers".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from sealserve.deploy.kubernetes.live.diagnosis.causes.catalogue import Cause, Finding, shown
from sealserve.deploy.kubernetes.live.fields import Object, at, condition, name, rows, table, text
from sealserve.deploy.kubernetes.live.quantities import as_text, parse
from sealserve.deploy.kubernetes.live.seen import Seen, is_ready
from sealserve.deploy.kubernetes.targets import ALIBABA_EPC, ENCLAVE, EPC, PROVISION

_INSUFFICIENT: Final = re.compile(r"Insufficient ([A-Za-z0-9._/-]*[A-Za-z0-9])")
_PREEMPTION: Final = re.compile(r"(?: no new claims to deallocate,)? preemption: .*", re.DOTALL)
_NO_CLAIM: Final = re.compile(r'persistentvolumeclaim "([^"]+)" not found')
_SGX: Final = (EPC, ALIBABA_EPC, ENCLAVE, PROVISION)
_CURES: Final = {
    Cause.EPC: "run fewer replicas, lower enclave_size in [server], or add a node with more EPC",
    Cause.CPU: "free some, add a node, or lower threads in [server]",
    Cause.MEMORY: "free some, or add a node with more memory",
    Cause.NO_NODE: "free some of it, or add a node that offers more",
    Cause.NO_SGX: "install Intel's SGX device plugin with the rule for EPC, or the cloud's add-on, "
    "on nodes with SGX",
}


def placing(seen: Seen) -> Iterator[Finding]:
    """What keeps pods from being made or placed."""
    for deployment in seen.of("Deployment"):
        failure = condition(deployment, "ReplicaFailure")
        if failure.get("status") == "True":
            yield _refused(deployment, shown(text(failure, "message")))
    for pod in seen.pods():
        scheduled = condition(pod, "PodScheduled")
        if scheduled.get("status") == "False":
            yield from _unplaced(seen, pod, text(scheduled, "message"))
        yield from _on_lost_node(seen, pod)
        if text(pod, "status", "reason") == "Evicted":
            what = f"a node has evicted a pod: {shown(text(pod, 'status', 'message'))}"
            yield Cause.EVICTED.of(pod, what, "free what the node was short of, or add a node")


def _on_lost_node(seen: Seen, pod: Object) -> Iterator[Finding]:
    """A pod whose node does not answer the cluster."""
    node = seen.find("Node", text(pod, "spec", "nodeName"))
    state = condition(node, "Ready")
    if node is not None and not is_ready(pod) and state.get("status") in ("False", "Unknown"):
        what = f"the node {name(node)} is not ready: {shown(text(state, 'message'))}"
        cure = "mend or drain the node; pods are made anew elsewhere after some minutes"
        yield Cause.NOT_READY.of(pod, what, cure)


def _refused(deployment: Object, message: str) -> Finding:
    if "exceeded quota" in message:
        cause, cure = Cause.QUOTA, "raise the ResourceQuota of the namespace, or run fewer replicas"
    elif "violates PodSecurity" in message:
        cause = Cause.POD_SECURITY
        cure = "apply what is rendered, which keeps to the namespace's level: sealserve k8s apply"
    else:
        cause, cure = Cause.REFUSED, "do what it asks for: a webhook or a limit of the cluster's"
    what = f"the API server takes no pod of {name(deployment)}: {message}"
    return cause.of(deployment, what, cure)


def _unplaced(seen: Seen, pod: Object, message: str) -> Iterator[Finding]:
    if absent := _NO_CLAIM.search(message):
        cure = "apply what is rendered, which has it (sealserve k8s apply), and fill it"
        yield Cause.CLAIM_ABSENT.of(pod, f"there is no claim {absent[1]}", cure)
        return
    if "unbound immediate PersistentVolumeClaims" in message:
        yield _unbound(seen, pod)
        return
    lacking = list(dict.fromkeys(_INSUFFICIENT.findall(message)))
    for resource in [each for each in _SGX if each in lacking][:1] or lacking:
        yield _lacking(seen, pod, resource)
    if not lacking:
        what = f"no node takes the pod: {shown(_PREEMPTION.sub('', message))}"
        yield Cause.NO_NODE.of(pod, what, "kubectl describe nodes has their taints and conditions")


def _unbound(seen: Seen, pod: Object) -> Finding:
    volumes = rows(pod, "spec", "volumes")
    names = {text(each, "persistentVolumeClaim", "claimName") for each in volumes}
    claims = [
        f"{name(each)} ({_wanted(each)})"
        for each in seen.of("PersistentVolumeClaim")
        if name(each) in names and text(each, "status", "phase") != "Bound"
    ]
    what = f"no volume is bound to the claim {', '.join(claims) or 'of the pod'}"
    return Cause.CLAIM_UNBOUND.of(
        pod,
        what,
        "name a StorageClass that makes such volumes (storage_class, state_class in [kubernetes]),"
        " or make a PersistentVolume for it",
    )


def _wanted(claim: Object) -> str:
    modes = at(claim, "spec", "accessModes")
    listed = ", ".join(map(str, modes)) if isinstance(modes, list) else ""
    kind = text(claim, "spec", "storageClassName") or "of no StorageClass"
    return f"{text(claim, 'spec', 'resources', 'requests', 'storage')} {listed}, {kind}"


def _lacking(seen: Seen, pod: Object, resource: str) -> Finding:
    asked = asked_for(pod, resource)
    nodes = seen.of("Node")
    offers = [parse(at(node, "status", "allocatable", resource)) for node in nodes]
    most = max(offers, default=Decimal(0))
    what = f"a pod asks for {as_text(asked, resource)} of {resource}"
    cause = {"cpu": Cause.CPU, "memory": Cause.MEMORY}.get(resource, Cause.NO_NODE)
    if resource in _SGX:
        cause = Cause.EPC if most or not nodes else Cause.NO_SGX
    if cause is Cause.NO_SGX:
        what += ", and no node offers any: they have no SGX, or its device plugin does not run"
    elif nodes:
        held = ", part of which others hold" if most >= asked else ""
        what += f", and a node offers {as_text(most, resource)} at most{held}"
    else:
        what += ", and no node has so much left"
    return cause.of(pod, what, _CURES[cause])


def asked_for(pod: Object, resource: str) -> Decimal:
    """How much of a resource the scheduler sets aside for a pod."""
    first = rows(pod, "spec", "initContainers")
    beside = [each for each in first if each.get("restartPolicy") == "Always"]
    together = rows(pod, "spec", "containers") + beside
    alone = [_request(each, resource) for each in first if each not in beside]
    return max([sum((_request(each, resource) for each in together), Decimal(0)), *alone])


def _request(container: Object, resource: str) -> Decimal:
    given = table(container, "resources", "requests"), table(container, "resources", "limits")
    return next((parse(each[resource]) for each in given if resource in each), Decimal(0))
