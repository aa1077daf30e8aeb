"""What is wrong with a service in a cluster, from what was seen of it: recorded on a real one."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click
import pytest

from rendered_cluster import Object
from sealserve.cli import cli
from sealserve.deploy.kubernetes.live.diagnosis.causes.catalogue import Cause, Finding
from sealserve.deploy.kubernetes.live.diagnosis.causes.explaining import explain, worst
from sealserve.deploy.kubernetes.live.seen import Seen
from sealserve.deploy.weakness import Severity
from seen_recordings import failing, names, plan, seen

MEASURED = "742b81d9302f23bd13ba9103574ecebb99fa8a350a146730431807f54fa664eb"
ACCEPTED = "79829f4a46699d9be08e2976ee20997bd5808b67edfc862be1782afdc5fec136"
DOCS = Path(__file__).parent.parent.parent.parent / "docs" / "kubernetes-running.md"


def errors(found: Seen) -> list[Finding]:
    return [each for each in explain(found) if each.severity is Severity.ERROR]


# What was broken: the code that is found, the exit code, what is said and what to do.
RECORDED: dict[str, tuple[str, int, str, str]] = {
    "image": ("image.not-found", 1, "no image localhost/sealserve-server:none", "push it"),
    "image-never": ("image.never-pulled", 1, "sealserve-server:none", "IfNotPresent"),
    "cpu": ("node.cpu", 1, "asks for 8 of cpu, and a node offers 2", "threads"),
    "memory": ("node.memory", 1, "asks for 900Gi of memory", "more memory"),
    "epc-none": ("node.no-sgx", 1, "512Mi of sgx.intel.com/epc, and no node", "device plugin"),
    "secret": ("given.secret", 1, "digits-simulated-lab", "kubectl create secret generic"),
    "quota": ("admission.quota", 1, "exceeded quota: small", "ResourceQuota"),
    "pod-security": ("admission.pod-security", 1, "allowPrivilegeEscalation", "k8s apply"),
    "claim-missing": ("given.claim", 1, "no claim absent", "k8s apply"),
    "claim-unbound": ("given.claim-unbound", 1, "digits-simulated-other (1Gi", "StorageClass"),
    "denied": ("policy.measurement", 4, f"found {MEASURED}, expected {ACCEPTED}", MEASURED),
    "flag": ("usage", 1, "there is no flag --no_such_flag", "sealserve serve --help"),
    "oom": ("container.out-of-memory", 1, "more than its 48Mi", "raise the limit"),
    "host-path": ("quote.no-aesm", 1, "/var/run/aesmd", "aesm_image"),
    "name": ("key-service.name", 3, "keyz.digits-simulated.svc", "keys.digits-simulated.svc"),
    "port": ("key-service.unreached", 3, "4434 is not reached: Connection refused", "Service"),
    "network-policy": ("key-service.unreached", 3, "4433 is not reached", "NetworkPolicy"),
    "no-dns": ("key-service.name", 3, "DNS does not answer", "resolver"),
    "refused": ("applied.stopped", 1, "digits-simulated-keyservice is scaled", "kubectl scale"),
    "certificate": ("key-service.certificate", 3, "does not believe", "key-service-ca.pem"),
    "lab-broken": ("container.crashed", 1, "does not look like a tar archive", "lab.tar"),
    "revoked": ("policy.revoked", 4, f"revoked MRENCLAVE {ACCEPTED}", "revocation list"),
    "platform": ("policy.revoked", 4, "the revoked platform", "revocation list"),
    "tampered": ("integrity.node", 5, "models/digits/1/saved_model.pb", "claim anew"),
    "no-folder": ("model.no-version", 1, "base path models/digits", "into the claim"),
    "policy-map": ("given.config-map", 1, "digits-simulated-policy", "create configmap"),
    "image-registry": ("image.registry", 3, "registry.invalid", "registry in"),
    "no-secret": ("secret.retired", 4, "grants 'digits'", "sealserve secret rotate"),
    "secret-key": ("given.secret", 1, "has no key.pem", "--from-file=key.pem"),
    "probe": ("probe.failing", 3, "readiness probe fails since 13:48:08", "k8s logs"),
    "wrong-key": ("integrity.key-or-header", 5, "not the one that this file was", "another key"),
}


@pytest.mark.parametrize("name", RECORDED)
def test_what_was_broken_on_a_real_cluster_is_told_in_one_finding(name: str) -> None:
    code, exit_code, what, cure = RECORDED[name]
    (finding,) = errors(seen(name))
    assert finding.code == code, finding
    assert what in finding.what
    assert cure in finding.cure
    assert worst([finding]) == exit_code


def test_every_recording_is_tried() -> None:
    assert {*RECORDED, "healthy"} == set(names())


def test_a_service_that_serves_has_no_error_and_is_told_what_does_not_work() -> None:
    found = explain(seen("healthy"))
    assert [each.code for each in found] == ["autoscaler.no-metrics"]
    assert worst(found) == 0


def test_pods_that_show_the_same_are_told_together() -> None:
    found = seen("cpu")
    other = copy.deepcopy(failing(found))
    other["metadata"]["name"] = "another"
    (finding,) = errors(replace(found, objects=[*found.objects, other]))
    assert finding.pods == (failing(found)["metadata"]["name"], "another")


def _changed(found: Seen, change: Callable[[Object], None], kind: str = "Pod") -> Seen:
    """With the failing pod, or all objects of another kind, changed."""
    objects = copy.deepcopy(list(found.objects))
    name = failing(found)["metadata"]["name"]
    for each in objects:
        if each["kind"] == kind and (kind != "Pod" or each["metadata"]["name"] == name):
            change(each)
    return replace(found, objects=objects)


def _waiting(reason: str, message: str) -> Callable[[Object], None]:
    def change(pod: Object) -> None:
        status = pod["status"]["containerStatuses"][0]
        status["state"] = {"waiting": {"reason": reason, "message": message}}

    return change


def _unplaced(message: str) -> Callable[[Object], None]:
    def change(pod: Object) -> None:
        (scheduled,) = pod["status"]["conditions"]
        scheduled["message"] = message

    return change


# Messages of other registries, of containerd and of the kubelet, for a container that waits.
WAITING = {
    "registry.example.com/digits/sealserve-server:1: not found": ("ErrImagePull", Cause.IMAGE),
    "manifest unknown: manifest unknown": ("ImagePullBackOff", Cause.IMAGE),
    "unexpected status from HEAD request: 401 Unauthorized": ("ErrImagePull", Cause.IMAGE_REFUSED),
    "pull access denied, repository does not exist or may require authorization": (
        "ImagePullBackOff",
        Cause.IMAGE_REFUSED,
    ),
    "dial tcp: lookup registry.example.com: no such host": ("ErrImagePull", Cause.IMAGE_REGISTRY),
    "couldn't parse image reference": ("InvalidImageName", Cause.IMAGE_NAME),
    "container image is not present with pull policy of Never": (
        "ErrImageNeverPull",
        Cause.IMAGE_NOT_PULLED,
    ),
    'secret "other" not found': ("CreateContainerConfigError", Cause.SECRET),
    'configmap "other" not found': ("CreateContainerConfigError", Cause.CONFIG_MAP),
    "container has runAsNonRoot and image will run as root": (
        "CreateContainerConfigError",
        Cause.CANNOT_START,
    ),
    "failed to create containerd task: exec: no such file": (
        "RunContainerError",
        Cause.CANNOT_START,
    ),
}


@pytest.mark.parametrize("message", WAITING)
def test_a_container_that_waits_says_why(message: str) -> None:
    reason, cause = WAITING[message]
    (finding,) = errors(_changed(seen("image"), _waiting(reason, message)))
    assert finding.cause is cause


def test_an_image_of_aesm_is_told_by_the_key_that_names_it() -> None:
    def change(pod: Object) -> None:
        pod["status"]["containerStatuses"][0]["name"] = "aesm"

    (finding,) = errors(_changed(seen("image"), change))
    assert "aesm_image in [kubernetes]" in finding.what


@pytest.mark.parametrize(
    ("offered", "cause", "said"),
    [
        ("96Mi", Cause.EPC, "a pod asks for 512Mi of sgx.intel.com/epc, and a node offers 96Mi"),
        ("1Gi", Cause.EPC, "a node offers 1Gi at most, part of which others hold"),
        ("0", Cause.NO_SGX, "no node offers any"),
    ],
)
def test_epc_is_told_by_how_much_is_asked_and_offered(
    offered: str, cause: Cause, said: str
) -> None:
    def offer(node: Object) -> None:
        node["status"]["allocatable"]["sgx.intel.com/epc"] = offered

    (finding,) = errors(_changed(seen("epc-none"), offer, "Node"))
    assert finding.cause is cause
    assert said in finding.what


def test_without_a_right_to_see_nodes_nothing_is_said_of_what_they_offer() -> None:
    found = seen("epc-none")
    objects = [each for each in found.objects if each["kind"] != "Node"]
    (finding,) = errors(replace(found, objects=objects, unseen=frozenset({"Node"})))
    assert finding.cause is Cause.EPC
    assert "no node has so much left" in finding.what


def test_a_node_that_does_not_take_the_pod_for_another_reason_is_told_in_its_words() -> None:
    message = "0/3 nodes are available: 3 node(s) had untolerated taint(s). preemption: none."
    (finding,) = errors(_changed(seen("cpu"), _unplaced(message)))
    assert finding.cause is Cause.NO_NODE
    assert "untolerated taint" in finding.what
    assert "preemption" not in finding.what


def test_a_pod_on_a_node_that_is_lost_says_so() -> None:
    lost = {"type": "Ready", "status": "Unknown", "message": "Kubelet stopped posting status."}

    def lose(node: Object) -> None:
        node["status"]["conditions"] = [lost]

    codes = [each.code for each in errors(_changed(seen("probe"), lose, "Node"))]
    assert codes == ["node.not-ready"]


def test_a_pod_that_was_evicted_says_what_the_node_was_short_of() -> None:
    def evict(pod: Object) -> None:
        message = "The node was low on resource: memory."
        pod["status"] = {"phase": "Failed", "reason": "Evicted", "message": message}

    (finding,) = errors(_changed(seen("cpu"), evict))
    assert finding.cause is Cause.EVICTED
    assert "low on resource: memory" in finding.what


# Codes of the key service for an outcome, and the exit code of their family.
DECIDED = {
    "policy.tcb-status": ("denied", 4, "firmware"),
    "policy.debug": ("denied", 4, "sgx.debug = false"),
    "policy.secret": ("denied", 4, "policy apply"),
    "policy.fmspc": ("denied", 4, "policy apply"),
    "policy.mr-seam": ("denied", 4, "docs/policy-reference.md"),
    "secret.unknown": ("denied", 4, "sealserve secret add"),
    "secret.revoked": ("denied", 4, "sealserve secret rotate"),
    "QUOTE_SIGNATURE": ("rejected", 2, "docs/verifier.md"),
    "binding.report-data": ("rejected", 2, "docs/verifier.md"),
    "ratls.evidence": ("rejected", 2, "docs/verifier.md"),
    "collateral": ("failed", 3, "its log says why"),
}


@pytest.mark.parametrize("code", DECIDED)
def test_a_decision_is_told_by_its_own_code_and_what_it_rests_on(code: str) -> None:
    outcome, exit_code, cure = DECIDED[code]
    found = seen("denied")
    assert found.decisions is not None
    why = {"explanation": ["tcb_status FAILS: found OutOfDate, expected UpToDate"]}
    record = {**found.decisions[0], "outcome": outcome, "code": code, **why}
    (finding,) = errors(replace(found, decisions=[record]))
    assert finding.code == code
    assert "tcb_status: found OutOfDate, expected UpToDate" in finding.what
    assert cure in finding.cure
    assert worst([finding]) == exit_code


def test_without_the_audit_log_a_denial_is_told_by_the_evidence_that_its_owner_asks_for() -> None:
    (finding,) = errors(replace(seen("denied"), decisions=()))
    assert finding.code == "release-denied"
    assert re.search(r"sealserve audit search --evidence [0-9a-f]{64}$", finding.cure)
    assert worst([finding]) == 4


def test_the_log_of_the_key_service_stands_in_for_its_audit_log() -> None:
    found = seen("denied")
    assert found.decisions is not None
    (record,) = found.decisions[:1]
    line = {**record, "event": "decision", "reason": record["explanation"][0]}
    (service,) = found.pods("keyservice")
    key = f"{service['metadata']['name']}/keyservice"
    logs = {**found.logs, key: json.dumps(line)}
    (finding,) = errors(replace(found, decisions=None, logs=logs))
    assert finding.code == "policy.measurement"
    assert MEASURED in finding.what


def test_a_denial_of_another_life_of_the_address_is_not_the_pods() -> None:
    found = seen("denied")
    assert found.decisions is not None
    before = {**found.decisions[0], "time": "2026-11-29T13:30:00+00:00", "evidence_sha256": "00"}
    assert [each.code for each in errors(replace(found, decisions=[before]))] == ["release-denied"]


def test_the_key_service_outside_is_not_looked_for_in_the_cluster() -> None:
    found = replace(seen("port"), plan=plan("generic"))
    codes = {each.code: each for each in errors(found)}
    assert "firewall" in codes["key-service.unreached"].cure


UNREACHED = {
    "keys.example.com:4433 (Name or service not known)": (Cause.NAME, "not known"),
    "keys.digits-simulated.svc:4433 (Temporary failure in name resolution)": (
        Cause.NAME,
        "DNS does not answer",
    ),
    "keys.digits-simulated.svc:4433 (timed out)": (Cause.UNREACHED, "timed out"),
    "keys.digits-simulated.svc:4433 (closed before TLS began)": (Cause.UNREACHED, "closed"),
}


@pytest.mark.parametrize("reason", UNREACHED)
def test_who_cannot_reach_the_key_service_says_how(reason: str) -> None:
    cause, said = UNREACHED[reason]
    reason = f"no key service can be reached: {reason}"
    event = json.dumps({"event": "no_key_yet", "reason": reason})
    (finding,) = errors(seen("port", logs={"/server": event}))
    assert finding.cause is cause
    assert said in finding.what


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        ("error: /dev/attestation gives no quote: No such file [evidence-source]", Cause.NO_QUOTE),
        ("error: cannot connect to aesm_service", Cause.NO_QUOTE),
        ("error: the TLS session with the key service broke: eof [tls]", Cause.BROKEN),
        ("error: the key service keys:4433 could not decide [undecided]", Cause.UNDECIDED),
        ("Segmentation fault", Cause.CRASHED),
    ],
)
def test_the_last_words_of_a_server_are_understood(words: str, cause: Cause) -> None:
    found = seen("flag", logs={"/server/before": words, "/server": ""})
    assert [each.cause for each in errors(found)] == [cause]


@pytest.mark.parametrize(
    ("container", "code", "words", "cause"),
    [
        ("server", 1, "error: a flag is wrong [usage]", Cause.MISCONFIGURED),
        ("server", 3, "error: the database does not answer [database]", Cause.NEEDS),
        ("server", 139, "", Cause.CRASHED),
        ("aesm", 1, "no device", Cause.NO_QUOTE),
    ],
)
def test_a_container_that_ends_is_told_by_what_it_ended_with(
    container: str, code: int, words: str, cause: Cause
) -> None:
    def change(pod: Object) -> None:
        status = pod["status"]["containerStatuses"][0]
        status["name"] = container
        status["lastState"]["terminated"]["exitCode"] = code

    found = _changed(seen("flag"), change)
    name = failing(found)["metadata"]["name"]
    (finding,) = errors(replace(found, logs={f"{name}/{container}/before": words}))
    assert finding.cause is cause


def test_nothing_applied_is_all_that_is_said() -> None:
    empty = replace(seen("healthy"), objects=())
    (finding,) = explain(empty)
    assert finding.cause is Cause.NOTHING_APPLIED
    assert "no namespace digits-simulated" in finding.what


def test_what_the_description_has_and_the_cluster_has_not_is_told() -> None:
    found = seen("healthy")
    objects = [each for each in found.objects if each["metadata"]["name"] != "keys"]
    (finding,) = errors(replace(found, objects=objects))
    assert (finding.code, finding.component) == ("applied.missing", "keyservice")
    assert "Service keys" in finding.what


def test_a_secret_that_only_the_next_pod_will_miss_is_a_warning() -> None:
    found = seen("healthy")
    objects = [each for each in found.objects if each["kind"] != "Secret"]
    missing = [
        each for each in explain(replace(found, objects=objects)) if each.code == "given.secret"
    ]
    assert [each.severity for each in missing] == [Severity.WARNING] * 2


def test_without_a_right_to_see_secrets_events_tell_which_one_is_missing() -> None:
    (finding,) = errors(replace(seen("secret"), unseen=frozenset({"Secret"})))
    assert finding.cause is Cause.SECRET
    assert "there is no Secret digits-simulated-lab" in finding.what
    assert "kubectl create secret generic digits-simulated-lab" in finding.cure


def test_what_events_say_of_volumes_that_are_there_by_now_is_over() -> None:
    def start(pod: Object) -> None:
        mounted = {"type": "PodReadyToStartContainers", "status": "True"}
        pod["status"]["conditions"] = [mounted]

    assert not errors(_changed(seen("host-path"), start))


def test_nothing_is_concluded_of_what_may_not_be_seen() -> None:
    found = seen("healthy")
    hidden = ("Secret", "ConfigMap", "Namespace", "Node")
    objects = [each for each in found.objects if each["kind"] not in hidden]
    assert not errors(replace(found, objects=objects, unseen=frozenset(hidden)))


def test_what_waiting_may_mend_is_told_apart() -> None:
    assert [each.lasts for each in errors(seen("denied"))] == [True]
    assert [each.lasts for each in errors(seen("port"))] == [False]
    assert not any(each.lasts for each in explain(seen("healthy")))


def test_every_command_in_a_cure_exists() -> None:
    cures = " ".join(each.cure for name in names() for each in explain(seen(name)))
    named = set(re.findall(r"sealserve ((?:[a-z0-9]+ ){0,1}[a-z0-9]+)", cures))
    assert named
    for words in named:
        _find(cli, words.split())


def _find(command: click.Command, words: list[str]) -> None:
    for word in words:
        if isinstance(command, click.Group):
            found = command.get_command(click.Context(command), word)
            assert found is not None, words
            command = found


def test_the_docs_have_a_line_for_each_cause() -> None:
    text = DOCS.read_text()
    assert [cause for cause in Cause if f"`{cause}`" not in text] == []
