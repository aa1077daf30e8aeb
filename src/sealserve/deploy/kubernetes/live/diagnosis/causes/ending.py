"""Containers that ran and ended: out of memory, a model that does not open, a crash, a probe.

Sources: Kubernetes, "Pod Lifecycle" (container states, probes); `sealserve.serving` (events of a
server's log); `sealserve.errors` (codes).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sealserve.deploy.kubernetes.aesm import AESM
from sealserve.deploy.kubernetes.lab import WORLD
from sealserve.deploy.kubernetes.live.diagnosis.causes.catalogue import Cause, Finding, shown
from sealserve.deploy.kubernetes.live.fields import Object, at, moment, number, rows, text
from sealserve.deploy.kubernetes.live.seen import (
    Seen,
    began,
    component_of,
    containers,
    is_ready,
    last_end,
)
from sealserve.deploy.kubernetes.live.told import Told, told
from sealserve.errors import ConfigError, NetworkError

_ASKING: Final = frozenset(  # codes of a server's end that `keys` explains
    {
        *("release-denied", "server-certificate", "evidence-source", "network", "tls"),
        *("undecided", "protocol", "deadline", "overloaded"),
    }
)
_MODELS: Final = (
    "put it into the claim, sealed, as its base_path with a folder for each version: "
    "base_path in [[models]] is measured"
)
_CURES: Final = {
    WORLD: "lab.tar in the Secret of the lab must be a folder `lab`, as tar packs it: "
    "tar -cf lab.tar lab",
    AESM: "the image in aesm_image must run as user 10001, with the node's SGX devices: "
    "sealserve k8s logs",
}
_BY_EXIT_CODE: Final = {
    ConfigError.exit_code: Cause.MISCONFIGURED,
    NetworkError.exit_code: Cause.NEEDS,
}
_PROBES: Final = ("Startup", "Readiness", "Liveness")


def ending(seen: Seen) -> Iterator[Finding]:
    """Why containers end, or do not answer."""
    for pod in seen.pods():
        found = [each for status in containers(pod) for each in _ended(seen, pod, status)]
        yield from found
        if not is_ready(pod):
            yield from _loading(seen, pod)
            yield from _probes(seen, pod)


def _ended(seen: Seen, pod: Object, status: Object) -> Iterator[Finding]:
    end = last_end(status)
    called = text(status, "name")
    if text(end, "reason") == "OOMKilled":
        what = f"the container {called} was killed: it took more than its {_limit(pod, called)}"
        cure = "raise the limit (in a chart: server.memoryLimit), or lower size and threads"
        finding = Cause.OUT_OF_MEMORY.of(pod, what, cure)
        yield finding.warning() if is_ready(pod) else finding
    elif not is_ready(pod) and number(end, "exitCode") not in (0, 143):
        log = told(seen.log(pod, called))
        yield from _crashed(pod, called, number(end, "exitCode"), log)


def _crashed(pod: Object, called: str, code: int, log: Told) -> Iterator[Finding]:
    fault = log.fault
    asking = log.speaks_of_aesm if fault is None else fault.code in _ASKING
    if called == "server" and asking:
        return
    if fault is not None and fault.code.partition(".")[0] == "integrity":
        yield _not_whole(pod, fault.message, fault.code)
        return
    if fault is not None and called == "server" and "base path" in fault.message:
        yield Cause.NO_VERSION.of(pod, shown(fault.message), _MODELS)
        return
    if fault is not None:
        what = f"the container {called} ends at once: {shown(fault.message)}"
        cure = shown(fault.hint) or f"the code {fault.code} is in its log: sealserve k8s logs"
        yield _BY_EXIT_CODE.get(code, Cause.CRASHED).of(pod, what, cure).coded(fault.code)
        return
    what = f"the container {called} ends with {code}: {shown(log.words) or 'it says nothing'}"
    cause = Cause.NO_QUOTE if called == AESM else Cause.CRASHED
    yield cause.of(pod, what, _CURES.get(called, "its log has more: sealserve k8s logs"))


def _not_whole(pod: Object, message: str, code: str) -> Finding:
    if component_of(pod) != "server":
        cure = "the audit log or a backup is damaged: docs/operations.md, before anything else"
        return Cause.INTEGRITY.of(pod, shown(message), cure).coded(code)
    cure = "put what was sealed into the claim anew: it was damaged, or somebody changed it"
    if code == "integrity.key-or-header":
        cure = (
            "was it sealed with another key than the secret that is released, or damaged? seal it "
            "with that one, or give the key service this one: sealserve secret rotate"
        )
    return Cause.INTEGRITY.of(pod, f"a sealed file does not open: {shown(message)}", cure).coded(
        code
    )


def _loading(seen: Seen, pod: Object) -> Iterator[Finding]:
    """Models that a running server does not get."""
    log = told(seen.log(pod, "server"))
    if component_of(pod) != "server" or log.fault is not None:
        return
    failed = log.last("version_not_loaded", "version_loaded")
    if failed.get("event") == "version_not_loaded":
        code, reason = text(failed, "code"), text(failed, "reason")
        if code.partition(".")[0] == "integrity":
            yield _not_whole(pod, f"{text(failed, 'model')}: {reason}", code)
        else:
            what = f"the model {text(failed, 'model')} cannot be loaded: {shown(reason)}"
            cure = "sealserve model inspect says what a model has"
            yield Cause.MODEL.of(pod, what, cure).coded(code or Cause.MODEL)
    missing = log.last("no_versions", "version_loaded")
    if missing.get("event") == "no_versions":
        where = text(missing, "folder") or text(missing, "base_path")
        what = f"the model {text(missing, 'model')} has no version in {where or 'its folder'}"
        yield Cause.NO_VERSION.of(pod, what, _MODELS)


def _limit(pod: Object, container: str) -> str:
    every = rows(pod, "spec", "initContainers") + rows(pod, "spec", "containers")
    found = [
        text(each, "resources", "limits", "memory")
        for each in every
        if each.get("name") == container
    ]
    return found[0] if found and found[0] else "node has"


def _probes(seen: Seen, pod: Object) -> Iterator[Finding]:
    """The newest probe that fails, where a container runs."""
    running = [each for each in containers(pod) if at(each, "state", "running")]
    unready = [each for each in running if each.get("ready") is False]
    events = [each for each in seen.events(pod) if text(each, "reason") == "Unhealthy"]
    if not unready or not events:
        return
    event, container = events[-1], unready[-1]
    message = text(event, "message")
    kind = message.partition(" ")[0]
    if kind not in _PROBES:
        return
    since = began(event).strftime("%H:%M:%S")
    if kind == "Startup" and container.get("started") is False:
        begun = moment(container, "state", "running", "startedAt")
        seconds = round((seen.now - begun).total_seconds()) if begun else 0
        what = f"the container {text(container, 'name')} is starting, for {seconds} s so far"
        cure = "wait; what it does is in its log: sealserve k8s logs"
        yield Cause.STARTING.of(pod, what, cure).warning()
    elif container.get("started") is not False:
        what = f"the {kind.lower()} probe fails since {since}: {shown(message)}"
        cure = "the container runs, and its log says what it does: sealserve k8s logs"
        yield Cause.PROBE.of(pod, what, cure)
