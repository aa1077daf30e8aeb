"""The metrics APIs of a cluster for tests, which are there only while they are asked for.

Without them an autoscaler does nothing, and tests that set replicas themselves rely on that.
Sources: Kubernetes, "Resource metrics pipeline"; metrics-server, `manifests/base`;
prometheus-adapter, `docs/config.md`; Prometheus, "Configuration" (file_sd_config).
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster_images import program_image
from cluster_site import DOMAIN, Site
from cluster_space import NODE_ADDRESS
from real_cluster import MANAGE, Cluster, wait_available

FOLDER = Path(__file__).parents[1] / "cluster"
SPACE = "kube-system"
PROMETHEUS = f"{NODE_ADDRESS}:9090"
REST_PORT = 8501


@contextmanager
def metrics(cluster: Cluster) -> Iterator[None]:
    """CPU and memory of pods, by metrics-server."""
    with _served(cluster, "metrics-server", "v1beta1.metrics.k8s.io"):
        yield


@contextmanager
def custom_metrics(site: Site) -> Iterator[None]:
    """What a service's servers say of themselves, by Prometheus on the node and its adapter."""
    cluster = site.cluster
    places = cluster.parts.file("servers.json", [])
    config = cluster.parts.file("prometheus.json", _scraped(site, places))
    cluster.space.start(
        *("prometheus", "prometheus", f"--config.file={config}"),
        f"--storage.tsdb.path={cluster.space.folder / 'prometheus'}",
        *(f"--web.listen-address={PROMETHEUS}", "--log.level=warn"),
    )
    over = threading.Event()
    following = threading.Thread(target=_follow, args=(site, places, over))
    following.start()
    try:
        with _served(cluster, "prometheus-adapter", "v1beta1.custom.metrics.k8s.io"):
            yield
    finally:
        over.set()
        following.join()
        cluster.space.run("pkill", "-x", "prometheus")
        cluster.space.started.pop("prometheus").wait()


def _scraped(site: Site, places: Path) -> dict[str, object]:
    job = {
        "job_name": "servers",
        "scheme": "https",
        "metrics_path": "/monitoring/prometheus/metrics",
        "tls_config": {"ca_file": str(site.client / "ca.pem"), "server_name": DOMAIN},
        "file_sd_configs": [{"files": [str(places)], "refresh_interval": "5s"}],
    }
    return {"global": {"scrape_interval": "5s"}, "scrape_configs": [job]}


def _follow(site: Site, places: Path, over: threading.Event) -> None:
    """Tell Prometheus where the servers are: Debian's does not ask Kubernetes."""
    selected = "--selector=app.kubernetes.io/component=server"
    while not over.wait(2.0):
        found = [
            {
                "targets": [f"{pod['status']['podIP']}:{REST_PORT}"],
                "labels": {"namespace": site.name, "pod": pod["metadata"]["name"]},
            }
            for pod in site.get("pods", selected)["items"]
            if "podIP" in pod["status"]
        ]
        written = places.with_suffix(".new")
        written.write_text(json.dumps(found))
        written.rename(places)


@contextmanager
def _served(cluster: Cluster, name: str, api: str) -> Iterator[None]:
    """An API in a pod, as clusters have it, to which the API server passes questions on."""
    parts = cluster.parts
    archive = cluster.space.folder / f"{name}.tar"
    image = cluster.push(program_image(archive, f"sealserve.test/{name}:1", parts.bin / name))
    parts.ca.issue(name, name, hosts=(f"{name}.{SPACE}.svc",))
    authority = base64.b64encode(parts.ca.pem.read_bytes()).decode()
    text = (FOLDER / f"{name}.yaml").read_text()
    text = text.format(image=image, ca=authority, prometheus=f"http://{PROMETHEUS}")
    path = parts.file(f"{name}.yaml", text)
    cluster.kubectl(
        *("create", "secret", "generic", name, f"--namespace={SPACE}"),
        f"--from-file=tls.crt={parts.trust / f'{name}.pem'}",
        f"--from-file=tls.key={parts.trust / f'{name}.key'}",
        f"--from-file=ca.crt={parts.ca.pem}",
    )

    def served() -> bool:
        conditions = cluster.get("apiservice", api)["status"]["conditions"]
        return all(each["status"] == "True" for each in conditions)

    try:
        cluster.kubectl("apply", *MANAGE, f"--filename={path}")
        wait_available(cluster, SPACE, name)
        cluster.wait(f"{api} is served", served)
        yield
    finally:
        cluster.kubectl("delete", f"--filename={path}")
        cluster.kubectl("delete", "secret", name, f"--namespace={SPACE}")
