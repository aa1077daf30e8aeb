"""NetworkPolicies as a cluster's network applies them: who may open a connection to whom.

A pod that an Ingress or Egress policy selects is opened only by what some such policy allows, and a
connection needs both ends to agree. Source: Kubernetes, "Network Policies".
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]


@dataclass(frozen=True)
class End:
    """A pod, with its labels and those of its namespace; or, without a namespace, an address."""

    namespace: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    namespace_labels: dict[str, str] = field(default_factory=dict)
    address: str = ""

    @property
    def is_pod(self) -> bool:
        return bool(self.namespace)


def allowed(policies: list[Object], source: End, target: End, port: int, kind: str = "TCP") -> bool:
    """Whether a connection from `source` to a port of `target` can be opened."""
    return _agrees(policies, "Egress", source, target, port, kind) and _agrees(
        policies, "Ingress", target, source, port, kind
    )


def _agrees(policies: list[Object], way: str, end: End, other: End, port: int, kind: str) -> bool:
    if not end.is_pod:
        return True
    mine = [
        policy
        for policy in policies
        if policy["metadata"]["namespace"] == end.namespace
        and way in policy["spec"]["policyTypes"]
        and _matches(policy["spec"]["podSelector"], end.labels)
    ]
    peers = "to" if way == "Egress" else "from"
    rules = [(policy, rule) for policy in mine for rule in policy["spec"].get(way.lower(), [])]
    return not mine or any(
        _port(rule, port, kind)
        and (
            peers not in rule
            or any(_peer(peer, policy["metadata"]["namespace"], other) for peer in rule[peers])
        )
        for policy, rule in rules
    )


def _port(rule: Object, port: int, kind: str) -> bool:
    return "ports" not in rule or any(
        each["port"] == port and each["protocol"] == kind for each in rule["ports"]
    )


def _peer(peer: Object, namespace: str, other: End) -> bool:
    if "ipBlock" in peer:
        return _block(peer["ipBlock"], other)
    if not other.is_pod:
        return False
    if "namespaceSelector" in peer:
        names = {"kubernetes.io/metadata.name": other.namespace, **other.namespace_labels}
        if not _matches(peer["namespaceSelector"], names):
            return False
    elif other.namespace != namespace:
        return False
    return _matches(peer.get("podSelector", {}), other.labels)


def _block(block: Object, other: End) -> bool:
    if not other.address:
        return False
    address = ipaddress.ip_address(other.address)
    return address in ipaddress.ip_network(block["cidr"]) and not any(
        address in ipaddress.ip_network(each) for each in block.get("except", [])
    )


def _matches(selector: Object, labels: dict[str, str]) -> bool:
    return bool(selector.get("matchLabels", {}).items() <= labels.items())
