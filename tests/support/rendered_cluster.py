"""What is rendered for Kubernetes, built again as kubectl and Helm would: from the files alone.

Kustomize's part is `resources`, JSON patches (RFC 6902: add, remove, replace) and deletions;
Helm's is the three forms in which a value stands in our charts.
"""

from __future__ import annotations

import copy
import json
import re
from functools import cache
from pathlib import PurePosixPath
from typing import Any

import yaml

from sealserve.deploy.description.model import Description
from sealserve.deploy.description.reading import check_description
from sealserve.deploy.description.writing import Answers, describe
from sealserve.deploy.kubernetes.objects import all_objects
from sealserve.deploy.kubernetes.render import plan_for, render
from sealserve.deploy.kubernetes.targets import TARGETS

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
Object = dict[str, Any]
Key = tuple[str, str]

EVERYTHING = """
[kubernetes]
namespace = "models"
registry = "registry.example.com:5000/ml"
tag = "7"
storage_class = "azurefile-csi"
state_class = "managed-csi"
device_group = 106
aesm_image = "registry.example.com:5000/aesmd:2.26"
max_replicas = 9
requests_in_flight = 16
edges = ["nginx", "ingress-nginx", "gateway"]
gateway = "gateways/public"
key_service_outside = ["192.0.2.7", "192.0.2.8"]
"""
INSIDE = """
[kubernetes]
max_replicas = 2
cluster_domain = "cluster.example"
resolver = "10.96.0.10"
edges = ["gateway"]
gateway = "gateways/public"
key_service_inside = true
"""
SEVERAL = """
[kubernetes]
edges = []
key_service_inside = true
key_service_database = "postgresql://keyservice@db.databases.svc:5433/keys"
key_service_replicas = 3
"""
ALIAS = """
[kubernetes]
edges = []
key_service_outside = ["keys.example.com"]
"""


def load(text: str) -> Any:
    return yaml.load(text, Loader=LOADER)


def load_all(text: str) -> list[Object]:
    return list(yaml.load_all(text, Loader=LOADER))


def read(text: str) -> Description:
    checked = check_description(text)
    assert checked.description is not None, checked.findings
    return checked.description


def described(table: str = "", **answers: Any) -> Description:
    return read(describe(Answers(**answers)) + table)


DESCRIPTIONS = {
    "plain": described(),
    "everything": described(
        EVERYTHING,
        cloud="azure",
        kind="sealserve",
        tls="mutual",
        key_service="keys.models.svc:4433",
    ),
    "inside": described(INSIDE, key_service="keys.digits.svc.cluster.example:4433"),
    "several": described(SEVERAL, kind="sealserve", key_service="keys.digits.svc:4433"),
    "alias": read(
        describe(Answers(cloud="alibaba", key_service="keys.digits.svc:443")).replace(
            "8500", "8501"
        )
        + ALIAS
    ),
}
RENDERINGS = [(name, target) for name in DESCRIPTIONS for target in TARGETS]


@cache
def objects(name: str, target: str) -> list[Object]:
    """All objects of one rendering, in their order; not to be changed."""
    return objects_of(DESCRIPTIONS[name], target)


def objects_of(description: Description, target: str) -> list[Object]:
    plan = plan_for(description, TARGETS[target])
    return [each for found in all_objects(plan).values() for each in found]


def key(found: Object) -> Key:
    return found["kind"], found["metadata"]["name"]


def by_key(found: list[Object]) -> dict[Key, Object]:
    assert len({key(each) for each in found}) == len(found)
    return {key(each): each for each in found}


def texts(description: Description) -> dict[str, str]:
    return {name: data.decode() for name, data in render(description).files.items()}


def kustomized(files: dict[str, str], folder: str) -> list[Object]:
    """What `kubectl kustomize FOLDER` builds."""
    kustomization = load(files[f"{folder}/kustomization.yaml"])
    found: list[Object] = []
    for name in kustomization["resources"]:
        path = _joined(folder, name)
        inner = f"{path}/kustomization.yaml" in files
        found += kustomized(files, path) if inner else list(load_all(files[path]))
    for patch in kustomization.get("patches", []):
        if "path" in patch:
            target = patch["target"]["kind"], patch["target"]["name"]
            index = [key(each) for each in found].index(target)
            operations = load(files[f"{folder}/{patch['path']}"])
            found[index] = patched(found[index], operations)
        else:
            deletion = load(patch["patch"])
            assert deletion["$patch"] == "delete"
            found = [each for each in found if key(each) != key(deletion)]
    return found


def patched(found: Object, operations: list[Object]) -> Object:
    """RFC 6902, as far as it is used."""
    result = copy.deepcopy(found)
    for operation in operations:
        *parents, last = (
            part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]
        )
        place: Any = result
        for part in parents:
            place = place[int(part)] if isinstance(place, list) else place[part]
        if isinstance(place, list):
            assert operation["op"] in ("add", "replace")
            if last == "-":
                place.append(operation["value"])
            else:
                place[int(last)] = operation["value"]
        elif operation["op"] == "remove":
            del place[last]
        else:
            assert (last in place) == (operation["op"] == "replace")
            place[last] = operation["value"]
    return result


def _joined(folder: str, name: str) -> str:
    parts: list[str] = []
    for part in PurePosixPath(f"{folder}/{name}").parts:
        parts = parts[:-1] if part == ".." else [*parts, part]
    return "/".join(parts)


ACTION = re.compile(r"\{\{ \.Values\.([A-Za-z.]+)( \| quote| \| toJson)? \}\}")


def helm_template(files: dict[str, str], chart: str, values: Object | None = None) -> str:
    """What `helm template` makes of a chart of ours, as one text."""
    given = values or load(files[f"{chart}/values.yaml"])

    def value(action: re.Match[str]) -> str:
        found: Any = given
        for part in action[1].split("."):
            found = found[part]
        return json.dumps(found) if action[2] else str(found)

    names = [name for name in files if name.startswith(f"{chart}/templates/")]
    return "---\n".join(ACTION.sub(value, files[name]) for name in names)
