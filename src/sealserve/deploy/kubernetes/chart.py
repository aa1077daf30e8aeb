"""A Helm chart of a target's objects, with the few values open that operators change.

Every chart is for one kind of cluster: the lab's is another chart, with another name and namespace.
Objects name their namespace, which the chart makes. Source: Helm, "Charts", "Schema Files".
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Final

from sealserve import __version__
from sealserve.deploy.kubernetes.choices import marks, values_document, with_actions
from sealserve.deploy.kubernetes.objects import all_objects, heading
from sealserve.deploy.kubernetes.plan import DIGEST, Plan
from sealserve.deploy.yaml_text import to_document, to_documents

_OLDEST: Final = ">=1.30.0-0"  # preStop's sleep, sidecars
_TYPES: Final[dict[type, Any]] = {int: "integer", str: "string", list: "array"}
_SPELT: Final = {"cpu": ["integer", "string"]}  # 4, or "500m"


def chart_files(plan: Plan) -> dict[str, str]:
    """The chart, each file by its path."""
    files = {}
    used: frozenset[str] = frozenset()
    for name, objects in all_objects(replace(plan, choices=marks())).items():
        text, found = with_actions(to_documents(objects, heading(plan, name)), plan.choices)
        files[f"templates/{name}.yaml"] = text
        used |= found
    values = values_document(used, plan.choices)
    schema = {"$schema": "https://json-schema.org/draft-07/schema#", **_schema(values)}
    return {
        "Chart.yaml": to_document(_about(plan), heading(plan)),
        "values.yaml": to_document(values, heading(plan)),
        "values.schema.json": json.dumps(schema, indent=2) + "\n",
        **files,
    }


def _about(plan: Plan) -> dict[str, Any]:
    simulated = "SIMULATED: " if plan.target.simulated else ""
    return {
        "apiVersion": "v2",
        "name": plan.name,
        "description": f"{simulated}{plan.description.domain}, served by SealServe.",
        "type": "application",
        "version": __version__,
        "appVersion": __version__,
        "kubeVersion": _OLDEST,
        "annotations": {DIGEST: plan.description.digest},
    }


def _schema(values: dict[str, Any]) -> dict[str, Any]:
    """What `--set` may change: these values, and no misspelt one."""
    properties = {
        name: _schema(value)
        if isinstance(value, dict)
        else {"type": _SPELT.get(name, _TYPES[type(value)])}
        for name, value in values.items()
    }
    return {"type": "object", "additionalProperties": False, "properties": properties}
