"""Who may speak to whom: nobody, but for what is listed here.

It holds only where the cluster's network enforces policies (plain flannel does not). The kubelet's
probes are let through by every network. The metadata service of a cloud's machines is closed to all
but AESM on Azure, which gets its certificates there. Source: Kubernetes, "Network Policies".
"""

from __future__ import annotations

from typing import Any, Final

from sealserve.deploy.clouds import load_cloud
from sealserve.deploy.clouds.model import METADATA_HOST
from sealserve.deploy.kubernetes.keyservice import LISTEN_PORT, WATCH_PORT
from sealserve.deploy.kubernetes.plan import (
    CLIENT,
    MONITORING,
    Component,
    Object,
    Plan,
    is_address,
)
from sealserve.deploy.kubernetes.server import rest_port

_NAMESPACE: Final = "kubernetes.io/metadata.name"
_NODE_LOCAL_DNS: Final = "169.254.20.10/32"  # NodeLocal DNSCache, its default address
_INGRESS_NAMESPACE: Final = "ingress-nginx"
_ANYWHERE: Final = [
    {"ipBlock": {"cidr": "0.0.0.0/0", "except": [f"{METADATA_HOST}/32"]}},
    {"ipBlock": {"cidr": "::/0"}},
]


def network_objects(plan: Plan) -> list[Object]:
    """The policies, the one that denies first."""
    found = [_policy(plan, "deny", None, ingress=[], egress=[]), _server(plan)]
    if "nginx" in plan.description.kubernetes.edges:
        found.append(_edge(plan))
    if plan.key_service_inside:
        found.append(_key_service(plan))
    return found


def _server(plan: Plan) -> Object:
    table = plan.description.kubernetes
    callers: list[Any] = [
        {"namespaceSelector": {}, "podSelector": {"matchLabels": {CLIENT: "true"}}}
    ]
    if "nginx" in table.edges:
        callers.append(_pods(plan, "edge"))
    if "ingress-nginx" in table.edges:
        callers.append(_in_namespace(_INGRESS_NAMESPACE))
    if "gateway" in table.edges:
        callers.append(_in_namespace(table.gateway.split("/")[0]))
    ingress = [{"from": callers, "ports": [_tcp(plan.port)]}]
    if rest := rest_port(plan):
        ingress.append({"from": [_MONITORS], "ports": [_tcp(rest)]})
    if plan.key_service_inside:
        keys: Object = {"to": [_pods(plan, "keyservice")], "ports": [_tcp(LISTEN_PORT)]}
    else:
        keys = {"to": _ANYWHERE, "ports": [_tcp(plan.key_service_port)]}
    egress = [_dns(plan), keys]
    if plan.quotes_beside:
        egress.append({"to": _ANYWHERE, "ports": [_tcp(443), _tcp(8081)]})
        if load_cloud(plan.description.cloud).service.local_pck_url:
            metadata = {"ipBlock": {"cidr": f"{METADATA_HOST}/32"}}
            egress.append({"to": [metadata], "ports": [_tcp(80)]})
    return _policy(plan, "server", "server", ingress=ingress, egress=egress)


def _edge(plan: Plan) -> Object:
    return _policy(
        plan,
        "edge",
        "edge",
        ingress=[{"ports": [_tcp(plan.port)]}],
        egress=[_dns(plan), {"to": [_pods(plan, "server")], "ports": [_tcp(plan.port)]}],
    )


def _key_service(plan: Plan) -> Object:
    collateral = {"to": _ANYWHERE, "ports": [_tcp(443)]}
    egress = [] if plan.target.simulated else [_dns(plan), collateral]
    if database := plan.key_service_database:
        host, port = database.address.host, database.address.port
        if not egress and not is_address(host):
            egress.append(_dns(plan))
        egress.append({"to": _place(plan, host), "ports": [_tcp(port)]})
    return _policy(
        plan,
        "keyservice",
        "keyservice",
        ingress=[
            {"from": [_pods(plan, "server")], "ports": [_tcp(LISTEN_PORT)]},
            {"from": [_MONITORS], "ports": [_tcp(WATCH_PORT)]},
        ],
        egress=egress,
    )


_MONITORS: Final = {"namespaceSelector": {"matchLabels": {MONITORING: "true"}}}


def _policy(
    plan: Plan,
    what: str,
    component: Component | None,
    *,
    ingress: list[Any],
    egress: list[Any],
) -> Object:
    selected = {} if component is None else {"matchLabels": plan.selector(component)}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": plan.metadata(plan.named(what), component),
        "spec": {
            "podSelector": selected,
            "policyTypes": ["Ingress", "Egress"],
            **({"ingress": ingress} if ingress else {}),
            **({"egress": egress} if egress else {}),
        },
    }


def _dns(plan: Plan) -> Object:
    """Port 53 of whoever answers for the cluster, and of the cache on the node."""
    host = plan.resolver
    if is_address(host):
        names: list[Any] = [{"ipBlock": {"cidr": f"{host}/{128 if ':' in host else 32}"}}]
        names.append(_in_namespace("kube-system"))
    else:
        parts = host.split(".")
        inside = len(parts) > 2 and parts[2] == "svc"
        names = [_in_namespace(parts[1] if inside else "kube-system")]
    names.append({"ipBlock": {"cidr": _NODE_LOCAL_DNS}})
    return {"to": names, "ports": [{"protocol": "UDP", "port": 53}, _tcp(53)]}


def _place(plan: Plan, host: str) -> list[Any]:
    """Where a host may be: an address, the namespace of a Service, or anywhere."""
    if is_address(host):
        return [{"ipBlock": {"cidr": f"{host}/{128 if ':' in host else 32}"}}]
    parts = host.removesuffix(f".{plan.description.kubernetes.cluster_domain}").split(".")
    return [_in_namespace(parts[-2])] if len(parts) > 2 and parts[-1] == "svc" else _ANYWHERE


def _pods(plan: Plan, component: Component) -> Object:
    return {"podSelector": {"matchLabels": plan.selector(component)}}


def _in_namespace(name: str) -> Object:
    return {"namespaceSelector": {"matchLabels": {_NAMESPACE: name}}}


def _tcp(number: int) -> Object:
    return {"protocol": "TCP", "port": number}
