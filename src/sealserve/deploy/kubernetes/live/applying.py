"""All objects of a service into its cluster, server-side, and out of it again.

The API server is first asked whether it would take every object (a dry run), so that nothing is
changed halfway. What an earlier description asked for and this one does not is removed; data is
not: the namespace, claims, and whatever somebody else made. Source: Kubernetes, "Server-Side
Apply"; "Owners and Dependents".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from sealserve.deploy.kubernetes.live.api import Missing
from sealserve.deploy.kubernetes.live.service import Service
from sealserve.deploy.kubernetes.objects import all_objects
from sealserve.deploy.kubernetes.plan import DIGEST, Object
from sealserve.errors import ConfigError

Change = Literal["created", "changed", "unchanged", "removed"]
Tell = Callable[[str], None]
_KEEPER: Final = "sealserve-replicas"
_KINDS: Final = (  # all that is ever rendered, what clients reach first
    "TLSRoute",
    "Ingress",
    "HorizontalPodAutoscaler",
    "Deployment",
    "Service",
    "EndpointSlice",
    "PodDisruptionBudget",
    "NetworkPolicy",
    "ConfigMap",
    "ServiceAccount",
)


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of one object."""

    kind: str
    name: str
    change: Change


def apply_all(service: Service, tell: Tell) -> tuple[Applied, ...]:
    """Have the cluster hold exactly what is planned; one line for each object that changes.

    Raises ConfigError for what the API server refuses, before anything else is changed.
    """
    namespace, *rest = [each for found in all_objects(service.plan).values() for each in found]
    done = [_apply(service, namespace, tell)]
    for each in rest:
        _known(service, each, dry_run=True)
    done += [_apply(service, each, tell) for each in rest]
    done += [_remove(service, each, tell) for each in _left_over(service, rest)]
    return tuple(done)


def delete_all(service: Service, tell: Tell, *, data: bool) -> tuple[Applied, ...]:
    """Remove all of the service, what clients reach first; with `data`, claims and namespace too.

    Deletions go on when this returns.
    """
    done = [_remove(service, each, tell) for each in _ours(service)]
    if data:
        for claim in service.cluster.every("PersistentVolumeClaim", service.namespace):
            if _is_ours(service, claim):
                done.append(_remove(service, claim, tell))
        namespace = service.cluster.find("Namespace", service.namespace)
        if namespace is not None and _is_ours(service, namespace):
            done.append(_remove(service, namespace, tell))
    return tuple(done)


def _apply(service: Service, wanted: Object, tell: Tell) -> Applied:
    kind, metadata = wanted["kind"], wanted["metadata"]
    before = service.cluster.find(kind, metadata["name"], metadata.get("namespace"))
    if kind == "Deployment" and before is not None and "replicas" not in wanted["spec"]:
        _keep_replicas(service, before)
    after = _known(service, wanted)
    change: Change = "created"
    if before is not None:
        change = "unchanged" if _meaning(before) == _meaning(after) else "changed"
    return _told(Applied(kind, metadata["name"], change), tell)


def _keep_replicas(service: Service, before: Object) -> None:
    """Have the number of replicas stay: a field that only we applied, and apply no more, is reset.

    Source: Kubernetes, "Server-Side Apply", Transferring ownership.
    """
    metadata = {key: before["metadata"][key] for key in ("name", "namespace")}
    kept = {"kind": before["kind"], "apiVersion": before["apiVersion"], "metadata": metadata}
    kept["spec"] = {"replicas": before["spec"]["replicas"]}
    service.cluster.apply(kept, manager=_KEEPER)


def _meaning(found: Object) -> Object:
    """An object without what the cluster notes of its own on every write."""
    noted = ("resourceVersion", "managedFields", "generation")
    metadata = {name: value for name, value in found["metadata"].items() if name not in noted}
    return {**found, "metadata": metadata, "status": None}


def _known(service: Service, wanted: Object, *, dry_run: bool = False) -> Object:
    try:
        return service.cluster.apply(wanted, dry_run=dry_run)
    except Missing as error:
        kind = wanted["kind"]
        raise ConfigError(
            f"{kind} {wanted['metadata']['name']}: {error.message}",
            hint="Gateway API's definitions are not installed, or gateway is not to be in edges"
            if kind == "TLSRoute"
            else "is it an older Kubernetes than 1.30?",
        ) from error


def _remove(service: Service, found: Object, tell: Tell) -> Applied:
    name = found["metadata"]["name"]
    service.cluster.delete(found["kind"], name, found["metadata"].get("namespace"))
    return _told(Applied(found["kind"], name, "removed"), tell)


def _told(done: Applied, tell: Tell) -> Applied:
    if done.change != "unchanged":
        tell(f"{done.change:<8} {done.kind} {done.name}")
    return done


def _left_over(service: Service, wanted: list[Object]) -> Iterator[Object]:
    keys = {(each["kind"], each["metadata"]["name"]) for each in wanted}
    return (each for each in _ours(service) if (each["kind"], each["metadata"]["name"]) not in keys)


def _ours(service: Service) -> list[Object]:
    """What is there of this service, whoever applied it; not what something else owns."""
    labels = ",".join(f"{name}={value}" for name, value in service.plan.labels.items())
    found = []
    for kind in _KINDS:
        for each in service.cluster.every(kind, service.namespace, labels=labels):
            if _is_ours(service, each) and "ownerReferences" not in each["metadata"]:
                found.append(each)
    return found


def _is_ours(service: Service, found: Object) -> bool:
    metadata = found["metadata"]
    labels = metadata.get("labels", {}).items()
    return service.plan.labels.items() <= labels and DIGEST in metadata.get("annotations", {})
