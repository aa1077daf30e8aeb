"""A description for one kind of cluster: names, labels, addresses, all that objects share.

What is simulated has a namespace and names of its own, and the kind of its evidence among the
labels by which pods are selected, which no API server lets change: neither kind can be laid over
the other. Source: Kubernetes, "Recommended Labels", "DNS for Services and Pods".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final, Literal, get_args

from sealserve.deploy.description.database import Database, parse_database
from sealserve.deploy.description.kubernetes_rules import key_service_name, namespace
from sealserve.deploy.description.model import Description
from sealserve.deploy.images.roles import KEY_SERVICE, PROXY, SERVER, TENSORFLOW, Role
from sealserve.deploy.kubernetes.choices import Choices
from sealserve.deploy.kubernetes.targets import Target
from sealserve.hosts import parse_address, parse_ip

Component = Literal["server", "edge", "keyservice"]
COMPONENTS: Final[tuple[Component, ...]] = get_args(Component)
Object = dict[str, Any]

DIGEST: Final = "sealserve.io/description"
EVIDENCE: Final = "sealserve.io/evidence"
NOTICE: Final = "sealserve.io/notice"
CLIENT: Final = "sealserve.io/client"  # a label of pods that may connect to servers themselves
MONITORING: Final = "sealserve.io/monitoring"  # a label of namespaces that may read metrics
SIMULATED: Final = "SIMULATED: a lab stands in for SGX; nobody vouches for any enclave here"
KEEP: Final = {"helm.sh/resource-policy": "keep"}  # `helm uninstall` takes no data away
_SUFFIX: Final = "-simulated"
_DATABASE_SUFFIX: Final = "_simulated"  # a hyphen would need quotes in SQL


@dataclass(frozen=True, slots=True)
class Plan:
    """What is rendered: the description, where it is to run, and what is left to choose."""

    description: Description
    target: Target
    choices: Choices

    @property
    def name(self) -> str:
        """What every name begins with."""
        return f"{self.description.cluster}{_SUFFIX if self.target.simulated else ''}"

    @property
    def namespace(self) -> str:
        """Where all of it is."""
        return f"{namespace(self.description)}{_SUFFIX if self.target.simulated else ''}"

    @property
    def server_role(self) -> Role:
        """The image of the servers; the lab has no Gramine, which the stock server needs."""
        ours = self.target.simulated or self.description.server.kind == "sealserve"
        return SERVER if ours else TENSORFLOW

    @property
    def port(self) -> int:
        """Of the servers and of the edge."""
        return self.description.server.port

    @property
    def autoscaled(self) -> bool:
        """Whether autoscaling decides how many servers there are."""
        return self.description.kubernetes.max_replicas != self.description.replicas

    @property
    def key_service_port(self) -> int:
        """Where it is asked; in its pod it listens at a port that needs no privilege."""
        return parse_address(self.description.key_service.address).port

    @property
    def key_service_inside(self) -> bool:
        """Whether it is rendered; the lab has none but its own."""
        return self.target.simulated or self.description.kubernetes.key_service_inside

    @property
    def key_service(self) -> str:
        """The name of its Service, where it has one."""
        return key_service_name(self.description) or "keys"

    @property
    def key_service_database(self) -> Database | None:
        """Where several copies of it have their database; None for one copy on SQLite."""
        text = self.description.kubernetes.key_service_database
        if not text:
            return None
        database = parse_database(text)
        suffix = _DATABASE_SUFFIX if self.target.simulated else ""
        return replace(database, name=f"{database.name}{suffix}")

    @property
    def quotes_beside(self) -> bool:
        """Whether AESM runs in a container beside each server."""
        return self.target.epc is not None and bool(self.description.kubernetes.aesm_image)

    @property
    def quotes_from_node(self) -> bool:
        """Whether servers are given the folder of the node's AESM."""
        return self.target.epc is not None and not self.description.kubernetes.aesm_image

    @property
    def resolver(self) -> str:
        """The cluster's DNS service: a name or an address."""
        table = self.description.kubernetes
        return table.resolver or f"kube-dns.kube-system.svc.{table.cluster_domain}"

    def named(self, what: str) -> str:
        """The name of one of its objects."""
        return f"{self.name}-{what}"

    def host(self, service: str) -> str:
        """The full name of a Service in our namespace."""
        return f"{service}.{self.namespace}.svc.{self.description.kubernetes.cluster_domain}"

    def image(self, role: Role) -> str:
        """The reference of an image."""
        return f"{self.choices.image_prefix}{role.image}:{self.choices.image_tag}"

    @property
    def labels(self) -> dict[str, str]:
        """What every object has."""
        return {
            "app.kubernetes.io/name": "sealserve",
            "app.kubernetes.io/instance": self.name,
            EVIDENCE: self.target.evidence,
        }

    def selector(self, component: Component) -> dict[str, str]:
        """The labels that make up a component."""
        return {**self.labels, "app.kubernetes.io/component": component}

    def metadata(
        self,
        name: str,
        component: Component | None = None,
        *,
        annotations: dict[str, str] | None = None,
    ) -> Object:
        """The metadata of an object in our namespace."""
        return {
            "name": name,
            "namespace": self.namespace,
            "labels": self.labels if component is None else self.selector(component),
            "annotations": {**self.annotations, **(annotations or {})},
        }

    @property
    def annotations(self) -> dict[str, str]:
        """What every object says of where it is from."""
        return {DIGEST: self.description.digest, **self.notice}

    @property
    def notice(self) -> dict[str, str]:
        """What pods and all objects say where nothing is vouched for."""
        return {NOTICE: SIMULATED} if self.target.simulated else {}


def role_of(plan: Plan, component: Component) -> Role:
    """The image of a component."""
    return {"server": plan.server_role, "edge": PROXY, "keyservice": KEY_SERVICE}[component]


def is_address(host: str) -> bool:
    """Whether a host is an IP address."""
    return parse_ip(host) is not None
