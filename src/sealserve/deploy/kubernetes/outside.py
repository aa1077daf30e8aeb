"""A Service that stands for a key service outside the cluster, under a name that is measured.

Source: Kubernetes, "Service" (ExternalName, Services without selectors), "EndpointSlices".
"""

from __future__ import annotations

from sealserve.deploy.kubernetes.plan import Object, Plan, is_address
from sealserve.hosts import parse_ip


def outside_objects(plan: Plan) -> list[Object]:
    """The Service, for a name or for addresses; nothing where there is none outside."""
    outside = plan.description.kubernetes.key_service_outside
    if not outside:
        return []
    return _addresses(plan, outside[0]) if is_address(outside[0]) else [_alias(plan)]


def _alias(plan: Plan) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": plan.metadata(plan.key_service),
        "spec": {"type": "ExternalName", "externalName": plan.choices.key_service_host},
    }


def _addresses(plan: Plan, first: str) -> list[Object]:
    address = parse_ip(first)
    version = 4 if address is None else address.version
    called = {"name": "service", "protocol": "TCP", "port": plan.key_service_port}
    metadata = plan.metadata(plan.key_service)
    metadata["labels"] = {**metadata["labels"], "kubernetes.io/service-name": plan.key_service}
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": plan.metadata(plan.key_service),
            "spec": {"ipFamilies": [f"IPv{version}"], "ports": [called]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": metadata,
            "addressType": f"IPv{version}",
            "ports": [called],
            "endpoints": [{"addresses": plan.choices.key_service_addresses}],
        },
    ]
