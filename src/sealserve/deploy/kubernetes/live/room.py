"""How many more pods the nodes have enclave memory for: counted from what they and pods say.

A node tells what it can give (`allocatable`); what its pods have asked for is taken from it, as the
scheduler does. Each pod is whole on one node, so the nodes are counted one by one. Source:
Kubernetes, "Reserve Compute Resources for System Daemons", Node Allocatable; "Extended Resources".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from sealserve.deploy.kubernetes.live.fields import Object, at, name, rows, table, text
from sealserve.deploy.kubernetes.live.quantities import parse
from sealserve.deploy.kubernetes.targets import Target

ENDED = ("Succeeded", "Failed")


def needed(target: Target, template: Object) -> dict[str, Decimal]:
    """What a pod of a template asks for of the target's devices: EPC, and the enclave's device."""
    names = target.epc(1) if target.epc else {}
    found: dict[str, Decimal] = {}
    for each in names:
        amount = _asked(table(template, "spec"), each)
        if amount:
            found[each] = amount
    return found


def room(
    need: Mapping[str, Decimal], nodes: Iterable[Object], pods: Iterable[Object]
) -> int | None:
    """How many more pods fit; None where no node tells, or nothing is needed."""
    telling = [node for node in nodes if need and _tells(node, need) and _open(node)]
    if not telling:
        return None
    there = [pod for pod in pods if text(pod, "status", "phase") not in ENDED]
    return sum(_fit(need, node, there) for node in telling)


def _fit(need: Mapping[str, Decimal], node: Object, pods: list[Object]) -> int:
    own = [pod for pod in pods if text(pod, "spec", "nodeName") == name(node)]
    counts = []
    for resource, amount in need.items():
        given = parse(at(node, "status", "allocatable", resource))
        taken = sum((_asked(table(pod, "spec"), resource) for pod in own), Decimal(0))
        counts.append(max(0, int((given - taken) // amount)))
    return min(counts)


def _asked(specification: Object, resource: str) -> Decimal:
    """What a pod asks for: its containers together, or one that runs before them, if that is more.

    Of an extended resource, limits and requests are equal.
    """

    def sum_of(containers: list[Object]) -> list[Decimal]:
        return [parse(at(each, "resources", "limits", resource)) for each in containers]

    first = sum_of(rows(specification, "initContainers"))
    return max([sum(sum_of(rows(specification, "containers")), Decimal(0)), *first])


def _tells(node: Object, need: Mapping[str, Decimal]) -> bool:
    given = table(node, "status", "allocatable")
    return all(each in given for each in need)


def _open(node: Object) -> bool:
    return not at(node, "spec", "unschedulable")
