"""What was seen of a service on a real cluster (Kubernetes 1.34) while one thing was broken.

`healthy.json` has all objects; each other file has what differed from it, and what was gone. Fields
that nothing reads were left out, and names were made those of the description of `described()`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from rendered_cluster import Object, described
from sealserve.deploy.kubernetes.live.seen import Seen
from sealserve.deploy.kubernetes.plan import Plan
from sealserve.deploy.kubernetes.render import plan_for
from sealserve.deploy.kubernetes.targets import find_target

FOLDER = Path(__file__).parent.parent / "data" / "kubernetes"
HEALTHY = "healthy"


def names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.json"))


@cache
def plan(target: str = "lab") -> Plan:
    return plan_for(described(), find_target(target))


def recorded(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_text())


def seen(name: str, *, target: str = "lab", logs: dict[str, str] | None = None) -> Seen:
    """What was seen under that name; `logs` are put in the place of logs that end so."""
    found = recorded(name)
    return Seen(
        plan(target),
        datetime.fromisoformat(found["now"]),
        _objects(found),
        {key: _replaced(key, log, logs or {}) for key, log in found["logs"].items()},
        found["decisions"],
    )


def failing(found: Seen) -> Object:
    """The pod of a server that is not ready."""
    (pod,) = (each for each in found.pods("server") if not _ready(each))
    return pod


def _objects(found: Any) -> Sequence[Object]:
    whole = {_key(each): each for each in recorded(HEALTHY)["objects"] if "metadata" in each}
    for key in map(tuple, found["absent"]):
        whole.pop(key, None)
    events = [each for each in found["objects"] if each["kind"] == "Event"]
    whole |= {_key(each): each for each in found["objects"] if each["kind"] != "Event"}
    return [*whole.values(), *events]


def _key(found: Object) -> tuple[str, str]:
    return found["kind"], found["metadata"]["name"]


def _replaced(key: str, log: str, logs: dict[str, str]) -> str:
    return next((text for end, text in logs.items() if key.endswith(end)), log)


def _ready(pod: Object) -> bool:
    conditions = pod["status"].get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
