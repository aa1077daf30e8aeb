"""Objects against the OpenAPI schemas of Kubernetes, which `kubernetes-validate` brings along.

Its own function reads all definitions anew for every object; here they are read once for each
version. Unknown fields are errors. Gateway API's kinds are no part of Kubernetes: for TLSRoute what
its source demands is written here (kubernetes-sigs/gateway-api v1.6, apis/v1/tlsroute_types.go,
shared_types.go: required fields, limits, patterns of names).
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

import pytest

_NAME = {"type": "string", "minLength": 1, "maxLength": 253}
_LABEL = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63}
_PORT = {"type": "integer", "minimum": 1, "maximum": 65535}


def _table(required: list[str], **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": required,
        "properties": properties,
        "additionalProperties": False,
    }


def _few(items: dict[str, Any], most: int) -> dict[str, Any]:
    return {"type": "array", "minItems": 1, "maxItems": most, "items": items}


TLS_ROUTE = _table(
    ["apiVersion", "kind", "metadata", "spec"],
    apiVersion={"const": "gateway.networking.k8s.io/v1"},
    kind={"const": "TLSRoute"},
    metadata={"type": "object", "required": ["name", "namespace"]},
    spec=_table(
        ["hostnames", "rules"],
        parentRefs=_few(_table(["name"], namespace=_LABEL, name=_NAME), 32),
        hostnames=_few(
            {**_NAME, "pattern": r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9-]+)*$"}, 1024
        ),
        rules=_few(
            _table(["backendRefs"], backendRefs=_few(_table(["name"], name=_NAME, port=_PORT), 16)),
            1,
        ),
    ),
)


def newest_versions(count: int = 3) -> list[str]:
    """The newest minor versions that the package knows, as `1.37`; skips without the package."""
    found = pytest.importorskip(
        "kubernetes_validate", reason="kubernetes-validate is not installed: pip install '.[dev]'"
    )
    versions = found.utils.all_versions()
    return sorted(
        {each.rsplit(".", 1)[0] for each in versions},
        key=lambda each: tuple(map(int, each.split("."))),
    )[-count:]


def complaints(found: dict[str, Any], version: str) -> list[str]:
    """What is wrong with an object, each with its place."""
    validator = _validator(found["apiVersion"], found["kind"], version)
    return [
        f"{found['kind']} {found['metadata']['name']} {'/'.join(map(str, error.absolute_path))}: "
        f"{error.message}"
        for error in validator.iter_errors(found)
    ]


@cache
def _validator(api_version: str, kind: str, version: str) -> Any:
    import jsonschema
    from referencing import Registry, Resource

    draft = jsonschema.validators.Draft202012Validator
    if kind == "TLSRoute":
        return draft(TLS_ROUTE)
    group, _, api = api_version.rpartition("/")
    name = "-".join([kind.lower(), *([group.split(".")[0]] if group else []), api])
    schema = _read(version, f"{name}.json")
    registry: Any = Registry().with_resources(
        [(found["$id"], Resource.from_contents(found)) for found in (schema, _definitions(version))]
    )
    return draft(schema, registry=registry)


@cache
def _definitions(version: str) -> Any:
    return _read(version, "_definitions.json")


def _read(version: str, name: str) -> Any:
    folder = resources.files("kubernetes_validate") / "kubernetes-json-schema"
    return json.loads((folder / f"v{version}.0-local-strict" / name).read_text())
