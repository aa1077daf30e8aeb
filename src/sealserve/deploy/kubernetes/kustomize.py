"""A Kustomize base and overlays, from the objects of each target.

The base has what all clusters have in common. An overlay is reckoned from it: objects that only the
target has are its resources, and what differs is a JSON patch (RFC 6902) for each object, so that
base and patches give exactly the target's objects. Source: Kustomize, `patches` with `target` and
`options`; `$patch: delete`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from sealserve.deploy.kubernetes.objects import all_objects, heading
from sealserve.deploy.kubernetes.plan import Object, Plan
from sealserve.deploy.yaml_text import to_document, to_documents

_KIND: Final = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
_FILE: Final = "kustomization.yaml"
Key = tuple[str, str]


def base_files(plan: Plan) -> dict[str, str]:
    """The base, each file by its path."""
    found = all_objects(plan)
    files = {
        f"{name}.yaml": to_documents(each, heading(plan, name)) for name, each in found.items()
    }
    kustomization = {**_KIND, "resources": list(files)}
    return {_FILE: to_document(kustomization, heading(plan)), **files}


def overlay_files(base: Plan, plan: Plan) -> dict[str, str]:
    """The overlay of `plan`'s target on the base of `base`."""
    below, wanted = _by_key(base), _by_key(plan)
    files: dict[str, str] = {}
    patches: list[Object] = []
    for key, before in below.items():
        if key not in wanted:
            patches.append({"patch": _deletion(before)})
        elif operations := list(difference(before, wanted[key])):
            path = f"patches/{'-'.join(filter(None, key)).lower()}.yaml"
            files[path] = to_document(operations, heading(plan))
            patches.append(_patch(before, wanted[key], path))
    added = [found for key, found in wanted.items() if key not in below]
    if added:
        files["added.yaml"] = to_documents(added, heading(plan))
    kustomization = {
        **_KIND,
        "resources": ["../../base", *(["added.yaml"] if added else [])],
        **({"patches": patches} if patches else {}),
    }
    return {_FILE: to_document(kustomization, heading(plan)), **files}


def difference(before: Any, after: Any, path: str = "") -> Iterator[Object]:
    """The operations that make `after` of `before`; a list that shrinks is replaced whole."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in {**before, **after}:
            place = f"{path}/{name.replace('~', '~0').replace('/', '~1')}"
            if name not in after:
                yield {"op": "remove", "path": place}
            elif name not in before:
                yield {"op": "add", "path": place, "value": after[name]}
            else:
                yield from difference(before[name], after[name], place)
    elif isinstance(before, list) and isinstance(after, list) and len(before) <= len(after):
        for index, old in enumerate(before):
            yield from difference(old, after[index], f"{path}/{index}")
        for new in after[len(before) :]:
            yield {"op": "add", "path": f"{path}/-", "value": new}
    elif before != after:
        yield {"op": "replace", "path": path, "value": after}


def _patch(before: Object, after: Object, path: str) -> Object:
    name = before["metadata"]["name"]
    renamed = {"options": {"allowNameChange": True}} if name != after["metadata"]["name"] else {}
    return {"target": {"kind": before["kind"], "name": name}, "path": path, **renamed}


def _by_key(plan: Plan) -> dict[Key, Object]:
    """Objects by kind and what their name has beside the plan's own."""
    found = {}
    for each in (each for objects in all_objects(plan).values() for each in objects):
        name = each["metadata"]["name"]
        if each["kind"] == "Namespace":
            name = ""
        elif name == plan.name or name.startswith(f"{plan.name}-"):
            name = name[len(plan.name) + 1 :]
        found[each["kind"], name] = each
    return found


def _deletion(found: Object) -> str:
    metadata = {name: found["metadata"][name] for name in ("name", "namespace")}
    named = {"apiVersion": found["apiVersion"], "kind": found["kind"], "metadata": metadata}
    return to_document({"$patch": "delete", **named}, ())
