"""Pods that have a node and whose containers do not start: images, volumes, the container itself.

Sources: kubelet's reasons of waiting containers and events as of Kubernetes 1.34 (pkg/kubelet:
images, kuberuntime, events); containerd's messages of a pull.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from sealserve.deploy.kubernetes.aesm import AESM, AESM_FOLDER
from sealserve.deploy.kubernetes.live.diagnosis.causes.catalogue import Cause, Finding, shown
from sealserve.deploy.kubernetes.live.diagnosis.causes.giving import given, making
from sealserve.deploy.kubernetes.live.fields import Object, condition, rows, table, text
from sealserve.deploy.kubernetes.live.seen import Seen, component_of, containers, is_ready

_PULL: Final = ("ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "ImageInspectError")
_UNAUTHORISED: Final = re.compile(
    r"\b(401|403)\b|unauthori[sz]ed|authentication required|no basic auth|access denied|forbidden",
    re.IGNORECASE,
)
_NOT_FOUND: Final = re.compile(r"not found|manifest unknown|does not exist|\b404\b", re.IGNORECASE)
_ABSENT: Final = re.compile(r'(secret|configmap) "([^"]+)" not found')
_NO_KEY: Final = re.compile(r"references non-existent (secret|config) key: ?(\S*)")
_VOLUME: Final = re.compile(r'volume "([^"]+)"')
_IN_WORDS: Final = {"secret": "Secret", "configmap": "ConfigMap"}
_CAUSES: Final = {"Secret": Cause.SECRET, "ConfigMap": Cause.CONFIG_MAP}


def starting(seen: Seen) -> Iterator[Finding]:
    """What keeps containers from being started."""
    for pod in seen.pods():
        if is_ready(pod):
            continue
        for status in containers(pod):
            finding = _waits(seen, pod, status)
            if finding is not None:
                yield finding
        # With a network of its own a pod has its volumes, too: what events say of them is over.
        if condition(pod, "PodReadyToStartContainers").get("status") != "True":
            yield from _volumes(seen, pod)


def _waits(seen: Seen, pod: Object, status: Object) -> Finding | None:
    """Of one container that waits: why, where it does not wait for another to end."""
    waiting, image = table(status, "state", "waiting"), text(status, "image")
    reason, message = text(waiting, "reason"), text(waiting, "message")
    if reason in _PULL:
        return _pull(pod, text(status, "name"), image, message)
    if reason == "ErrImageNeverPull":
        cure = "load it into the node's container runtime, or let it be pulled: IfNotPresent"
        what = f"the image {image} is not on the node, and imagePullPolicy forbids to pull it"
        return Cause.IMAGE_NOT_PULLED.of(pod, what, cure)
    if reason == "InvalidImageName":
        cure = "correct registry and tag in [kubernetes], and apply again"
        return Cause.IMAGE_NAME.of(pod, f"{image} is no name of an image", cure)
    if reason == "CreateContainerConfigError" and (absent := _ABSENT.search(message)):
        return _absent(seen, pod, absent)
    if reason in ("CreateContainerConfigError", "CreateContainerError", "RunContainerError"):
        what = f"the container {text(status, 'name')} cannot be started: {shown(message)}"
        cure = "apply what is rendered (sealserve k8s apply), with images of sealserve image build"
        return Cause.CANNOT_START.of(pod, what, cure)
    return None


def _pull(pod: Object, container: str, image: str, message: str) -> Finding:
    registry = image.partition("/")[0]
    beside = " (aesm_image in [kubernetes])" if container == AESM else ""
    if _UNAUTHORISED.search(message):
        what = f"the registry does not let the node pull {image}{beside}"
        cure = (
            "give the ServiceAccount an imagePullSecret for it, or the nodes a right to pull: "
            f"kubectl create secret docker-registry --docker-server={registry}"
        )
        return Cause.IMAGE_REFUSED.of(pod, what, cure)
    if _NOT_FOUND.search(message):
        what = f"there is no image {image}{beside}"
        cure = "push it (sealserve image build, podman push), or correct registry and tag"
        return Cause.IMAGE.of(pod, what, cure)
    reason = shown(message.rpartition("failed to do request: ")[2] or message)
    what = f"the registry of {image}{beside} is not reached: {reason}"
    cure = "correct registry in [kubernetes], or let the node reach it"
    return Cause.IMAGE_REGISTRY.of(pod, what, cure)


def _volumes(seen: Seen, pod: Object) -> Iterator[Finding]:
    """The newest trouble with its volumes or its network; it is told in events alone."""
    for event in reversed(seen.events(pod)):
        reason, message = text(event, "reason"), text(event, "message")
        if reason == "FailedCreatePodSandBox":
            what = f"the node gives the pod no network: {shown(message)}"
            yield Cause.SANDBOX.of(pod, what, "look at the network plugin's pods on that node")
            return
        if reason not in ("FailedMount", "FailedAttachVolume"):
            continue
        if absent := _ABSENT.search(message):
            finding = _absent(seen, pod, absent)
            yield from [finding] if finding else []
        elif lacking := _NO_KEY.search(message):
            yield _lacking_key(seen, pod, message, lacking)
        elif "hostPath type check failed" in message and AESM_FOLDER in message:
            yield Cause.NO_AESM.of(
                pod,
                f"the node has no {AESM_FOLDER}: AESM, which gives quotes, does not run there",
                "install Intel's AESM on the nodes, or name aesm_image in [kubernetes] to run it "
                "beside each server",
            )
        else:
            cure = "look at the claim and its volume: kubectl describe pvc"
            yield Cause.VOLUME.of(pod, f"a volume is not mounted: {shown(message)}", cure)
        return


def _absent(seen: Seen, pod: Object, found: re.Match[str]) -> Finding | None:
    """A Secret or ConfigMap that is not there, but for those that are told of already."""
    kind, called = _IN_WORDS[found[1]], found[2]
    if (kind, called) in given(seen.plan) and kind not in seen.unseen:
        return None
    what = f"there is no {kind} {called}, which a pod of {component_of(pod)} mounts"
    cure = making(seen.plan, called) or "make it, or apply what is rendered: sealserve k8s apply"
    return _CAUSES[kind].of(pod, what, cure)


def _lacking_key(seen: Seen, pod: Object, message: str, found: re.Match[str]) -> Finding:
    kind = "Secret" if found[1] == "secret" else "ConfigMap"
    volume, called = _VOLUME.search(message), ""
    for each in rows(pod, "spec", "volumes"):
        if volume is not None and each.get("name") == volume[1]:
            called = text(each, "secret", "secretName") or text(each, "configMap", "name")
    what = f"the {kind} {called or 'of a volume'} has no {found[2] or 'file of that name'}"
    cure = f"delete it and make it whole: {making(seen.plan, called)}"
    return _CAUSES[kind].of(pod, what, cure)
