"""What single objects say: probes, resources, autoscaling, key services, edges, the lab."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from rendered_cluster import (
    DESCRIPTIONS,
    Key,
    Object,
    by_key,
    described,
    load,
    objects,
    objects_of,
    read,
    texts,
)
from sealserve.deploy.description.writing import Answers, describe
from sealserve.deploy.gramine.servers import program
from sealserve.keyservice.config import load_config
from sealserve.keyservice.store.postgresql import open_server
from sealserve.lab.arguments import normalize
from sealserve.serving import settings as serving_settings
from sealserve.serving.flags import parse_flags

SERVER = ("Deployment", "digits-server")
LAB_SERVER = ("Deployment", "digits-simulated-server")


def found(name: str, target: str) -> dict[Key, Object]:
    return by_key(objects(name, target))


def container(deployment: Object, index: int = 0) -> Object:
    pod = deployment["spec"]["template"]["spec"]
    result: Object = pod["containers"][index]
    return result


PROBES = {
    "an enclave": ("generic", {}, "tcpSocket"),
    "an enclave of ours": ("azure", {"kind": "sealserve"}, "tcpSocket"),
    "the lab's server": ("lab", {}, "httpGet"),
    "the lab's server, which asks for certificates": ("lab", {"tls": "mutual"}, "tcpSocket"),
}


@pytest.mark.parametrize("case", PROBES)
def test_probes_ask_what_can_be_asked(case: str) -> None:
    target, answers, kind = PROBES[case]
    name = LAB_SERVER if target == "lab" else SERVER
    server = container(by_key(objects_of(described(**answers), target))[name])
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert kind in server[probe]
        assert server[probe].get("httpGet", {"scheme": "HTTPS"})["scheme"] == "HTTPS"
    assert (
        server["startupProbe"]["failureThreshold"] * server["startupProbe"]["periodSeconds"] > 600
    )


EPC = {
    "generic": {"sgx.intel.com/epc": "4096Mi", "sgx.intel.com/enclave": "1"},
    "azure": {"sgx.intel.com/epc": "4096Mi"},
    "alibaba": {"alibabacloud.com/sgx_epc_MiB": "4096"},
    "lab": {},
}


@pytest.mark.parametrize("target", EPC)
def test_the_enclaves_size_is_what_is_asked_of_the_device_plugin(target: str) -> None:
    name = LAB_SERVER if target == "lab" else SERVER
    limits = container(found("plain", target)[name])["resources"]["limits"]
    assert {key: value for key, value in limits.items() if key != "memory"} == EPC[target]


def test_a_servers_image_is_its_kinds_and_arguments_are_in_the_enclave() -> None:
    stock = container(found("plain", "generic")[SERVER])
    ours = container(found("everything", "azure")[SERVER])
    assert stock["image"].startswith("sealserve-tensorflow:")
    assert ours["image"] == "registry.example.com:5000/ml/sealserve-server:7"
    assert stock["command"] == ["gramine-sgx", "/usr/lib/sealserve/enclave/tensorflow_model_server"]
    assert ours["command"] == ["gramine-sgx", "/usr/lib/sealserve/enclave/sealserve"]
    assert not {"args"} & (set(stock) | set(ours))
    assert container(found("plain", "lab")[LAB_SERVER])["command"] == ["sealserve"]


def test_aesm_beside_a_server_has_the_provisioning_device_and_starts_first() -> None:
    pod = found("everything", "azure")[SERVER]["spec"]["template"]["spec"]
    (aesm,) = pod["initContainers"]
    assert aesm["restartPolicy"] == "Always"
    assert aesm["resources"]["limits"]["sgx.intel.com/provision"] == "1"
    server = pod["containers"][0]
    assert "sgx.intel.com/provision" not in server["resources"]["limits"]
    mounts = [{m["name"]: m for m in each["volumeMounts"]}["aesm"] for each in (aesm, server)]
    assert [each.get("readOnly", False) for each in mounts] == [False, True]
    assert pod["securityContext"]["supplementalGroups"] == [106]


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_the_labs_server_has_arguments_that_it_and_the_lab_understand(name: str) -> None:
    words = container(found(name, "lab")[LAB_SERVER])["args"]
    assert words[:3] == ["lab", "enclave", "/run/sealserve/world/lab"]
    arguments = words[words.index("--") + 1 :]
    assert arguments[0] == "serve"
    normalize(arguments)
    flags, notes = parse_flags(arguments[1:])
    serving_settings.check(flags)
    assert notes == []
    assert flags.evidence_source == "lab:/tmp/qe/qe.sock"
    space = f"{DESCRIPTIONS[name].kubernetes.namespace or 'digits'}-simulated"
    port = 443 if name == "alias" else 4433
    assert flags.key_service == f"keys.{space}.svc:{port}"
    assert (flags.port, flags.rest_api_port) == ((8501, 8502) if name == "alias" else (8500, 8501))
    assert bool(flags.monitoring_config_file) == (name == "everything")


def test_cpu_decides_how_many_replicas_there_are_and_requests_where_they_are_counted() -> None:
    hardware = found("everything", "azure")["HorizontalPodAutoscaler", "digits-server"]["spec"]
    lab = found("everything", "lab")["HorizontalPodAutoscaler", "digits-simulated-server"]["spec"]
    assert [each["type"] for each in hardware["metrics"]] == ["Resource"]
    assert [each["type"] for each in lab["metrics"]] == ["Resource", "Pods"]
    counted = lab["metrics"][1]["pods"]
    page = Path(__file__).parents[3] / "docs" / "serving-watching.md"
    assert f"`{counted['metric']['name']}`" in page.read_text()
    assert counted["target"] == {"type": "AverageValue", "averageValue": "16"}
    assert (hardware["minReplicas"], hardware["maxReplicas"]) == (2, 9)


def test_as_many_at_most_as_at_least_is_no_autoscaling() -> None:
    made = found("inside", "generic")
    assert not [kind for kind, _ in made if kind == "HorizontalPodAutoscaler"]
    assert made[SERVER]["spec"]["replicas"] == 2


def test_a_key_service_outside_is_a_service_without_pods() -> None:
    addresses = found("everything", "generic")
    assert "selector" not in addresses["Service", "keys"]["spec"]
    slice_ = addresses["EndpointSlice", "keys"]
    assert slice_["metadata"]["labels"]["kubernetes.io/service-name"] == "keys"
    assert slice_["endpoints"] == [{"addresses": ["192.0.2.7", "192.0.2.8"]}]
    alias = found("alias", "alibaba")["Service", "keys"]["spec"]
    assert alias == {"type": "ExternalName", "externalName": "keys.example.com"}
    assert not [name for _, name in found("plain", "generic") if name == "keys"]


@pytest.mark.parametrize(
    ("name", "target"), [("inside", "generic"), ("plain", "lab"), ("alias", "lab")]
)
def test_the_key_services_configuration_is_one_that_it_takes(
    name: str, target: str, tmp_path: Path
) -> None:
    prefix = "digits-simulated" if target == "lab" else "digits"
    made = found(name, target)
    text = made["ConfigMap", f"{prefix}-keyservice"]["data"]["keyservice.toml"]
    path = tmp_path / "keyservice.toml"
    path.write_text(text)
    config = load_config(path)
    deployment = made["Deployment", f"{prefix}-keyservice"]
    pod: Any = deployment["spec"]["template"]["spec"]
    mounts = [each["mountPath"] for each in container(deployment)["volumeMounts"]]
    for file in (config.tls.private_key, config.tls.certificate, config.state):
        assert [folder for folder in mounts if file.is_relative_to(folder)]
    assert config.watch is not None
    ports = {each["name"]: each["containerPort"] for each in container(deployment)["ports"]}
    assert ports == {"service": config.listen.port, "watch": config.watch.listen.port}
    assert min(ports.values()) >= 1024
    assert (config.attestation.trust_root is not None) == (target == "lab")
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    assert [each["name"] for each in pod["initContainers"]][-2:] == ["secrets", "init"]
    assert tomllib.loads(text)["wrapping"]["kind"] == "file"


@pytest.mark.parametrize(("target", "suffix"), [("generic", ""), ("lab", "_simulated")])
def test_several_key_services_share_a_database_and_nothing_else(
    target: str, suffix: str, tmp_path: Path
) -> None:
    prefix = "digits-simulated" if target == "lab" else "digits"
    made = found("several", target)
    path = tmp_path / "keyservice.toml"
    path.write_text(made["ConfigMap", f"{prefix}-keyservice"]["data"]["keyservice.toml"])
    config = load_config(path)
    assert (config.database.host, config.database.port) == ("db.databases.svc", 5433)
    assert config.database.database == f"keys{suffix}"  # what is simulated shares none
    deployment = made["Deployment", f"{prefix}-keyservice"]["spec"]
    assert deployment["replicas"] == 3
    assert deployment["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    volumes = {each["name"]: each for each in deployment["template"]["spec"]["volumes"]}
    assert volumes["state"]["emptyDir"]["medium"] == "Memory"
    assert ("PersistentVolumeClaim", f"{prefix}-keyservice") not in made
    assert ("PodDisruptionBudget", f"{prefix}-keyservice") in made
    given = {each["path"] for each in volumes["given"]["secret"]["items"]}
    named = (config.database_password, Path(str(config.database.query["sslrootcert"])))
    assert {each.name for each in named if each} == given - {"kek", "cert.pem", "key.pem"}
    open_server(config.database, None).dispose()  # takes the way that is rendered


def test_how_many_key_services_there_are_is_left_to_operators_where_there_may_be_several() -> None:
    for name, values in (("several", {"replicas": 3}), ("inside", None)):
        text = texts(DESCRIPTIONS[name])["charts/generic/values.yaml"]
        assert load(text).get("keyService") == values
    two = described("\n[kubernetes]\nkey_service_database = 'postgresql://k@192.0.2.7/k'\n")
    deployment = by_key(objects_of(two, "lab"))["Deployment", "digits-simulated-keyservice"]
    assert deployment["spec"]["replicas"] == 2


def test_edges_are_those_that_are_asked_for() -> None:
    kinds = {
        name: {each["kind"] for each in objects(name, "generic")} & {"Ingress", "TLSRoute"}
        for name in DESCRIPTIONS
    }
    assert kinds == {
        "plain": set(),
        "everything": {"Ingress", "TLSRoute"},
        "inside": {"TLSRoute"},
        "alias": set(),
        "several": set(),
    }
    assert ("Deployment", "digits-edge") in found("plain", "generic")
    assert ("Deployment", "digits-edge") not in found("inside", "generic")


def test_an_ingress_passes_tls_through_and_says_that_its_controller_is_retired() -> None:
    ingress = found("everything", "azure")["Ingress", "digits-edge"]
    annotations = ingress["metadata"]["annotations"]
    assert annotations["nginx.ingress.kubernetes.io/ssl-passthrough"] == "true"
    assert "retired in March 2026" in annotations["sealserve.io/retired"]
    assert "tls" not in ingress["spec"]


def test_nginx_follows_the_headless_service_and_starts_anew_with_another_configuration() -> None:
    made = found("plain", "generic")
    text = made["ConfigMap", "digits-edge"]["data"]["nginx.conf"]
    assert made["Service", "digits-pods"]["spec"]["clusterIP"] == "None"
    assert "grpc.example.com digits-pods.digits.svc.cluster.local:8500;" in text
    assert "resolver kube-dns.kube-system.svc.cluster.local valid=1s;" in text
    other = by_key(objects_of(described(domain="other.example.com"), "generic"))
    template = "sealserve.io/configuration"
    hashes = [
        each["Deployment", "digits-edge"]["spec"]["template"]["metadata"]["annotations"][template]
        for each in (made, other)
    ]
    assert hashes[0] != hashes[1]


@pytest.mark.parametrize("kind", ["tensorflow-serving", "sealserve"])
def test_a_pod_goes_when_its_last_old_connection_has_become_too_old(kind: str) -> None:
    plain = described(kind=kind)
    aged = read(describe(Answers(kind=kind)).replace("batching = false", "connection_age = 60"))
    words = program(aged).arguments
    flag = "--grpc_channel_arguments=grpc.max_connection_age_ms=60000,"
    assert [word for word in words if word.startswith(flag)]
    assert not [word for word in program(plain).arguments if "max_connection_age" in word]
    assert plain.digest == described(kind=kind).digest != aged.digest
    for description, seconds in ((plain, 15), (aged, 71)):
        deployment = by_key(objects_of(description, "generic"))[SERVER]
        assert container(deployment)["lifecycle"]["preStop"] == {"sleep": {"seconds": seconds}}
        pod = deployment["spec"]["template"]["spec"]
        assert pod["terminationGracePeriodSeconds"] == seconds + 45
