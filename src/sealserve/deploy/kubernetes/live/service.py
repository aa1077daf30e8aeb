"""One service in one cluster: what its description plans, and where to ask for what there is."""

from __future__ import annotations

from dataclasses import dataclass

from sealserve.deploy.kubernetes.live.api import Cluster
from sealserve.deploy.kubernetes.live.pods import Container
from sealserve.deploy.kubernetes.plan import Component, Object, Plan


@dataclass(frozen=True, slots=True)
class Service:
    """What all that is asked of a running service is asked through."""

    plan: Plan
    cluster: Cluster

    @property
    def namespace(self) -> str:
        """Where all of it is."""
        return self.plan.namespace

    def find(self, kind: str, name: str) -> Object | None:
        """An object in our namespace, or None."""
        return self.cluster.find(kind, name, self.namespace)

    def pods(self, component: Component) -> list[Object]:
        """The pods of a component, those on their way out too, oldest first."""
        wanted = self.plan.selector(component).items()
        labels = ",".join(f"{name}={value}" for name, value in wanted)
        found = self.cluster.every("Pod", self.namespace, labels=labels)
        return sorted(found, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))

    def container(self, pod: Object, name: str) -> Container:
        """A container of a pod."""
        return Container(self.cluster, self.namespace, str(pod["metadata"]["name"]), name)
