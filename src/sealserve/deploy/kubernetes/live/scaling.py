"""How many servers there are: decided with the autoscaler, where there is one, not against it.

An autoscaler undoes within seconds what is set beside it, unless it is within its bounds: its
minimum becomes what is wanted. Source: Kubernetes, "Horizontal Pod Autoscaling"; API reference,
autoscaling/v2.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sealserve.deploy.kubernetes.live.fields import Object, at, name, number, table
from sealserve.deploy.kubernetes.live.following import follow
from sealserve.deploy.kubernetes.live.quantities import as_text
from sealserve.deploy.kubernetes.live.rollout import Tell
from sealserve.deploy.kubernetes.live.room import needed, room
from sealserve.deploy.kubernetes.live.service import Service
from sealserve.deploy.kubernetes.live.stages import LEAVING, READY, stage, stages
from sealserve.deploy.kubernetes.plan import Plan
from sealserve.errors import ConfigError, UsageError

OWN_WILL_SECONDS: Final = 45.0  # three rounds of the autoscaler's: what it keeps then, it wants


@dataclass(frozen=True, slots=True)
class Bounds:
    """How few and how many replicas an autoscaler may make."""

    least: int
    most: int

    def around(self, replicas: int) -> Bounds:
        """With `replicas` as the least."""
        return Bounds(replicas, max(self.most, replicas))

    def __str__(self) -> str:
        return f"{self.least} to {self.most}"


@dataclass(frozen=True, slots=True)
class Scaled:
    """What was, what is, and what the autoscaler was given."""

    before: int
    serving: int
    autoscaler: str | None
    bounds: Bounds | None
    seconds: float


def scale(service: Service, replicas: int, *, seconds: float, tell: Tell) -> Scaled:
    """Have so many servers, and wait until they serve and all others are gone.

    Raises ConfigError where the service is not there, UsageError for more than there is enclave
    memory for, NetworkError where it is not so in time.
    """
    began = time.monotonic()
    called = service.plan.named("server")
    deployment = service.find("Deployment", called)
    if deployment is None:
        raise ConfigError(f"there is no Deployment {called}", hint="sealserve k8s apply")
    before = number(deployment, "spec", "replicas")
    there = service.pods("server")
    _check_room(service, deployment, there, replicas, tell)
    told = stages(there)
    autoscaler = find_autoscaler(service)
    bounds = None if autoscaler is None else bounds_of(autoscaler).around(replicas)
    if autoscaler is not None and bounds is not None:
        tell(_about(autoscaler, bounds))
        spec = {"minReplicas": bounds.least, "maxReplicas": bounds.most}
        change = {"spec": spec}
        service.cluster.merge(
            "HorizontalPodAutoscaler", name(autoscaler), service.namespace, change
        )
    service.cluster.merge("Deployment", called, service.namespace, {"spec": {"replicas": replicas}})

    def done(pods: Sequence[Object]) -> bool:
        extra = autoscaler is not None and time.monotonic() > began + OWN_WILL_SECONDS
        return reached(pods, replicas, more=extra)

    pods = follow(service, done, seconds=seconds, tell=tell, before=told)
    if len(pods) > replicas:
        tell(f"the autoscaler keeps {len(pods)}: its metrics ask for them")
    named = None if autoscaler is None else name(autoscaler)
    return Scaled(before, len(pods), named, bounds, time.monotonic() - began)


def reached(pods: Sequence[Object], replicas: int, *, more: bool) -> bool:
    """Whether so many are ready and nothing else is there; with `more`, others that are ready."""
    found = list(stages(pods).values())
    enough = len(found) >= replicas if more else len(found) == replicas
    return enough and all(each == READY for each in found)


def find_autoscaler(service: Service) -> Object | None:
    """The autoscaler of the servers, whoever made it."""
    found = service.cluster.every("HorizontalPodAutoscaler", service.namespace)
    return autoscaler_of(found, service.plan.named("server"))


def autoscaler_of(found: Iterable[Object], deployment: str) -> Object | None:
    """The one whose target is that Deployment."""
    for each in found:
        target = table(each, "spec", "scaleTargetRef")
        if (target.get("kind"), target.get("name")) == ("Deployment", deployment):
            return each
    return None


def bounds_of(autoscaler: Object) -> Bounds:
    """Its bounds; the least is 1 where none is said."""
    least = number(autoscaler, "spec", "minReplicas") or 1
    return Bounds(least, number(autoscaler, "spec", "maxReplicas"))


def after_apply(plan: Plan, replicas: int, bounds: Bounds | None) -> str | None:
    """What the next `sealserve k8s apply` makes of it; None where that is the same."""
    described, most = plan.choices.replicas, plan.choices.max_replicas
    if plan.autoscaled:
        if bounds == Bounds(described, most):
            return None
        return f"the next k8s apply has the autoscaler keep {Bounds(described, most)} again"
    if described == replicas:
        return None
    return f"the next k8s apply makes {described} of them again, as the description says"


def placed(pods: Iterable[Object]) -> int:
    """How many have a node, and are to stay there."""
    return sum(bool(at(pod, "spec", "nodeName")) and stage(pod) != LEAVING for pod in pods)


def _check_room(
    service: Service, deployment: Object, there: Sequence[Object], replicas: int, tell: Tell
) -> None:
    need = needed(service.plan.target, table(deployment, "spec", "template"))
    have = placed(there)
    if replicas <= have or not need:
        return
    try:
        nodes = service.cluster.every("Node")
        pods = service.cluster.every("Pod")
    except ConfigError as error:
        tell(f"whether there is enclave memory for them is not known: {error.message}")
        return
    found = room(need, nodes, pods)
    if found is not None and have + found < replicas:
        asked = ", ".join(f"{as_text(amount, each)} {each}" for each, amount in need.items())
        raise UsageError(
            f"the nodes have room for {have + found} servers: {have} have a node, and {found} more "
            "would find one",
            code="kubernetes-room",
            hint=f"each asks for {asked}: add nodes, or make the enclave smaller",
        )


def _about(autoscaler: Object, bounds: Bounds) -> str:
    before = bounds_of(autoscaler)
    same = " already" if before == bounds else f", before {before}"
    return f"the autoscaler {name(autoscaler)} decides, so its bounds are set: {bounds}{same}"
