"""Look at a service in its cluster: objects, logs, and what its key service has on record.

Nothing is changed. What the context's user may not read is left out and named in `unseen`, but for
Deployments and pods, without which nothing can be said.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Final

from sealserve.deploy.images.roles import CONFIG_FOLDER
from sealserve.deploy.kubernetes import keyservice
from sealserve.deploy.kubernetes.live.diagnosis.causes.giving import given
from sealserve.deploy.kubernetes.live.fields import Object, at, name, number, rows, table, text
from sealserve.deploy.kubernetes.live.seen import Seen, component_of, containers, is_ready
from sealserve.deploy.kubernetes.live.service import Service
from sealserve.errors import ConfigError, SealServeError

LINES: Final = 300  # of each log
RECORDS: Final = 300
_AUDIT_SECONDS: Final = 60.0
_OURS: Final = (
    "Deployment",
    "Pod",
    "Service",
    "PersistentVolumeClaim",
    "HorizontalPodAutoscaler",
    "PodDisruptionBudget",
)
_NEEDED: Final = frozenset({"Deployment", "Pod"})


def look(service: Service, *, audit: bool = True) -> Seen:
    """All that there is to be seen now; with `audit`, the key service's records too.

    Raises ConfigError where not even pods may be read, NetworkError where there is no answer.
    """
    looking = _Looking(service)
    objects = tuple(looking.objects())
    pods = [each for each in objects if each["kind"] == "Pod"]
    logs = looking.logs(pods)
    return Seen(
        plan=service.plan,
        now=datetime.now(UTC),
        objects=objects,
        logs=logs,
        decisions=_decisions(service, pods) if audit else None,
        unseen=frozenset(looking.unseen),
    )


class _Looking:
    """Objects of all kinds that matter, and the kinds that may not be read."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.unseen: set[str] = set()

    def objects(self) -> Iterator[Object]:
        plan, cluster = self._service.plan, self._service.cluster
        labels = ",".join(f"{key}={value}" for key, value in plan.labels.items())
        yield from self._one("Namespace", plan.namespace, None)
        for kind in _OURS:
            yield from self._all(kind, partial(cluster.every, kind, plan.namespace, labels=labels))
        yield from self._all("Event", lambda: cluster.every("Event", plan.namespace))
        yield from self._all("Node", lambda: cluster.every("Node"))
        for kind, called in given(plan):
            yield from self._one(kind, called, plan.namespace)

    def logs(self, pods: list[Object]) -> dict[str, str]:
        """The ends of logs by pod and container; none where they may not be read."""
        try:
            return {key: log for pod in pods for key, log in _logs(self._service, pod)}
        except ConfigError as error:
            if error.code != "kubernetes-forbidden":
                raise
            self.unseen.add("logs")
            return {}

    def _all(self, kind: str, ask: Callable[[], list[Object]]) -> Iterator[Object]:
        try:
            found = ask()
        except ConfigError as error:
            if kind in _NEEDED or error.code != "kubernetes-forbidden":
                raise
            self.unseen.add(kind)
            return
        yield from ({**each, "kind": kind} for each in found)

    def _one(self, kind: str, called: str, namespace: str | None) -> Iterator[Object]:
        def ask() -> list[Object]:
            found = self._service.cluster.find(kind, called, namespace)
            return [] if found is None else [found]

        yield from self._all(kind, ask)


def _logs(service: Service, pod: Object) -> Iterator[tuple[str, str]]:
    """The ends of its logs: of main containers always, of others where they have failed."""
    main = {text(each, "name") for each in rows(pod, "spec", "containers")}
    edge = component_of(pod) == "edge"  # its log is of connections
    for status in containers(pod):
        called = text(status, "name")
        ended = table(status, "state", "terminated")
        failed = number(status, "restartCount") > 0 or number(ended, "exitCode") != 0
        if (called in main and not edge) or (failed and not is_ready(pod)):
            container = service.container(pod, called)
            yield f"{name(pod)}/{called}", container.log(lines=LINES)
            if failed and not is_ready(pod):
                before = container.log(lines=LINES, previous=True)
                yield f"{name(pod)}/{called}/before", before


def _decisions(service: Service, pods: list[Object]) -> tuple[Object, ...] | None:
    """The newest decisions since the oldest server began; None where they are not to be had."""
    inside = [each for each in pods if component_of(each) == "keyservice" and is_ready(each)]
    servers = [each for each in pods if component_of(each) == "server"]
    if not inside or not servers:
        return None
    since = min(text(each, "metadata", "creationTimestamp") for each in servers)
    words = ("--kind", "decision", "--since", since, "--limit", str(RECORDS), "--json")
    config = f"{CONFIG_FOLDER}/{keyservice.CONFIG}"
    container = service.container(inside[0], "keyservice")
    with suppress(SealServeError, ValueError):
        ran = container.run(
            *("sealserve", "audit", "search", *words, "--config", config), seconds=_AUDIT_SECONDS
        )
        if ran.code == 0:
            records = rows(json.loads(ran.output), "records")
            return tuple(table(each, "record") for each in records if at(each, "record"))
    return None
