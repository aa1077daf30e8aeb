"""Everything for Kubernetes from one description: the same description, the same bytes.

Nothing is written here, and no cluster is asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sealserve.deploy.description.model import Description
from sealserve.deploy.kubernetes.chart import chart_files
from sealserve.deploy.kubernetes.choices import choices
from sealserve.deploy.kubernetes.kustomize import base_files, overlay_files
from sealserve.deploy.kubernetes.plan import Plan
from sealserve.deploy.kubernetes.server import MONITORING_CONFIG
from sealserve.deploy.kubernetes.targets import BASE, TARGETS, Target

BASE_FOLDER: Final = "kustomize/base"
OVERLAYS_FOLDER: Final = "kustomize/overlays"
CHARTS_FOLDER: Final = "charts"
_MONITORING: Final = 'prometheus_config { enable: true, path: "/monitoring/prometheus/metrics" }\n'


@dataclass(frozen=True, slots=True)
class Rendered:
    """Files by their paths; `to_seal` are those that the server takes sealed alone."""

    files: dict[str, bytes]
    to_seal: tuple[str, ...]


def plan_for(description: Description, target: Target) -> Plan:
    """The plan of a description for one target; ConfigError where no enclave is large enough."""
    return Plan(description, target, choices(description, simulated=target.simulated))


def render(description: Description) -> Rendered:
    """Base, overlays and charts; ConfigError where no enclave is large enough."""
    base = plan_for(description, BASE)
    texts = {f"{BASE_FOLDER}/{name}": text for name, text in base_files(base).items()}
    for target in TARGETS.values():
        plan = plan_for(description, target)
        folder = f"{OVERLAYS_FOLDER}/{target.name}"
        texts |= {f"{folder}/{name}": text for name, text in overlay_files(base, plan).items()}
        folder = f"{CHARTS_FOLDER}/{target.name}"
        texts |= {f"{folder}/{name}": text for name, text in chart_files(plan).items()}
    sealed = f"to-seal/{MONITORING_CONFIG}"
    if description.kubernetes.requests_in_flight:
        texts[sealed] = _MONITORING
    files = {name: text.encode() for name, text in texts.items()}
    return Rendered(files, (sealed,) if sealed in files else ())
