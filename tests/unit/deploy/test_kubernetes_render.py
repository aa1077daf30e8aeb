"""The rendering for Kubernetes: known objects, one source for both tools, valid everywhere."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from golden import assert_golden
from kubernetes_schemas import complaints, newest_versions
from rendered_cluster import (
    ACTION,
    DESCRIPTIONS,
    RENDERINGS,
    Object,
    by_key,
    described,
    helm_template,
    kustomized,
    load,
    load_all,
    objects,
    objects_of,
    texts,
)
from sealserve.deploy.description.kubernetes import Kubernetes
from sealserve.deploy.description.model import Description, Model
from sealserve.deploy.kubernetes.objects import all_objects, heading
from sealserve.deploy.kubernetes.render import plan_for, render
from sealserve.deploy.kubernetes.targets import TARGETS, find_target, own_target
from sealserve.deploy.yaml_text import to_documents, to_yaml
from sealserve.errors import UsageError

KNOWN = [("plain", target) for target in TARGETS] + [("everything", "azure"), ("inside", "generic")]


@cache
def files(name: str) -> dict[str, str]:
    return texts(DESCRIPTIONS[name])


def written(made: dict[str, str], folder: Path) -> None:
    for path, text in made.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


def test_descriptions_render_to_the_known_objects() -> None:
    found = {}
    for name, target in KNOWN:
        plan = plan_for(DESCRIPTIONS[name], TARGETS[target])
        found[f"{name}-{target}.yaml"] = to_documents(objects(name, target), heading(plan)).encode()
    assert_golden("kubernetes", found)


def test_the_same_description_gives_the_same_bytes() -> None:
    assert render(described()) == render(described())


@pytest.mark.parametrize(("name", "target"), RENDERINGS)
def test_base_and_overlay_are_the_targets_objects(name: str, target: str) -> None:
    built = kustomized(files(name), f"kustomize/overlays/{target}")
    assert by_key(built) == by_key(objects(name, target))


@pytest.mark.parametrize("name", ["everything", "inside", "several"])
def test_kubectl_builds_the_same_of_every_overlay(name: str, tmp_path: Path) -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    written(files(name), tmp_path)
    for target in TARGETS:
        folder = tmp_path / "kustomize" / "overlays" / target
        built = subprocess.run(
            [kubectl, "kustomize", str(folder)], capture_output=True, text=True, check=False
        )
        assert (built.returncode, built.stderr) == (0, "")
        assert by_key(load_all(built.stdout)) == by_key(objects(name, target))


@pytest.mark.parametrize("name", ["everything", "inside", "several"])
def test_helm_makes_the_same_of_every_chart(name: str, tmp_path: Path) -> None:
    helm = shutil.which("helm")
    if helm is None:
        pytest.skip("helm is not installed")
    written(files(name), tmp_path)
    for target in TARGETS:
        chart = str(tmp_path / "charts" / target)
        version = f"--kube-version={newest_versions()[-1]}.0"
        built = subprocess.run(
            [helm, "template", "x", chart, version], capture_output=True, text=True, check=False
        )
        assert (built.returncode, built.stderr) == (0, "")
        assert by_key(load_all(built.stdout)) == by_key(objects(name, target))
        misspelt = [helm, "template", "x", chart, version, "--set", "image.tagg=1"]
        assert subprocess.run(misspelt, capture_output=True, check=False).returncode != 0


@pytest.mark.parametrize(("name", "target"), RENDERINGS)
def test_a_chart_with_its_own_values_is_the_targets_objects(name: str, target: str) -> None:
    built = load_all(helm_template(files(name), f"charts/{target}"))
    assert by_key(built) == by_key(objects(name, target))


@pytest.mark.parametrize(("name", "target"), RENDERINGS)
def test_a_chart_has_the_same_bytes_but_for_the_values_that_operators_change(
    name: str, target: str
) -> None:
    plan = plan_for(DESCRIPTIONS[name], TARGETS[target])
    for file, found in all_objects(plan).items():
        lines = files(name)[f"charts/{target}/templates/{file}.yaml"].splitlines()
        plain = to_documents(found, heading(plan, file)).splitlines()
        changed = [line for line in lines if "{{" in line]
        rest = [line for line in lines if "{{" not in line]
        assert all(ACTION.search(line) for line in changed)
        left = iter(plain)
        assert all(line in left for line in rest)  # in this order


def test_what_operators_change_is_changed_and_nothing_else() -> None:
    made = files("everything")
    values = load(made["charts/azure/values.yaml"])
    values["replicas"] = 5
    values["image"] = {"prefix": "other.example.com/", "tag": "8"}
    values["server"]["cpu"] = "500m"
    values["keyService"]["addresses"] = ["198.51.100.9"]
    changed = by_key(load_all(helm_template(made, "charts/azure", values)))
    server = changed["Deployment", "digits-server"]["spec"]["template"]["spec"]["containers"][0]
    assert server["image"] == "other.example.com/sealserve-server:8"
    assert server["resources"]["requests"]["cpu"] == "500m"
    assert changed["HorizontalPodAutoscaler", "digits-server"]["spec"]["minReplicas"] == 5
    slice_ = changed["EndpointSlice", "keys"]
    assert slice_["endpoints"] == [{"addresses": ["198.51.100.9"]}]
    before = by_key(objects("everything", "azure"))
    same = [key for key in before if before[key] == changed[key]]
    assert len(same) >= len(before) - 4


@pytest.mark.parametrize(("name", "target"), RENDERINGS)
def test_a_charts_schema_takes_its_values_and_no_other(name: str, target: str) -> None:
    schema = json.loads(files(name)[f"charts/{target}/values.schema.json"])
    values = load(files(name)[f"charts/{target}/values.yaml"])
    assert set(schema["properties"]) == set(values)
    assert schema["additionalProperties"] is False
    chart = load(files(name)[f"charts/{target}/Chart.yaml"])
    assert chart["name"].endswith("-simulated") == (target == "lab")


@pytest.mark.parametrize("version", range(4), ids=["oldest", "third", "second", "newest"])
def test_every_object_is_valid_in_the_versions_of_kubernetes(version: int) -> None:
    """The three newest, and the one that charts take for the oldest."""
    oldest = load(files("plain")["charts/lab/Chart.yaml"])["kubeVersion"].removeprefix(">=")
    minor = [oldest.removesuffix(".0-0"), *newest_versions()][version]
    wrong = [
        complaint
        for name, target in RENDERINGS
        for found in objects(name, target)
        for complaint in complaints(found, minor)
    ]
    assert wrong == []


def _with(found: Object, path: str, value: Any) -> Object:
    *parents, last = path.split("/")
    found = json.loads(json.dumps(found))
    place: Any = found
    for part in parents:
        place = place[int(part)] if isinstance(place, list) else place[part]
    place[last] = value
    return found


BAD = {
    "an unknown field": ("Deployment", "spec/template/spec/containers/0/privileged", True),
    "a number for a text": ("Service", "spec/type", 5),
    "a text for a number": ("HorizontalPodAutoscaler", "spec/minReplicas", "two"),
    "a rule of another kind": ("NetworkPolicy", "spec/ingress", {}),
    "a route without rules": ("TLSRoute", "spec/rules", []),
    "a misspelt field of a route": ("TLSRoute", "spec/hostname", "a"),
}


@pytest.mark.parametrize("case", BAD)
def test_the_validation_sees_what_is_wrong(case: str) -> None:
    kind, path, value = BAD[case]
    found = next(each for each in objects("everything", "azure") if each["kind"] == kind)
    assert complaints(found, newest_versions()[-1]) == []
    assert complaints(_with(found, path, value), newest_versions()[-1])


TABLES = st.builds(
    Kubernetes,
    namespace=st.sampled_from(["", "a", "digits-2"]),
    registry=st.sampled_from(["", "r.example.com", "localhost:5000/a/b"]),
    tag=st.sampled_from(["", "1", "0.1.0-rc.1"]),
    resolver=st.sampled_from(["", "10.96.0.10", "fd00::a", "dns.openshift-dns.svc.cluster.local"]),
    state_class=st.sampled_from(["", "managed-csi"]),
    storage_class=st.sampled_from(["", "azurefile-csi"]),
    device_group=st.integers(0, 70000),
    aesm_image=st.sampled_from(["", "r.example.com/aesmd:1"]),
    max_replicas=st.sampled_from([0, 1000, 2000]),
    cpu_percent=st.integers(10, 100),
    requests_in_flight=st.integers(0, 1000),
    edges=st.lists(st.sampled_from(["nginx", "ingress-nginx", "gateway"]), unique=True).map(tuple),
    gateway=st.just("gateways/public"),
)
SERVICES = st.sampled_from(
    [
        {},
        {"key_service_inside": True},
        {"key_service_inside": True, "key_service_database": "postgresql://k@192.0.2.7/k"},
        {"key_service_outside": ("k.example",)},
    ]
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    cluster=st.from_regex(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?", fullmatch=True),
    cloud=st.sampled_from(["alibaba", "anolis", "azure", "bytedance", "generic", "tencent"]),
    kind=st.sampled_from(["sealserve", "tensorflow-serving"]),
    mode=st.sampled_from(["oneway", "mutual"]),
    replicas=st.integers(1, 1000),
    table=TABLES,
    service=SERVICES,
    target=st.sampled_from(sorted(TARGETS)),
)
def test_whatever_is_described_renders_parses_back_and_is_valid(
    cluster: str,
    cloud: str,
    kind: str,
    mode: str,
    replicas: int,
    table: Kubernetes,
    service: dict[str, Any],
    target: str,
) -> None:
    plain = described(cluster=cluster, cloud=cloud, kind=kind, tls=mode, replicas=replicas)
    address = f"the-keys.{table.namespace or cluster}.svc:4433"
    description = plain.model_copy(
        update={
            "key_service": plain.key_service.model_copy(update={"address": address}),
            "kubernetes": table.model_copy(update=service),
        }
    )
    description = Description.model_validate(description.model_dump())
    found = objects_of(description, target)
    for each in found:
        assert load(to_yaml(each)) == each
        assert complaints(each, newest_versions(1)[0]) == []
        assert len(each["metadata"]["name"]) <= 63
    assert len(by_key(found)) == len(found)


def test_an_enclave_that_none_is_large_enough_for_is_not_rendered() -> None:
    huge = Model(name="huge", base_path="models/huge", key="digits", size="512G")
    description = described().model_copy(update={"models": (huge,)})
    with pytest.raises(Exception, match="more than any enclave"):
        render(description)


def test_a_cloud_has_its_own_overlay_or_the_generic_one() -> None:
    assert own_target("azure").name == "azure"
    assert own_target("tencent").name == "generic"
    with pytest.raises(UsageError, match="no kind of cluster"):
        find_target("openshift")


def test_what_is_simulated_says_so_in_every_object_and_shares_no_name() -> None:
    for name in DESCRIPTIONS:
        hardware = {
            (each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"])
            for each in objects(name, "generic")
        }
        for each in objects(name, "lab"):
            metadata = each["metadata"]
            place = each["kind"], metadata.get("namespace"), metadata["name"]
            assert place not in hardware
            assert (metadata.get("namespace") or metadata["name"]).endswith("-simulated")
            assert metadata["labels"]["sealserve.io/evidence"] == "simulated"
            assert metadata["annotations"]["sealserve.io/notice"].startswith("SIMULATED")
        for path, text in files(name).items():
            lab = "/lab/" in path and path.endswith(".yaml")
            assert lab == ("# SIMULATED" in text)


def test_pods_of_both_kinds_of_evidence_are_selected_apart() -> None:
    """What selects pods cannot be changed in a cluster, so no overlay is laid over the other."""
    for each in [*objects("plain", "lab"), *objects("plain", "generic")]:
        if each["kind"] == "Deployment":
            labels = each["spec"]["selector"]["matchLabels"]
            assert (
                labels["sealserve.io/evidence"]
                == each["metadata"]["labels"]["sealserve.io/evidence"]
            )


def test_replacing_choices_leaves_no_mark_in_what_is_not_a_chart() -> None:
    for path, text in files("everything").items():
        assert "@@" not in text
        assert path.startswith("charts/") or "{{" not in text
    assert replace(plan_for(described(), TARGETS["lab"])).choices.replicas == 2
