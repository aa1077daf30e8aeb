"""The metrics API of a cluster for tests, which is there only while it is asked for.

Without it an autoscaler does nothing, and tests that set replicas themselves rely on that.
Source: Kubernetes, "Resource metrics pipeline"; metrics-server, `manifests/base`.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster_images import program_image
from real_cluster import MANAGE, Cluster, wait_available

OBJECTS = Path(__file__).parents[1] / "cluster" / "metrics.yaml"
IMAGE = "sealserve.test/metrics-server:1"
NAME, SPACE = "metrics-server", "kube-system"
API = "v1beta1.metrics.k8s.io"


@contextmanager
def metrics(cluster: Cluster) -> Iterator[None]:
    """metrics-server in a pod, as clusters have it, until the API server passes questions on."""
    parts = cluster.parts
    archive = cluster.space.folder / f"{NAME}.tar"
    image = cluster.push(program_image(archive, IMAGE, parts.bin / NAME))
    parts.ca.issue(NAME, NAME, hosts=(f"{NAME}.{SPACE}.svc",))
    authority = base64.b64encode(parts.ca.pem.read_bytes()).decode()
    text = OBJECTS.read_text().format(image=image, ca=authority)
    path = parts.file("metrics.yaml", text)
    cluster.kubectl(
        *("create", "secret", "generic", NAME, f"--namespace={SPACE}"),
        f"--from-file=tls.crt={parts.trust / f'{NAME}.pem'}",
        f"--from-file=tls.key={parts.trust / f'{NAME}.key'}",
        f"--from-file=ca.crt={parts.ca.pem}",
    )
    cluster.kubectl("apply", *MANAGE, f"--filename={path}")
    wait_available(cluster, SPACE, NAME)

    def served() -> bool:
        conditions = cluster.get("apiservice", API)["status"]["conditions"]
        return all(each["status"] == "True" for each in conditions)

    try:
        cluster.wait("the metrics API is served", served)
        yield
    finally:
        cluster.kubectl("delete", f"--filename={path}")
        cluster.kubectl("delete", "secret", NAME, f"--namespace={SPACE}")
