"""How a service in a cluster stands, decided from what is seen of it.

What is not known is said to be unknown: a stock server in an enclave tells no more than that its
port is open, and a key service outside tells nothing here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sealserve.deploy.kubernetes.live import decided
from sealserve.deploy.kubernetes.live.fields import (
    Object,
    at,
    moment,
    name,
    number,
    rows,
    table,
    text,
)
from sealserve.deploy.kubernetes.live.seen import Seen, component_of, containers, is_ready
from sealserve.deploy.kubernetes.live.status.rows import (
    UNKNOWN,
    Attested,
    Autoscaler,
    ModelState,
    PodStatus,
    Replicas,
    Status,
)
from sealserve.deploy.kubernetes.live.told import told
from sealserve.deploy.kubernetes.plan import COMPONENTS, DIGEST


def status_of(seen: Seen, models: Mapping[str, Sequence[ModelState]] | None) -> Status:
    """From what is seen, and the models that each server told, by its pod's name."""
    plan = seen.plan
    deployments = sorted(seen.of("Deployment"), key=_order)
    replicas = tuple(map(_replicas, deployments))
    planned = {"server"}
    planned |= {"keyservice"} if plan.key_service_inside else set()
    planned |= {"edge"} if "nginx" in plan.description.kubernetes.edges else set()
    there = {each.component for each in replicas}
    applied = _digest(deployments)
    return Status(
        name=plan.name,
        namespace=plan.namespace,
        simulated=plan.target.simulated,
        description_sha256=applied,
        as_described=applied == plan.description.digest,
        ready=planned <= there and all(each.settled for each in replicas),
        replicas=replicas,
        pods=tuple(_pod(seen, each, models) for each in sorted(seen.of("Pod"), key=_order)),
        autoscaler=_autoscaler(seen),
        edge=tuple(_edge(seen)),
    )


def _order(found: Object) -> tuple[int, str, str]:
    component = component_of(found)
    place = list(COMPONENTS).index(component) if component in COMPONENTS else len(COMPONENTS)
    return place, text(found, "metadata", "creationTimestamp"), name(found)


def _replicas(deployment: Object) -> Replicas:
    """A Deployment that does not say how many has one."""
    wanted = at(deployment, "spec", "replicas")
    status = table(deployment, "status")
    return Replicas(
        component_of(deployment),
        wanted if isinstance(wanted, int) else 1,
        number(status, "readyReplicas"),
        max(0, number(status, "replicas") - number(status, "updatedReplicas")),
    )


def _digest(deployments: list[Object]) -> str:
    """The description that the servers were applied from."""
    servers = [each for each in deployments if component_of(each) == "server"]
    return text(servers[0], "metadata", "annotations", DIGEST) if servers else ""


def _pod(seen: Seen, pod: Object, models: Mapping[str, Sequence[ModelState]] | None) -> PodStatus:
    server = component_of(pod) == "server"
    born = moment(pod, "metadata", "creationTimestamp")
    told_models = None if models is None or not server else models.get(name(pod))
    return PodStatus(
        pod=name(pod),
        component=component_of(pod),
        phase=_phase(pod),
        ready=is_ready(pod),
        restarts=sum(number(each, "restartCount") for each in containers(pod)),
        age_seconds=max(0, round((seen.now - born).total_seconds())) if born else 0,
        node=text(pod, "spec", "nodeName"),
        image_tag=_tag(pod),
        attested=_attested(seen, pod) if server else None,
        models=None if told_models is None else tuple(told_models),
    )


def _phase(pod: Object) -> str:
    """As kubectl shows it: why a container waits says more than the phase."""
    if at(pod, "metadata", "deletionTimestamp"):
        return "Terminating"
    waiting = [text(each, "state", "waiting", "reason") for each in containers(pod)]
    ordinary = ("", "PodInitializing", "ContainerCreating")
    told_reasons = [each for each in waiting if each not in ordinary]
    return next(iter(told_reasons), text(pod, "status", "phase") or UNKNOWN)


def _tag(pod: Object) -> str:
    """Of the main container's image: its tag, or its digest."""
    image = next((text(each, "image") for each in rows(pod, "spec", "containers")), "")
    before, at_sign, digest = image.partition("@")
    return digest if at_sign else before.rpartition("/")[2].partition(":")[2] or "latest"


def _attested(seen: Seen, pod: Object) -> Attested:
    log = told(seen.log(pod, "server"))
    decision = decided.newest(seen, pod)
    measured = decided.measurement(decision) or log.measurement or UNKNOWN
    tcb = decided.tcb_status(decision) or UNKNOWN
    outcome, code = text(decision, "outcome"), text(decision, "code")
    since, asked = decided.when(decision), log.asked
    if decision and not (asked and since and asked > since):
        state = "released" if outcome == "released" else "denied"
        return Attested(state, "" if state == "released" else code, measured, tcb)
    if log.fault is not None and log.fault.code == "release-denied":
        return Attested("denied", log.fault.code, measured, tcb)
    if log.has_key:
        return Attested("released", "", measured, tcb)
    servers = [each for each in containers(pod) if text(each, "name") == "server"]
    if not any(_has_run(each) for each in servers):
        return Attested("waiting", "", measured, tcb)
    ours = log.events or log.fault
    return Attested("asking" if ours and not is_ready(pod) else UNKNOWN, "", measured, tcb)


def _has_run(status: Object) -> bool:
    running = bool(table(status, "state", "running") or table(status, "state", "terminated"))
    return running or number(status, "restartCount") > 0


def _autoscaler(seen: Seen) -> Autoscaler | None:
    for each in seen.of("HorizontalPodAutoscaler"):
        metrics = rows(each, "spec", "metrics")
        cpu = [table(metric, "resource", "target") for metric in metrics]
        measured = rows(each, "status", "currentMetrics")
        current = [at(metric, "resource", "current", "averageUtilization") for metric in measured]
        return Autoscaler(
            minimum=number(each, "spec", "minReplicas") or 1,
            maximum=number(each, "spec", "maxReplicas"),
            replicas=number(each, "status", "currentReplicas"),
            wanted=number(each, "status", "desiredReplicas"),
            current=next((value for value in current if isinstance(value, int)), None),
            target=next((number(found, "averageUtilization") for found in cpu if found), 0),
        )
    return None


def _edge(seen: Seen) -> list[str]:
    """Where the edge is reached: its load balancer, a port of each node, or in the cluster."""
    service = seen.find("Service", seen.plan.named("edge"))
    if service is None:
        return []
    port = seen.plan.port
    balancers = rows(service, "status", "loadBalancer", "ingress")
    outside = [text(each, "hostname") or text(each, "ip") for each in balancers]
    if any(outside):
        return [f"{each}:{port}" for each in outside if each]
    node_port = next((number(each, "nodePort") for each in rows(service, "spec", "ports")), 0)
    if node_port:
        return [f"{_address(each)}:{node_port}" for each in seen.of("Node") if _address(each)]
    address = text(service, "spec", "clusterIP")
    return [f"{address}:{port}"] if address and address != "None" else []


def _address(node: Object) -> str:
    """A node's address, the one outside first."""
    given = {
        text(each, "type"): text(each, "address") for each in rows(node, "status", "addresses")
    }
    return given.get("ExternalIP") or given.get("InternalIP") or ""
