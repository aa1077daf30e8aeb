"""What leads clients in: nginx, an Ingress of ingress-nginx, a TLSRoute; none of them has a key.

TLS passes through all three, chosen by SNI. nginx asks for the headless Service by DNS, a second at
most after whatever changed there, and so follows pods as they come and go. On its way out it is
told to finish (SIGQUIT) rather than to stop, and then has the grace period for connections that go
on.
Sources: nginx.org, Controlling nginx; Kubernetes blog, "Ingress NGINX Retirement" (11 November
2025), and that project's annotation ssl-passthrough; Gateway API v1.6, apis/v1/tlsroute_types.go.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from sealserve.deploy.images.roles import CONFIG_FOLDER
from sealserve.deploy.kubernetes import pods, workloads
from sealserve.deploy.kubernetes.plan import Object, Plan
from sealserve.deploy.kubernetes.pods import Container, Pod, Resources, mount
from sealserve.deploy.nginx import CONFIG_NAME, Edge, Route, render
from sealserve.hosts import Address

RETIRED: Final = (
    "ingress-nginx was retired in March 2026 and is mended no more; this is for who still runs it"
)
_NGINX_MODULE: Final = Path("/usr/lib/nginx/modules/ngx_stream_module.so")  # Debian's package
_KNOWN: Final = 5  # seconds, until the network lets a new pod speak to DNS and to servers
_LEAVING: Final = 5  # seconds, until nobody sends new connections
_LAST_SECONDS: Final = 60  # for connections that go on
_CONNECTIONS: Final = 4096
_WORKERS: Final = 2


def edge_objects(plan: Plan) -> list[Object]:
    """What the description wants of them."""
    edges = plan.description.kubernetes.edges
    return [
        *(_nginx(plan) if "nginx" in edges else []),
        *([_ingress(plan)] if "ingress-nginx" in edges else []),
        *([_tls_route(plan)] if "gateway" in edges else []),
    ]


def nginx_config(plan: Plan) -> str:
    """The text of nginx.conf."""
    replicas = (Address(plan.host(plan.named("pods")), plan.port),)
    edge = Edge(
        Address("0.0.0.0", plan.port),  # noqa: S104  # of the pod alone
        (Route(plan.description.domain, replicas),),
        connections=_CONNECTIONS,
        resolver=plan.resolver,
        shutdown_timeout=_LAST_SECONDS,
        workers=_WORKERS,
    )
    return render(edge, module=_NGINX_MODULE, logs="output")


def _nginx(plan: Plan) -> list[Object]:
    config = nginx_config(plan)
    container = Container(
        name="nginx",
        image=pods.image_of(plan, "edge"),
        resources=Resources("100m", "64Mi", "256Mi"),
        mounts=[mount("config", CONFIG_FOLDER)],
        rest={
            "ports": [pods.port("service", plan.port)],
            **pods.tcp_probes(startup_seconds=60, first_seconds=_KNOWN),
            "lifecycle": {"preStop": {"exec": {"command": ["sh", "-c", _LEAVE]}}},
        },
    )
    pod = Pod(
        containers=[container],
        volumes=[{"name": "config", "configMap": {"name": plan.named("edge")}}],
        grace_seconds=_LEAVING + _LAST_SECONDS + 10,
    )
    return [
        workloads.account(plan, "edge"),
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": plan.metadata(plan.named("edge"), "edge"),
            "data": {CONFIG_NAME: config},
        },
        workloads.deployment(
            plan,
            "edge",
            pod,
            strategy=workloads.ROLLING,
            replicas=2,
            annotations={"sealserve.io/configuration": hashlib.sha256(config.encode()).hexdigest()},
        ),
        workloads.service(
            plan,
            plan.named("edge"),
            "edge",
            [("service", plan.port)],
            type=plan.target.service_type,
        ),
        workloads.disruption_budget(plan, "edge"),
    ]


_LEAVE: Final = f"sleep {_LEAVING}; kill -QUIT 1; sleep {_LAST_SECONDS}"


def _ingress(plan: Plan) -> Object:
    backend = {"service": {"name": plan.name, "port": {"name": "service"}}}
    path = {"path": "/", "pathType": "Prefix", "backend": backend}
    annotations = {
        "nginx.ingress.kubernetes.io/ssl-passthrough": "true",
        "sealserve.io/retired": RETIRED,
    }
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": plan.metadata(plan.named("edge"), "edge", annotations=annotations),
        "spec": {
            "ingressClassName": "nginx",
            "rules": [{"host": plan.description.domain, "http": {"paths": [path]}}],
        },
    }


def _tls_route(plan: Plan) -> Object:
    space, _, name = plan.description.kubernetes.gateway.partition("/")
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "TLSRoute",
        "metadata": plan.metadata(plan.named("edge"), "edge"),
        "spec": {
            "parentRefs": [{"namespace": space, "name": name}],
            "hostnames": [plan.description.domain],
            "rules": [{"backendRefs": [{"name": plan.name, "port": plan.port}]}],
        },
    }
