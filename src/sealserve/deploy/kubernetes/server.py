"""The servers: enclaves on hardware, our server under the lab otherwise.

On hardware an image's manifest has the arguments, measured, so none are given here. The lab's
server has those of the manifest, with the platform's own choices put in. Times of an end: while
`preStop` sleeps the server serves on and everyone is told to turn to others; then SIGTERM, and our
server lets requests that run end (docs/serving-watching.md, Stopping). `hostPath` is read-only: a
socket can be connected to all the same (Linux, path_resolution(7)).
"""

from __future__ import annotations

from typing import Any, Final

from sealserve.deploy.description.model import Description, size_in_mib
from sealserve.deploy.gramine.servers import program
from sealserve.deploy.gramine.sizing import sizing
from sealserve.deploy.images.roles import TEMPORARY_FOLDER, WORK_FOLDER
from sealserve.deploy.kubernetes import pods, workloads
from sealserve.deploy.kubernetes.aesm import AESM, AESM_FOLDER, aesm_container, aesm_volumes
from sealserve.deploy.kubernetes.lab import (
    LAB_FOLDER,
    WORLD,
    WORLD_FOLDER,
    world_container,
    world_volumes,
)
from sealserve.deploy.kubernetes.plan import KEEP, Object, Plan
from sealserve.deploy.kubernetes.pods import Container, Pod, Resources, mount

IN_FLIGHT: Final = "sealserve_serving_requests_in_flight"  # docs/serving-watching.md
MONITORING_CONFIG: Final = "config/monitoring.config"
MODELS: Final = "models"
_REST_PORT: Final = 8501
_DRAIN_SECONDS: Final = 15  # the edge asks DNS anew each second; endpoints take some more
_END_SECONDS: Final = 20 + 15 + 10  # --shutdown_timeout_seconds, a stuck event loop, and to spare
_START_SECONDS: Final = 900  # a large enclave is built page by page, and its models are opened
_CHOSEN_HERE: Final = ("--host=", "--port=", "--evidence_source=", "--key_service=")


def server_objects(plan: Plan) -> list[Object]:
    """Everything about the servers but who may speak to them."""
    return [
        workloads.account(plan, "server"),
        _claim(plan),
        _deployment(plan),
        workloads.service(plan, plan.name, "server", _ports(plan)),
        workloads.service(plan, plan.named("pods"), "server", _ports(plan), clusterIP="None"),
        workloads.disruption_budget(plan, "server"),
        *([_autoscaler(plan)] if plan.autoscaled else []),
    ]


def rest_port(plan: Plan) -> int | None:
    """Where REST is served: by the lab's server, outside Gramine, for probes and metrics."""
    if not plan.target.simulated:
        return None
    return _REST_PORT if plan.port != _REST_PORT else _REST_PORT + 1


def lab_arguments(plan: Plan) -> tuple[str, ...]:
    """The words after `sealserve` with which a lab's enclave runs our server."""
    description = _as_ours(plan.description)
    words = program(description).arguments
    measured = [each for each in words[words.index("serve") :] if not each.startswith(_CHOSEN_HERE)]
    run = f"{TEMPORARY_FOLDER}/qe"
    metrics = plan.description.kubernetes.requests_in_flight
    return (
        *("lab", "enclave", LAB_FOLDER, "--qe", run, "--"),
        *measured,
        *([f"--monitoring_config_file={MONITORING_CONFIG}"] if metrics else []),
        "--host=0.0.0.0",
        f"--port={plan.port}",
        f"--rest_api_port={rest_port(plan)}",
        f"--evidence_source=lab:{run}/qe.sock",
        f"--key_service={plan.key_service}.{plan.namespace}.svc:{plan.key_service_port}",
    )


def _as_ours(description: Description) -> Description:
    server = description.server.model_copy(update={"kind": "sealserve"})
    return description.model_copy(update={"server": server})


def _ports(plan: Plan) -> list[tuple[str, int]]:
    rest = rest_port(plan)
    return [("service", plan.port), *([("rest", rest)] if rest else [])]


def _claim(plan: Plan) -> Object:
    table = plan.description.kubernetes
    size = sum(size_in_mib(model.size) for model in plan.description.models)
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": plan.metadata(plan.named(MODELS), "server", annotations=KEEP),
        "spec": {
            "accessModes": ["ReadWriteMany"],
            **({"storageClassName": table.storage_class} if table.storage_class else {}),
            "resources": {"requests": {"storage": f"{3 * size + 64}Mi"}},
        },
    }


def _deployment(plan: Plan) -> Object:
    table = plan.description.kubernetes
    groups = [table.device_group] if table.device_group and plan.target.epc else []
    pod = Pod(
        containers=[_server(plan)],
        first=[
            *([world_container(plan)] if plan.target.simulated else []),
            *([aesm_container(plan)] if plan.quotes_beside else []),
        ],
        volumes=[*_volumes(plan)],
        grace_seconds=_drain_seconds(plan) + _END_SECONDS,
        groups=groups,
        tolerated=plan.target.tolerated,
    )
    return workloads.deployment(
        plan,
        "server",
        pod,
        strategy=workloads.ROLLING,
        replicas=None if plan.autoscaled else plan.choices.replicas,
        progress_seconds=_START_SECONDS + 300,
    )


def _server(plan: Plan) -> Container:
    """The command is named, since an image of ours may be made with Gramine or without."""
    role = plan.server_role
    mounts = [mount(MODELS, WORK_FOLDER)]
    if plan.target.simulated:
        mounts.append(mount(WORLD, WORLD_FOLDER))
    if plan.quotes_from_node or plan.quotes_beside:
        mounts.append(mount(AESM, AESM_FOLDER))
    return Container(
        name="server",
        image=pods.image_of(plan, "server"),
        command=role.entrypoint if plan.target.simulated else role.gramine_entrypoint,
        arguments=lab_arguments(plan) if plan.target.simulated else (),
        resources=_resources(plan),
        mounts=mounts,
        rest={
            "ports": [pods.port(name, number) for name, number in _ports(plan)],
            **_probes(plan),
            "lifecycle": {"preStop": {"sleep": {"seconds": _drain_seconds(plan)}}},
        },
    )


def _drain_seconds(plan: Plan) -> int:
    """Until no connection is left that began before; ages vary by a tenth (gRPC, A9)."""
    return max(_DRAIN_SECONDS, plan.description.server.connection_age * 11 // 10 + 5)


def _resources(plan: Plan) -> Resources:
    enclave = size_in_mib(sizing(plan.description).size)
    return Resources(
        plan.choices.server_cpu,
        plan.choices.server_memory,
        plan.choices.server_memory_limit,
        plan.target.epc(enclave) if plan.target.epc else {},
    )


def _probes(plan: Plan) -> Object:
    """REST's health, where it is served and asks nobody for a certificate; else the port."""
    if not rest_port(plan) or plan.description.tls.mode == "mutual":
        return pods.tcp_probes(startup_seconds=_START_SECONDS)
    ready = {"httpGet": {"scheme": "HTTPS", "port": "rest", "path": "/v2/health/ready"}}
    alive = {"httpGet": {"scheme": "HTTPS", "port": "rest", "path": "/v2/health/live"}}
    return pods.probes(ready, ready, alive, startup_seconds=_START_SECONDS)


def _volumes(plan: Plan) -> list[Object]:
    claim = {"claimName": plan.named(MODELS), "readOnly": True}
    found: list[Object] = [{"name": MODELS, "persistentVolumeClaim": claim}]
    if plan.target.simulated:
        found += world_volumes(plan)
    if plan.quotes_from_node:
        found.append({"name": AESM, "hostPath": {"path": AESM_FOLDER, "type": "Directory"}})
    if plan.quotes_beside:
        found += aesm_volumes(plan)
    return found


def _autoscaler(plan: Plan) -> Object:
    """More at once, fewer slowly: a new enclave takes minutes until it serves."""
    table = plan.description.kubernetes
    utilization = {"type": "Utilization", "averageUtilization": table.cpu_percent}
    metrics: list[Any] = [
        {"type": "Resource", "resource": {"name": "cpu", "target": utilization}},
    ]
    if table.requests_in_flight and rest_port(plan):
        target = {"type": "AverageValue", "averageValue": str(table.requests_in_flight)}
        metrics.append({"type": "Pods", "pods": {"metric": {"name": IN_FLIGHT}, "target": target}})
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": plan.metadata(plan.named("server"), "server"),
        "spec": {
            "scaleTargetRef": {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "name": plan.named("server"),
            },
            "minReplicas": plan.choices.replicas,
            "maxReplicas": plan.choices.max_replicas,
            "metrics": metrics,
            "behavior": {
                "scaleUp": {
                    "stabilizationWindowSeconds": 0,
                    "policies": [{"type": "Percent", "value": 100, "periodSeconds": 60}],
                },
                "scaleDown": {
                    "stabilizationWindowSeconds": 600,
                    "policies": [{"type": "Pods", "value": 1, "periodSeconds": 120}],
                },
            },
        },
    }
