"""The objects around pods that every component has: Deployment, account, budget, Services.

A Deployment never has fewer pods than before while it changes, unless its strategy says so.
Source: Kubernetes, API reference: apps/v1, policy/v1 (`unhealthyPodEvictionPolicy`: 1.31), v1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sealserve.deploy.kubernetes.plan import Component, Object, Plan
from sealserve.deploy.kubernetes.pods import Pod

ROLLING: Final = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
RECREATE: Final = {"type": "Recreate"}


def deployment(
    plan: Plan,
    component: Component,
    pod: Pod,
    *,
    strategy: Object,
    name: str | None = None,
    replicas: Any = None,
    annotations: Mapping[str, str] | None = None,
    progress_seconds: int = 600,
) -> Object:
    """A Deployment; without `replicas` something else says how many."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": plan.metadata(name or plan.named(component), component),
        "spec": {
            **({} if replicas is None else {"replicas": replicas}),
            "revisionHistoryLimit": 5,
            "progressDeadlineSeconds": progress_seconds,
            "strategy": strategy,
            "selector": {"matchLabels": plan.selector(component)},
            "template": pod.template(plan, component, annotations),
        },
    }


def account(plan: Plan, component: Component) -> Object:
    """A ServiceAccount that nobody can act as: it has no token."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": plan.metadata(plan.named(component), component),
        "automountServiceAccountToken": False,
    }


def disruption_budget(plan: Plan, component: Component) -> Object:
    """One at a time is moved away; who never became ready may go at any time."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": plan.metadata(plan.named(component), component),
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": plan.selector(component)},
        },
    }


def service(
    plan: Plan, name: str, component: Component, ports: Sequence[tuple[str, int]], **rest: Any
) -> Object:
    """A Service of a component's pods."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": plan.metadata(name, component),
        "spec": {
            **rest,
            "selector": plan.selector(component),
            "ports": [
                {"name": called, "port": number, "targetPort": called, "protocol": "TCP"}
                for called, number in ports
            ],
        },
    }
