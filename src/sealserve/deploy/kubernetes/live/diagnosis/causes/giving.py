"""What is there before any pod: objects that are rendered, and Secrets and ConfigMaps that are not.

The commands are those of docs/kubernetes.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sealserve.deploy.images.roles import CONFIG_FOLDER
from sealserve.deploy.kubernetes import keyservice, lab
from sealserve.deploy.kubernetes.live.diagnosis.causes.catalogue import Cause, Finding
from sealserve.deploy.kubernetes.live.fields import Object, at, name, rows, text
from sealserve.deploy.kubernetes.live.seen import Seen, is_ready
from sealserve.deploy.kubernetes.objects import all_objects
from sealserve.deploy.kubernetes.plan import Plan

APPLY: Final = "sealserve k8s apply, or kubectl apply -k with the rendered overlay"
_KINDS: Final = ("Deployment", "Service", "PersistentVolumeClaim")


def giving(seen: Seen) -> Iterator[Finding]:
    """What is missing in the namespace."""
    if not seen.of("Deployment"):
        what = f"nothing of {seen.plan.name} is in the namespace {seen.plan.namespace}"
        if "Namespace" not in seen.unseen and not seen.of("Namespace"):
            what = f"there is no namespace {seen.plan.namespace}: nothing was applied"
        yield Finding(Cause.NOTHING_APPLIED, Cause.NOTHING_APPLIED, "", what, APPLY)
        return
    yield from _not_applied(seen)
    for kind, called in given(seen.plan):
        if kind not in seen.unseen and seen.find(kind, called) is None:
            yield _missing(seen, kind, called)


def given(plan: Plan) -> list[tuple[str, str]]:
    """The Secrets and ConfigMaps that pods wait for and that are not rendered."""
    found = [("Secret", lab.secret_name(plan))] if plan.target.simulated else []
    if plan.key_service_inside:
        found.append(("Secret", keyservice.secret_name(plan)))
        found.append(("ConfigMap", keyservice.policy_name(plan)))
    return found


def making(plan: Plan, called: str) -> str:
    """The command that makes one of them; empty for another name."""
    space = f"--namespace {plan.namespace}"
    if plan.target.simulated and called == lab.secret_name(plan):
        archive = lab.ARCHIVE
        return (
            f"tar -cf {archive} lab; "
            f"kubectl create secret generic {called} {space} --from-file={archive}"
        )
    if called == keyservice.secret_name(plan):
        files = " ".join(f"--from-file={each}" for each in keyservice.secrets(plan))
        return f"kubectl create secret generic {called} {space} {files}"
    if called == keyservice.policy_name(plan):
        return f"kubectl create configmap {called} {space} --from-file={keyservice.POLICY}"
    return ""


def in_force(plan: Plan) -> str:
    """The command with which the owner puts a changed policy in force."""
    config = f"{CONFIG_FOLDER}/{keyservice.CONFIG}"
    if not plan.key_service_inside:
        return "sealserve policy apply policy.toml, at the key service"
    return (
        f"kubectl exec --namespace {plan.namespace} --stdin deploy/{plan.named('keyservice')} -- "
        "sh -c 'cat > /tmp/policy.toml; sealserve policy apply /tmp/policy.toml --yes "
        f"--config {config}' < policy.toml"
    )


def _not_applied(seen: Seen) -> Iterator[Finding]:
    planned = [each for found in all_objects(seen.plan).values() for each in found]
    lacking = [
        each
        for each in planned
        if each["kind"] in _KINDS
        and each["kind"] not in seen.unseen
        and seen.find(each["kind"], name(each)) is None
    ]
    for each in lacking:
        what = f"there is no {each['kind']} {name(each)}, which the description has"
        yield Cause.NOT_APPLIED.of(each, what, APPLY)
    for deployment in seen.of("Deployment"):
        if at(deployment, "spec", "replicas") == 0:
            what = f"{name(deployment)} is scaled to nothing"
            cure = f"kubectl scale --namespace {seen.plan.namespace} --replicas=1 deploy/"
            yield Cause.STOPPED.of(deployment, what, f"{cure}{name(deployment)}")


def _missing(seen: Seen, kind: str, called: str) -> Finding:
    cause = Cause.SECRET if kind == "Secret" else Cause.CONFIG_MAP
    waiting = tuple(name(pod) for pod in seen.pods() if _mounts(pod, called) and not is_ready(pod))
    finding = Finding(
        cause,
        cause,
        "server" if called == lab.secret_name(seen.plan) else "keyservice",
        f"there is no {kind} {called}",
        making(seen.plan, called),
        waiting,
    )
    return finding if waiting else finding.warning()


def _mounts(pod: Object, called: str) -> bool:
    """Whether a pod has a volume of the Secret or ConfigMap of that name."""
    for volume in rows(pod, "spec", "volumes"):
        for source in (volume, *rows(volume, "projected", "sources")):
            names = text(source, "secret", "secretName"), text(source, "configMap", "name")
            if called in (*names, text(source, "secret", "name")):
                return True
    return False
