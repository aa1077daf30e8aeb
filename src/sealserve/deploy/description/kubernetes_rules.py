"""What must hold between `[kubernetes]` and the rest of a description, and what is doubtful there.

The enclave asks the key service under the measured name, and nothing outside can give that name
another meaning in it: so a Service can stand for a key service only where that name is a Service's.
Source: Kubernetes, "DNS for Services and Pods".
"""

from __future__ import annotations

from collections.abc import Iterator

from sealserve.deploy.description.doubt import Doubt
from sealserve.deploy.description.model import Description
from sealserve.hosts import parse_address


def namespace(description: Description) -> str:
    """The namespace on hardware."""
    return description.kubernetes.namespace or description.cluster


def key_service_name(description: Description) -> str | None:
    """The name of the Service in our namespace by which the enclave asks the key service, if any.

    `NAME.NAMESPACE.svc`, with or without the cluster's domain behind it.
    """
    host = parse_address(description.key_service.address).host
    host = host.removesuffix(f".{description.kubernetes.cluster_domain}")
    name, _, rest = host.partition(".")
    return name if rest == f"{namespace(description)}.svc" else None


def kubernetes_contradictions(description: Description) -> Iterator[Doubt]:
    """What cannot be rendered: each a fault."""
    table = description.kubernetes
    if 0 < table.max_replicas < description.replicas:
        yield Doubt(
            ("kubernetes", "max_replicas"),
            "fewer-at-most",
            f"at most {table.max_replicas} replicas, and {description.replicas} at least",
            "max_replicas = 0, or not less than replicas",
        )
    if "gateway" in table.edges and not table.gateway:
        yield Doubt(
            ("kubernetes", "edges"),
            "no-gateway",
            "a TLSRoute is for a Gateway, and none is named",
            'gateway = "NAMESPACE/NAME"',
        )
    yield from _key_service(description)
    if table.key_service_replicas > 1 and not table.key_service_database:
        yield Doubt(
            ("kubernetes", "key_service_replicas"),
            "copies-of-a-file",
            f"{table.key_service_replicas} copies of the key service cannot share the file of "
            "SQLite",
            'key_service_database = "postgresql://USER@HOST/DATABASE", or key_service_replicas = 1',
        )


def _key_service(description: Description) -> Iterator[Doubt]:
    table = description.kubernetes
    if not table.key_service_inside and not table.key_service_outside:
        return
    place = "key_service_inside" if table.key_service_inside else "key_service_outside"
    if table.key_service_inside and table.key_service_outside:
        yield Doubt(
            ("kubernetes", "key_service_outside"),
            "key-service-twice",
            "the key service is said to be inside the cluster and outside",
            "say one of the two",
        )
    name = key_service_name(description)
    expected = f"NAME.{namespace(description)}.svc"
    if name is None:
        yield Doubt(
            ("kubernetes", place),
            "no-service-name",
            f"the enclave asks {description.key_service.address}, which is not the name of a "
            f"Service in the namespace {namespace(description)}",
            f'address = "{expected}:4433" in [key_service], and a certificate for that name',
        )
    elif not name[0].isalpha():
        yield Doubt(
            ("key_service", "address"),
            "service-name",
            f"{name} is no name of a Service, which begins with a letter",
            f'address = "keys.{namespace(description)}.svc:4433"',
        )
    elif name == description.cluster or name.startswith(f"{description.cluster}-"):
        yield Doubt(
            ("key_service", "address"),
            "service-name-taken",
            f"the Service {name} is, or may be, one of the server's own",
            f"another name, such as keys.{namespace(description)}.svc",
        )


def kubernetes_doubts(description: Description) -> Iterator[Doubt]:
    """What may be meant, and is worth a look."""
    table = description.kubernetes
    if table.key_service_inside:
        yield Doubt(
            ("kubernetes", "key_service_inside"),
            "key-service-on-the-platform",
            "the key service runs on the nodes whose owner is not to have the keys",
            "a cluster of the model's owner, or key_service_outside",
        )
    yield from _database(description)
    if table.requests_in_flight:
        yield Doubt(
            ("kubernetes", "requests_in_flight"),
            "no-metrics-in-enclaves",
            "metrics are on REST, which no enclave serves: the lab's overlay alone will use them",
            "requests_in_flight = 0, unless it is for the lab",
        )
    if "ingress-nginx" in table.edges:
        yield Doubt(
            ("kubernetes", "edges"),
            "retired-ingress",
            "ingress-nginx was retired in March 2026: faults in it are mended no more",
            'edges = ["nginx"], or "gateway" where there is a Gateway that passes TLS through',
        )
    if table.gateway and "gateway" not in table.edges:
        yield Doubt(
            ("kubernetes", "gateway"),
            "gateway-unused",
            f"the Gateway {table.gateway} is named, and no TLSRoute is rendered for it",
            'edges = ["gateway"]',
        )
    if not table.edges:
        yield Doubt(
            ("kubernetes", "edges"),
            "no-edge",
            "nothing leads clients from outside the cluster in",
            'edges = ["nginx"]',
        )


def _database(description: Description) -> Iterator[Doubt]:
    table = description.kubernetes
    if table.key_service_database and not table.key_service_inside:
        yield Doubt(
            ("kubernetes", "key_service_database"),
            "database-unused",
            "the key service is not in the cluster: the lab's overlay alone will use the database",
            "key_service_inside = true, unless it is for the lab",
        )
    if table.key_service_database and table.key_service_replicas == 1:
        yield Doubt(
            ("kubernetes", "key_service_replicas"),
            "one-key-service",
            "one copy: while it starts or moves, no enclave is given its key",
            "key_service_replicas = 2",
        )
