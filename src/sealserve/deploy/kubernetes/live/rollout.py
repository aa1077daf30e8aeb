"""How far a Deployment has come: decided from the object, and waited for.

Source: Kubernetes, "Deployments", Deployment status; API reference, apps/v1 DeploymentStatus.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from sealserve.deploy.kubernetes.live.service import Service
from sealserve.deploy.kubernetes.live.stages import stages
from sealserve.deploy.kubernetes.plan import Component, Object
from sealserve.errors import NetworkError

STEP: Final = 0.5  # seconds
EXPLAIN_EVERY: Final = 10.0
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Rollout:
    """One Deployment: pods wanted, of the newest template, available, and all that there are."""

    wanted: int
    newest: int
    available: int
    present: int
    seen: bool  # its controller has seen the newest template

    @property
    def settled(self) -> bool:
        """Whether exactly the wanted pods are there, new and available."""
        return self.seen and self.newest == self.available == self.present == self.wanted

    def __str__(self) -> str:
        going = f", {self.present - self.newest} older" if self.present > self.newest else ""
        return f"{self.available} of {self.wanted} ready{going}"


def rollout_of(deployment: Object) -> Rollout:
    """From what the API server says."""
    status: Any = deployment.get("status", {})
    return Rollout(
        wanted=deployment["spec"].get("replicas", 1),
        newest=status.get("updatedReplicas", 0),
        available=status.get("availableReplicas", 0),
        present=status.get("replicas", 0),
        seen=status.get("observedGeneration") == deployment["metadata"].get("generation"),
    )


def components(service: Service) -> tuple[Component, ...]:
    """Those that have a Deployment, in the order in which they get ready."""
    plan = service.plan
    inside: tuple[Component, ...] = ("keyservice",) if plan.key_service_inside else ()
    edge: tuple[Component, ...] = ("edge",) if "nginx" in plan.description.kubernetes.edges else ()
    return (*inside, "server", *edge)


def wait_settled(
    service: Service,
    names: Iterable[Component],
    *,
    seconds: float,
    tell: Tell,
    explain: Callable[[], Iterable[str]],
) -> dict[str, float]:
    """Wait until Deployments have settled; the seconds that each took, by its component.

    Each change is told, and from time to time what `explain` knows of why it takes long. An API
    server that does not answer for a while is waited for. Raises NetworkError after `seconds`.
    """
    began = time.monotonic()
    left, took, last = list(names), dict[str, float](), dict[str, str]()
    explained: set[str] = set()
    next_explanation = began + EXPLAIN_EVERY
    while True:
        for name in tuple(left):
            found = _ask(service, name)
            if found is None:
                continue
            for line in _news(service, name, found, last):
                tell(line)
            if found.settled:
                left.remove(name)
                took[name] = time.monotonic() - began
        if not left:
            return took
        now = time.monotonic()
        if now > began + seconds:
            waits = "; ".join(f"{name}: {last.get(name, 'not seen')}" for name in left)
            raise NetworkError(f"not ready in {seconds:.0f} s: {waits}", code="not-ready")
        if now > next_explanation:
            next_explanation = now + EXPLAIN_EVERY
            for line in explain():
                if line not in explained:
                    explained.add(line)
                    tell(line)
        time.sleep(STEP)


def _news(service: Service, name: Component, found: Rollout, last: dict[str, str]) -> Iterator[str]:
    """What has changed of a component and, while it has not settled, of its pods."""
    known: dict[str, str] = {name: str(found)}
    if not found.settled:
        with suppress(NetworkError):
            known |= stages(service.pods(name))
    for called, stage in known.items():
        if last.get(called) != stage:
            yield f"{name:<10}  {stage if called == name else f'pod {called} {stage}'}"
    last |= known


def _ask(service: Service, name: Component) -> Rollout | None:
    try:
        found = service.find("Deployment", service.plan.named(name))
    except NetworkError:
        return None
    return None if found is None else rollout_of(found)
