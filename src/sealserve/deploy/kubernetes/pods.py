"""What every pod is given, and what none is: one place, so that no component can be laxer.

Not root and no way to become it, no capability, the runtime's own seccomp profile, a root that
nobody writes to, no token of the API server's, no variables that name other services, memory
bounded. CPU is requested and not bounded: a limit would halt an enclave in the middle of a request
(Linux, CFS bandwidth control). Source: Kubernetes, "Pod Security Standards", restricted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sealserve.deploy.images.roles import TEMPORARY_FOLDER, USER_ID
from sealserve.deploy.kubernetes.plan import Component, Object, Plan, role_of

TEMPORARY: Final = "temporary"
_TEMPORARY_LIMIT: Final = "64Mi"


@dataclass(frozen=True, slots=True)
class Resources:
    """What the scheduler sets aside, and the most memory; `devices` are limits of their own."""

    cpu: Any
    memory: Any
    memory_limit: Any
    devices: Mapping[str, str] = field(default_factory=dict)

    def manifest(self) -> Object:
        """As a container has it."""
        limits = {"memory": self.memory_limit, **self.devices}
        return {"requests": {"cpu": self.cpu, "memory": self.memory}, "limits": limits}


@dataclass(frozen=True, slots=True)
class Container:
    """One container of a pod; `rest` is what only it has: ports, probes, a hook."""

    name: str
    image: str
    resources: Resources
    command: Sequence[str] = ()
    arguments: Sequence[str] = ()
    mounts: Sequence[Object] = ()
    rest: Object = field(default_factory=dict)

    def manifest(self) -> Object:
        """As a pod has it."""
        return {
            "name": self.name,
            "image": self.image,
            "imagePullPolicy": "IfNotPresent",
            **({"command": list(self.command)} if self.command else {}),
            **({"args": list(self.arguments)} if self.arguments else {}),
            **self.rest,
            "resources": self.resources.manifest(),
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
            "volumeMounts": [mount(TEMPORARY, TEMPORARY_FOLDER, writable=True), *self.mounts],
        }


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of a component; `groups` are supplementary, `writes` says that it writes to a claim."""

    containers: Sequence[Container]
    grace_seconds: int
    first: Sequence[Container] = ()
    volumes: Sequence[Object] = ()
    groups: Sequence[int] = ()
    writes: bool = False
    tolerated: str = ""

    def template(
        self, plan: Plan, component: Component, annotations: Mapping[str, str] | None = None
    ) -> Object:
        """The template of a Deployment: pods are made anew for what changes them, and no more."""
        said = {**plan.notice, **(annotations or {})}
        return {
            "metadata": {
                "labels": plan.selector(component),
                **({"annotations": said} if said else {}),
            },
            "spec": self._specification(plan, component),
        }

    def _specification(self, plan: Plan, component: Component) -> Object:
        specification: Object = {
            "serviceAccountName": plan.named(component),
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": self.grace_seconds,
            "securityContext": self._security(),
            "topologySpreadConstraints": [
                _spread(plan, component, "kubernetes.io/hostname"),
                _spread(plan, component, "topology.kubernetes.io/zone"),
            ],
        }
        if self.tolerated:
            toleration = {"key": self.tolerated, "operator": "Exists", "effect": "NoSchedule"}
            specification["tolerations"] = [toleration]
        if self.first:
            specification["initContainers"] = [each.manifest() for each in self.first]
        specification["containers"] = [each.manifest() for each in self.containers]
        temporary = {"medium": "Memory", "sizeLimit": _TEMPORARY_LIMIT}
        specification["volumes"] = [{"name": TEMPORARY, "emptyDir": temporary}, *self.volumes]
        return specification

    def _security(self) -> Object:
        context: Object = {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        if self.writes:
            context |= {"fsGroup": USER_ID, "fsGroupChangePolicy": "OnRootMismatch"}
        if self.groups:
            context["supplementalGroups"] = list(self.groups)
        return context


def mount(volume: str, path: str, *, writable: bool = False, part: str = "") -> Object:
    """A volume's place in a container; `part` is a file of it alone."""
    found: Object = {"name": volume, "mountPath": path}
    if not writable:
        found["readOnly"] = True
    return {**found, "subPath": part} if part else found


def in_memory(name: str, limit: str) -> Object:
    """A volume that is gone with its pod, and on no disk."""
    return {"name": name, "emptyDir": {"medium": "Memory", "sizeLimit": limit}}


def tcp_probes(*, startup_seconds: int, first_seconds: int = 0) -> Object:
    """Probes of the port `service`, the first after so many seconds.

    Nothing listens there before the program can answer. No probe of Kubernetes' can ask more of TLS
    that ends in an enclave: gRPC probes speak no TLS.
    """
    probe = {"tcpSocket": {"port": "service"}}
    start = {**probe, **({"initialDelaySeconds": first_seconds} if first_seconds else {})}
    return probes(start, probe, probe, startup_seconds=startup_seconds)


def probes(start: Object, ready: Object, alive: Object, *, startup_seconds: int) -> Object:
    """The three of a container; a restart mends little, so it comes late."""
    return {
        "startupProbe": {
            **start,
            "periodSeconds": 5,
            "timeoutSeconds": 3,
            "failureThreshold": startup_seconds // 5,
        },
        "readinessProbe": {
            **ready,
            "periodSeconds": 5,
            "timeoutSeconds": 3,
            "failureThreshold": 2,
        },
        "livenessProbe": {
            **alive,
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 6,
        },
    }


def port(name: str, number: int) -> Object:
    """A port of a container."""
    return {"name": name, "containerPort": number, "protocol": "TCP"}


def image_of(plan: Plan, component: Component) -> str:
    """The image of a component's containers."""
    return plan.image(role_of(plan, component))


def _spread(plan: Plan, component: Component, key: str) -> Object:
    return {
        "maxSkew": 1,
        "topologyKey": key,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": plan.selector(component)},
    }
