"""However it is applied, a cluster holds the same: by kubectl, by Helm, or by our own command."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cluster_site import (
    Site,
    ask,
    give_model_key,
    give_policy,
    give_secrets,
    make_volumes,
    measure,
    prepare,
    remove,
)
from real_cluster import Cluster, Object, tell
from rendered_cluster import Key, by_key, key

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(7200)]

SERVICE = "alike"
RELEASE = "released"
KEPT = {"Namespace", "PersistentVolumeClaim"}
OF_THE_CLUSTER = {("ServiceAccount", "default"), ("ConfigMap", "kube-root-ca.crt")}
NOTED = ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "finalizers")
ADDED = (  # annotations and labels of those who apply, and of controllers
    "kubectl.kubernetes.io/last-applied-configuration",
    "meta.helm.sh/release-name",
    "meta.helm.sh/release-namespace",
    "app.kubernetes.io/managed-by",
    "deployment.kubernetes.io/revision",
)


@pytest.fixture(scope="module")
def site(node: Cluster, pushed: dict[str, str]) -> Site:
    """A service that nobody has applied yet."""
    made = Site(node, node.space.folder / SERVICE, pushed, service=SERVICE)
    prepare(made)
    return made


def helm(site: Site, *words: str | Path) -> str:
    """What Helm says; it has the release in the namespace `default`."""
    folder = site.folder / "helm"
    homes = [f"HELM_{each}_HOME={folder / each.lower()}" for each in ("CACHE", "CONFIG", "DATA")]
    program = (site.cluster.parts.bin / "helm", f"--kubeconfig={site.cluster.config}")
    return site.cluster.space.run("env", *homes, *program, *words).stdout


def chart(site: Site) -> Path:
    return site.folder / "rendered" / "charts" / "lab"


@pytest.fixture(scope="module")
def expected(site: Site) -> dict[Key, Object]:
    """What is there after `kubectl apply --kustomize`; it is gone again."""
    site.cluster.kubectl("apply", "--kustomize", site.overlay)
    found = stored(site)
    remove(site)
    assert set(found) == set(by_key(site.objects()))
    return found


def by_helm_and_kubectl(site: Site) -> None:
    text = helm(site, "template", RELEASE, chart(site))
    site.cluster.kubectl("apply", "--filename=-", input=text, stdin=None)


def by_helm(site: Site) -> None:
    helm(site, "install", RELEASE, chart(site))


def by_our_command(site: Site) -> None:
    """Nothing gets ready without Secrets: it says so, and what it applied stays."""
    words = ("--without-prediction", "--wait", "1")
    ended = subprocess.run(
        site.live("apply", *words), capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode != 0
    assert "created  Deployment" in ended.stderr, ended.stderr


def stored(site: Site) -> dict[Key, Object]:
    """What the API server holds of the kinds that are rendered, without what it notes itself."""
    kinds = {each["kind"] for each in site.objects()} - {"Namespace"}
    found = [site.cluster.get("namespace", site.name)]
    found += site.get(",".join(sorted(kinds)))["items"]
    return by_key([meant(each) for each in found if key(each) not in OF_THE_CLUSTER])


def meant(found: Object) -> Object:
    metadata = {name: each for name, each in found["metadata"].items() if name not in NOTED}
    for name in ("labels", "annotations"):
        given = metadata.get(name, {}).items()
        metadata[name] = {name: each for name, each in given if name not in ADDED}
    spec: Any = found.get("spec")
    if found["kind"] == "Service" and spec.get("clusterIP") != "None":
        spec = {
            name: each for name, each in spec.items() if name not in ("clusterIP", "clusterIPs")
        }
    return {**found, "metadata": metadata, "spec": spec, "status": None}


@pytest.mark.parametrize("way", [by_helm_and_kubectl, by_helm, by_our_command])
def test_a_cluster_holds_what_it_would_hold_after_kubectl_apply(
    site: Site, expected: dict[Key, Object], way: Callable[[Site], None]
) -> None:
    way(site)
    found = stored(site)
    if way is by_helm:
        helm(site, "uninstall", RELEASE)
    remove(site)
    assert found == expected


def test_a_release_of_helm_s_serves_and_leaves_data_where_they_are(site: Site) -> None:
    make_volumes(site)
    began = time.monotonic()
    helm(site, "install", RELEASE, chart(site))
    give_secrets(site)
    give_policy(site, measure(site))
    site.wait("keyservice", log="kubelet")
    give_model_key(site)
    site.wait("server", log="kubelet")
    site.wait("edge", log="kubelet")
    assert "DT_FLOAT" in ask(site)
    tell("from helm install to the first answer", began)
    before = stored(site)
    helm(site, "uninstall", RELEASE)
    left = stored(site)
    remove(site)
    assert {each for each in before if each[0] in KEPT} <= set(left)
    assert {kind for kind, _ in left} <= {*KEPT, "ConfigMap"}  # a policy is the owner's
