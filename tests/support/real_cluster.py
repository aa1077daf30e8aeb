"""A real Kubernetes cluster of one node on this machine, brought up in stages.

Each stage has a deadline; the time it took is printed, and on failure the last lines of the
program's log are. The folder with all logs stays until the next start.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster_images import image_name, program_image
from cluster_parts import API, DNS_SERVICE, DOMAIN, PAUSE, REGISTRY, SOCKET, Parts
from cluster_space import NAME, Space, space
from cluster_trust import kubeconfig

STAGE_SECONDS = 300.0
IMAGE_SECONDS = 600.0
STEP = 0.5
COREDNS = Path(__file__).parents[1] / "cluster" / "coredns.yaml"
COREDNS_IMAGE = "sealserve.test/coredns:1"
MANAGE = ("--server-side", "--field-manager=sealserve-test")
Object = dict[str, Any]


@dataclass
class Cluster:
    """What is asked of a cluster, by kubectl with an administrator's certificate."""

    space: Space
    parts: Parts
    config: Path

    def kubectl(
        self, *words: str | Path, check: bool = True, **more: Any
    ) -> subprocess.CompletedProcess[str]:
        command = (self.parts.bin / "kubectl", f"--kubeconfig={self.config}", *words)
        return self.space.run(*command, check=check, **more)

    def get(self, *words: str) -> Any:
        return json.loads(self.kubectl("get", *words, "--output=json").stdout)

    def apply(self, *objects: Object) -> None:
        given = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.kubectl("apply", *MANAGE, "--filename=-", input=json.dumps(given), stdin=None)

    def wait(
        self, what: str, true: Callable[[], bool], *, seconds: float = STAGE_SECONDS, log: str = ""
    ) -> float:
        """Wait until something is true; print and return the seconds it took."""
        began = time.monotonic()
        while not true():
            self.space.check_alive()
            told = self.space.last_words(log) if log else ""
            assert time.monotonic() < began + seconds, f"not in {seconds:.0f} s: {what}\n{told}"
            time.sleep(STEP)
        return tell(what, began)

    def take(self, archive: Path) -> None:
        """Import an image's archive, as `podman save` writes it, past the registry."""
        words = ("--namespace=k8s.io", "images", "import", archive)
        self.space.run("ctr", *words, seconds=IMAGE_SECONDS)

    def push(self, archive: Path, *, tag: str = "") -> str:
        """Put an image's archive into the registry; the name by which pods pull it."""
        name = f"{REGISTRY}/{image_name(archive).rpartition('/')[2]}"
        name = f"{name.rpartition(':')[0]}:{tag}" if tag else name
        began = time.monotonic()
        words = ("copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false")
        images = (f"docker-archive:{archive}", f"docker://{name}")
        self.space.run("skopeo", *words, *images, seconds=IMAGE_SECONDS)
        tell(f"the image {name} is in the registry", began)
        return name


def tell(what: str, began: float) -> float:
    took = time.monotonic() - began
    sys.stderr.write(f"{took:6.1f} s  {what}\n")
    return took


@contextmanager
def api_server(folder: Path, programs: Path) -> Iterator[Cluster]:
    """etcd and the API server, which take objects; nobody acts on them yet."""
    with space(folder) as made:
        parts = Parts(made, programs)
        config = kubeconfig(parts.ca, "admin", API)
        cluster = Cluster(made, parts, config)
        parts.etcd()
        parts.api_server()

        def ready() -> bool:
            return cluster.kubectl("get", "--raw=/readyz", check=False).returncode == 0

        cluster.wait("the API server is ready", ready, log="kube-apiserver")
        yield cluster


def add_node(cluster: Cluster) -> None:
    """Controllers, scheduler, a node; then DNS as a Deployment, as clusters have it."""
    parts = cluster.parts
    parts.controllers()
    parts.scheduler()

    def served() -> bool:
        asked = ("get", "serviceaccount", "default", "--namespace=default")
        return cluster.kubectl(*asked, check=False).returncode == 0

    cluster.wait("controllers make service accounts", served, log="kube-controller-manager")
    parts.containerd()

    def listens() -> bool:
        return cluster.space.run("test", "-S", SOCKET, check=False).returncode == 0

    cluster.wait("containerd listens", listens, log="containerd")
    for name, image in (("pause", PAUSE), ("coredns", COREDNS_IMAGE)):
        archive = cluster.space.folder / f"{name}.tar"
        cluster.take(program_image(archive, image, parts.bin / name))
    parts.registry()
    parts.kubelet()
    parts.proxy()

    def node_ready() -> bool:
        found = cluster.get("nodes")["items"]
        return any(_true(node, "Ready") for node in found)

    cluster.wait(f"the node {NAME} is ready", node_ready, log="kubelet")
    parts.policies()
    text = COREDNS.read_text().format(image=COREDNS_IMAGE, address=DNS_SERVICE, domain=DOMAIN)
    path = parts.file("coredns.yaml", text)
    cluster.kubectl("apply", *MANAGE, f"--filename={path}")
    wait_available(cluster, "kube-system", "coredns")


def wait_available(cluster: Cluster, namespace: str, deployment: str, **more: Any) -> float:
    """Wait until all replicas that a Deployment wants are available, and no others are left.

    It may be that somebody is still about to make it.
    """
    asked = ("get", "deployment", deployment, f"--namespace={namespace}", "--output=json")

    def available() -> bool:
        told = cluster.kubectl(*asked, check=False)
        if told.returncode != 0 and "NotFound" in told.stderr:
            return False
        found = json.loads(told.stdout)
        status: Mapping[str, Any] = found["status"]
        wanted = found["spec"]["replicas"]
        current = status.get("observedGeneration") == found["metadata"]["generation"]
        names = ("replicas", "updatedReplicas", "availableReplicas")
        return current and all(status.get(name, 0) == wanted for name in names)

    return cluster.wait(f"{namespace}/{deployment} is available", available, **more)


def _true(found: Object, condition: str) -> bool:
    conditions = found["status"].get("conditions", [])
    return any(each["type"] == condition and each["status"] == "True" for each in conditions)
