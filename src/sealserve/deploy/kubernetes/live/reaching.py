"""The way of this machine's own requests to a service: as clients go, or through the API server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from sealserve.deploy.kubernetes.live.pods import forwarded
from sealserve.deploy.kubernetes.live.service import Service
from sealserve.deploy.kubernetes.plan import Component, Object
from sealserve.errors import NetworkError
from sealserve.hosts import Address

_READY: Final = "Ready"


def is_ready(pod: Object) -> bool:
    """Whether a pod is ready and not on its way out."""
    conditions: list[Any] = pod.get("status", {}).get("conditions", [])
    ready = any(each["type"] == _READY and each["status"] == "True" for each in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]


@contextmanager
def reached(service: Service) -> Iterator[tuple[Address, str]]:
    """An address that leads to the service, and how: its load balancer, or a pod of its edge.

    Where the edge is not ours, a server itself is reached. Raises NetworkError where there is none.
    """
    balancer = _balancer(service)
    if balancer is not None:
        yield balancer, "the edge's load balancer"
        return
    component: Component = (
        "edge" if "nginx" in service.plan.description.kubernetes.edges else "server"
    )
    ready = [pod for pod in service.pods(component) if is_ready(pod)]
    if not ready:
        raise NetworkError(f"no pod of {service.plan.named(component)} is ready")
    name = str(ready[-1]["metadata"]["name"])
    with forwarded(service.cluster, service.namespace, name, service.plan.port) as address:
        yield address, f"the pod {name}, through the API server"


def _balancer(service: Service) -> Address | None:
    """Where the cloud's load balancer listens, once there is one."""
    found = service.find("Service", service.plan.named("edge"))
    given: list[Any] = (found or {}).get("status", {}).get("loadBalancer", {}).get("ingress") or []
    for each in given:
        if host := each.get("ip") or each.get("hostname"):
            return Address(str(host), service.plan.port)
    return None
