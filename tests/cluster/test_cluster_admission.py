"""What a real API server makes of everything that is rendered: taken, pods included, or refused."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from real_cluster import Cluster, Object
from rendered_cluster import DESCRIPTIONS, RENDERINGS, by_key, load_all, objects
from sealserve.deploy.kubernetes.render import render
from sealserve.deploy.writing import write_new

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(7200)]

FOREIGN = "gateway.networking.k8s.io"  # an API of a controller's, which this cluster lacks
STRICT = ("--dry-run=server", "--validate=strict", "--output=name")
LAB = ("inside", "lab")


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rendered")
    for name, description in DESCRIPTIONS.items():
        write_new(folder / name, render(description).files)
    return folder


def space_of(cluster: Cluster, found: list[Object]) -> str:
    """Make the namespace of a rendering, which a dry run would leave out."""
    (namespace,) = (each for each in found if each["kind"] == "Namespace")
    cluster.apply(namespace)
    return str(namespace["metadata"]["name"])


def pods(found: list[Object]) -> dict[str, Object]:
    """A pod of each Deployment, as its controller would make it."""
    made = {}
    for each in found:
        if each["kind"] == "Deployment":
            template = copy.deepcopy(each["spec"]["template"])
            name, space = each["metadata"]["name"], each["metadata"]["namespace"]
            template["metadata"] |= {"name": name, "namespace": space}
            made[name] = {"apiVersion": "v1", "kind": "Pod", **template}
    return made


def create(cluster: Cluster, pod: Object) -> Any:
    command = ("create", *STRICT, "--filename=-")
    return cluster.kubectl(*command, check=False, input=json.dumps(pod), stdin=None)


@pytest.mark.parametrize(("name", "target"), RENDERINGS)
def test_kustomize_itself_builds_the_objects_that_are_meant(
    api: Cluster, rendered: Path, name: str, target: str
) -> None:
    folder = rendered / name / "kustomize" / "overlays" / target
    built = load_all(api.kubectl("kustomize", folder).stdout)
    assert by_key(built) == by_key(objects(name, target))


@pytest.mark.parametrize(("name", "target"), RENDERINGS)
def test_the_api_server_takes_every_object_of_every_overlay(
    api: Cluster, rendered: Path, name: str, target: str
) -> None:
    found = objects(name, target)
    space_of(api, found)
    folder = rendered / name / "kustomize" / "overlays" / target
    known = [each for each in found if FOREIGN not in each["apiVersion"]]
    if known == found:
        taken = api.kubectl("apply", *STRICT, "--kustomize", folder)
    else:
        given = json.dumps({"apiVersion": "v1", "kind": "List", "items": known})
        taken = api.kubectl("apply", *STRICT, "--filename=-", input=given, stdin=None)
    assert len(taken.stdout.split()) == len(known)
    assert "would violate PodSecurity" not in taken.stderr


@pytest.mark.parametrize(("name", "target"), RENDERINGS)
def test_pods_are_admitted_to_their_namespace(api: Cluster, name: str, target: str) -> None:
    found = objects(name, target)
    space_of(api, found)
    api.apply(*(each for each in found if each["kind"] == "ServiceAccount"))
    for pod in pods(found).values():
        told = create(api, pod)
        assert told.returncode == 0, told.stderr


REFUSED = {
    "root": ("securityContext", {"runAsUser": 0, "runAsNonRoot": False}),
    "privileged": (
        "securityContext",
        {"privileged": True, "allowPrivilegeEscalation": True},
    ),
    "more capabilities": ("securityContext", {"capabilities": {"add": ["SYS_ADMIN"]}}),
    "a way to more privileges": ("securityContext", {"allowPrivilegeEscalation": True}),
    "no seccomp": ("securityContext", {"seccompProfile": {"type": "Unconfined"}}),
    "a port of the node's": ("ports", [{"containerPort": 80, "hostPort": 80}]),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_laxer_pod_is_refused_where_the_namespace_is_restricted(api: Cluster, what: str) -> None:
    field, value = REFUSED[what]
    found = objects(*LAB)
    space_of(api, found)
    api.apply(*(each for each in found if each["kind"] == "ServiceAccount"))
    pod = next(iter(pods(found).values()))
    container = pod["spec"]["containers"][0]
    laxer = {**container[field], **value} if isinstance(value, dict) else value
    container[field] = laxer
    told = create(api, pod)
    assert told.returncode != 0
    assert "violates PodSecurity" in told.stderr or "Forbidden" in told.stderr, told.stderr
