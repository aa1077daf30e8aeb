"""What must hold in every pod of every rendering, whatever is described."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rendered_cluster import DESCRIPTIONS, RENDERINGS, Object, by_key, objects
from sealserve.deploy.images.roles import ROLES

AESM = "/var/run/aesmd"
RESTRICTED_VOLUMES = ("configMap", "emptyDir", "persistentVolumeClaim", "projected", "secret")
MADE_BY_OPERATORS = re.compile(r"(ConfigMap .*-policy|Secret .*-(keyservice|lab))")


def templates(name: str, target: str) -> Iterator[tuple[Object, Object]]:
    for each in objects(name, target):
        if each["kind"] == "Deployment":
            yield each, each["spec"]["template"]["spec"]


def containers(pod: Object) -> list[Object]:
    return [*pod.get("initContainers", []), *pod["containers"]]


def long_running(pod: Object) -> list[Object]:
    first = [
        each for each in pod.get("initContainers", []) if each.get("restartPolicy") == "Always"
    ]
    return [*first, *pod["containers"]]


def _host_paths(pod: Object) -> list[str]:
    return [each["hostPath"]["path"] for each in pod["volumes"] if "hostPath" in each]


def _tagged(image: str) -> bool:
    last = image.rsplit("/", 1)[-1]
    return "@sha256:" in last or (":" in last and not last.endswith(":latest"))


def _writable(pod: Object, each: Object) -> list[str]:
    """Volumes that a container can write to and that are on a disk."""
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounted = [volumes[m["name"]] for m in each["volumeMounts"] if not m.get("readOnly")]
    return [
        volume["name"] for volume in mounted if volume.get("emptyDir", {}).get("medium") != "Memory"
    ]


# What must hold, of a pod's specification, by name.
POD: dict[str, Callable[[Object], bool]] = {
    "no namespace of the host's": lambda pod: not {"hostNetwork", "hostPID", "hostIPC"} & set(pod),
    "no token": lambda pod: pod["automountServiceAccountToken"] is False,
    "an account of its own": lambda pod: pod["serviceAccountName"] != "default",
    "no variables of other services": lambda pod: pod["enableServiceLinks"] is False,
    "not root": lambda pod: (
        pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] == 10001
    ),
    "seccomp": lambda pod: pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"},
    "nothing of the host but AESM's folder": lambda pod: set(_host_paths(pod)) <= {AESM},
    "volumes of the kinds that a restricted namespace has": lambda pod: all(
        set(each) - {"name"} < {*RESTRICTED_VOLUMES, "hostPath"} for each in pod["volumes"]
    ),
    "spread over nodes and zones": lambda pod: len(pod["topologySpreadConstraints"]) == 2,
}
# The same of each container.
CONTAINER: dict[str, Callable[[Object, Object], bool]] = {
    "not privileged": lambda _, each: "privileged" not in each["securityContext"],
    "no more privileges": lambda _, each: (
        each["securityContext"]["allowPrivilegeEscalation"] is False
    ),
    "no capability": lambda _, each: each["securityContext"]["capabilities"] == {"drop": ["ALL"]},
    "a root to read": lambda _, each: each["securityContext"]["readOnlyRootFilesystem"] is True,
    "an image that stays": lambda _, each: _tagged(each["image"]),
    "memory bounded": lambda _, each: "memory" in each["resources"]["limits"],
    "requests": lambda _, each: set(each["resources"]["requests"]) == {"cpu", "memory"},
    "no variables": lambda _, each: not {"env", "envFrom"} & set(each),
    "no port of the host's": lambda _, each: all(
        "hostPort" not in port for port in each.get("ports", [])
    ),
    "writes to memory, or the key service to its state": lambda pod, each: (
        set(_writable(pod, each)) <= {"state"}
    ),
    "no device folder": lambda _, each: all(
        not mount["mountPath"].startswith("/dev") for mount in each["volumeMounts"]
    ),
}


@pytest.mark.parametrize("rule", POD)
def test_every_pod_has(rule: str) -> None:
    for name, target in RENDERINGS:
        for deployment, pod in templates(name, target):
            assert POD[rule](pod), (name, target, deployment["metadata"]["name"])


@pytest.mark.parametrize("rule", CONTAINER)
def test_every_container_has(rule: str) -> None:
    for name, target in RENDERINGS:
        for deployment, pod in templates(name, target):
            for each in containers(pod):
                where = name, target, deployment["metadata"]["name"], each["name"]
                assert CONTAINER[rule](pod, each), where


@pytest.mark.parametrize(("name", "target"), RENDERINGS)
def test_what_runs_is_probed_and_is_given_time_to_end(name: str, target: str) -> None:
    for _, pod in templates(name, target):
        for each in long_running(pod):
            assert {"startupProbe", "livenessProbe"} <= set(each)
        for each in pod["containers"]:
            assert {"readinessProbe", "lifecycle"} <= set(each)
            assert all("grpc" not in each[probe] for probe in each if probe.endswith("Probe"))
            hook = each["lifecycle"]["preStop"]
            shell = hook.get("exec", {}).get("command", ["0"])[-1]
            seconds = hook.get("sleep", {}).get("seconds") or sum(
                int(found) for found in re.findall(r"sleep ([0-9]+)", shell)
            )
            assert 0 < seconds < pod["terminationGracePeriodSeconds"]


@pytest.mark.parametrize(("name", "target"), RENDERINGS)
def test_names_that_objects_use_are_there(name: str, target: str) -> None:
    found = by_key(objects(name, target))
    for deployment, pod in templates(name, target):
        assert ("ServiceAccount", pod["serviceAccountName"]) in found
        volumes = {each["name"] for each in pod["volumes"]}
        for each in containers(pod):
            mounts = [mount["mountPath"] for mount in each["volumeMounts"]]
            assert {mount["name"] for mount in each["volumeMounts"]} <= volumes
            assert len(set(mounts)) == len(mounts)
            ports = {port["name"] for port in each.get("ports", [])}
            assert len({port["containerPort"] for port in each.get("ports", [])}) == len(ports)
            assert set(re.findall(r'"port": "(\w+)"', json.dumps(each))) <= ports
        for kind, used in _references(pod):
            known = MADE_BY_OPERATORS.fullmatch(f"{kind} {used}")
            assert known or (kind, used) in found, (kind, used)
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
    for each in found.values():
        if each["kind"] == "Service":
            numbers = [port["port"] for port in each["spec"].get("ports", [])]
            assert len(set(numbers)) == len(numbers)
        if each["kind"] == "HorizontalPodAutoscaler":
            target_ = each["spec"]["scaleTargetRef"]
            assert "replicas" not in found["Deployment", target_["name"]]["spec"]
        if each["kind"] == "Ingress":
            backend = each["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
            assert ("Service", backend["name"]) in found
        if each["kind"] == "TLSRoute":
            backend = each["spec"]["rules"][0]["backendRefs"][0]
            ports = found["Service", backend["name"]]["spec"]["ports"]
            assert backend["port"] in [port["port"] for port in ports]


def _references(pod: Object) -> Iterator[tuple[str, str]]:
    for volume in pod["volumes"]:
        if "configMap" in volume:
            yield "ConfigMap", volume["configMap"]["name"]
        if "secret" in volume:
            yield "Secret", volume["secret"]["secretName"]
        if "persistentVolumeClaim" in volume:
            yield "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]
        for source in volume.get("projected", {}).get("sources", []):
            yield "ConfigMap", source["configMap"]["name"]


@pytest.mark.parametrize(("name", "target"), RENDERINGS)
def test_services_and_budgets_select_pods_that_there_are(name: str, target: str) -> None:
    labels = [
        deployment["spec"]["template"]["metadata"]["labels"]
        for deployment, _ in templates(name, target)
    ]
    for each in objects(name, target):
        selector: Any = each.get("spec", {}).get("selector", {})
        if each["kind"] == "PodDisruptionBudget":
            selector = selector["matchLabels"]
            assert each["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
        elif each["kind"] != "Service" or not selector:
            continue
        assert [found for found in labels if selector.items() <= found.items()]


@pytest.mark.parametrize(("name", "target"), RENDERINGS)
def test_no_secret_is_rendered(name: str, target: str) -> None:
    for each in objects(name, target):
        assert each["kind"] != "Secret"
        text = json.dumps(each)
        assert "PRIVATE KEY" not in text
        assert not re.search(r"(password|token|passphrase)\w*\"?: *\"", text, re.IGNORECASE)


@pytest.mark.parametrize(("name", "target"), RENDERINGS)
def test_a_namespace_is_restricted_unless_the_nodes_aesm_is_mounted(name: str, target: str) -> None:
    host = [path for _, pod in templates(name, target) for path in _host_paths(pod)]
    namespace = next(each for each in objects(name, target) if each["kind"] == "Namespace")
    enforced = namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
    assert enforced == ("privileged" if host else "restricted")
    assert ("sealserve.io/pod-security" in namespace["metadata"]["annotations"]) == bool(host)
    needed = target != "lab" and not DESCRIPTIONS[name].kubernetes.aesm_image
    assert bool(host) == needed


@pytest.mark.parametrize(("name", "target"), RENDERINGS)
def test_images_are_those_of_our_roles_or_the_operators_aesm(name: str, target: str) -> None:
    ours = {role.image for role in ROLES.values()}
    for _, pod in templates(name, target):
        for each in containers(pod):
            image = each["image"].rsplit("/", 1)[-1].split(":")[0]
            assert image in ours or each["image"] == DESCRIPTIONS[name].kubernetes.aesm_image
