"""What there is to be seen of a service in a cluster, as one value: objects, logs, decisions.

Status and diagnosis are decided from it alone; `looking` fills it. Objects are as the API server
gives them, each with its `kind`; of a Secret there are metadata alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from sealserve.deploy.kubernetes.live.fields import Object, at, moment, name, rows, table, text
from sealserve.deploy.kubernetes.plan import Component, Plan

COMPONENT: Final = "app.kubernetes.io/component"
_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Seen:
    """A service at one moment."""

    plan: Plan
    now: datetime
    objects: Sequence[Object]
    logs: Mapping[str, str] = field(default_factory=dict)
    """The ends of logs by `POD/CONTAINER`; of the run before this one by `POD/CONTAINER/before`."""
    decisions: Sequence[Object] | None = None
    """The key service's records of decisions, newest first; None: they are not to be had."""
    unseen: frozenset[str] = frozenset()
    """Kinds that we may not read: nothing is concluded from their absence."""

    def of(self, kind: str) -> list[Object]:
        """All objects of a kind."""
        return [each for each in self.objects if at(each, "kind") == kind]

    def find(self, kind: str, called: str) -> Object | None:
        """The object of that kind and name, or None."""
        return next((each for each in self.of(kind) if name(each) == called), None)

    def pods(self, component: Component | None = None) -> list[Object]:
        """The pods that are to stay, of a component or of all."""
        return [
            each
            for each in self.of("Pod")
            if not at(each, "metadata", "deletionTimestamp")
            and component in (None, component_of(each))
        ]

    def events(self, about: Object) -> list[Object]:
        """The events about an object, oldest first."""
        unique = text(about, "metadata", "uid")
        found = [
            each
            for each in self.of("Event")
            if unique and text(each, "involvedObject", "uid") == unique
        ]
        return sorted(found, key=happened)

    def log(self, pod: Object, container: str) -> str:
        """What a container wrote: its run before, and this one."""
        key = f"{name(pod)}/{container}"
        return f"{self.logs.get(f'{key}/before', '')}\n{self.logs.get(key, '')}"


def component_of(found: Object) -> str:
    """Which component an object is of."""
    return text(found, "metadata", "labels", COMPONENT)


def happened(event: Object) -> datetime:
    """When an event was seen last."""
    for path in (("lastTimestamp",), ("series", "lastObservedTime"), ("eventTime",)):
        if found := moment(event, *path):
            return found
    return moment(event, "metadata", "creationTimestamp") or _LONG_AGO


def began(event: Object) -> datetime:
    """When an event was seen first."""
    return moment(event, "firstTimestamp") or moment(event, "eventTime") or happened(event)


def is_ready(pod: Object) -> bool:
    """Whether Services send anybody to it."""
    held = rows(pod, "status", "conditions")
    return any(each.get("type") == "Ready" and each.get("status") == "True" for each in held)


def containers(pod: Object) -> list[Object]:
    """The statuses of its containers, in the order in which they start."""
    return rows(pod, "status", "initContainerStatuses") + rows(pod, "status", "containerStatuses")


def last_end(container: Object) -> Object:
    """How a container ended last, now or before it was started again; empty: it has not."""
    return table(container, "state", "terminated") or table(container, "lastState", "terminated")
