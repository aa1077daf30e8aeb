"""Servers that have no key: nobody asked can be reached, no quote is to be had, or it is denied.

Told from a server's own log and the key service's records; a peer is told no more than a code, and
its owner reads here what the policy found. Sources: docs/policy-reference.md, docs/verifier.md
(codes), `sealserve.attester` (messages).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from sealserve.deploy.kubernetes.live import decided
from sealserve.deploy.kubernetes.live.diagnosis.causes.catalogue import Cause, Finding, shown
from sealserve.deploy.kubernetes.live.diagnosis.causes.denials import denial
from sealserve.deploy.kubernetes.live.fields import Object, text
from sealserve.deploy.kubernetes.live.seen import Seen, is_ready
from sealserve.deploy.kubernetes.live.told import Told, told
from sealserve.deploy.kubernetes.plan import Plan

_PLACE: Final = re.compile(r"([^\s,]+):(\d+) \(([^)]*)\)")
_NO_NAME: Final = ("Name or service not known", "No address associated", "not known")
_NO_DNS: Final = "Temporary failure in name resolution"
_NO_ANSWER: Final = (
    "does DNS run (kubectl get pods -n kube-system), and is resolver in [kubernetes] the one that "
    "pods ask? to others the NetworkPolicy lets nobody out"
)
_QUOTES: Final = "evidence-source"


def keys(seen: Seen) -> Iterator[Finding]:
    """Why servers that are not ready have no key."""
    for pod in seen.pods("server"):
        if not is_ready(pod):
            yield from _of(seen, pod)


def _of(seen: Seen, pod: Object) -> Iterator[Finding]:
    log = told(seen.log(pod, "server"))
    decision = decided.newest(seen, pod)
    code = log.fault.code if log.fault else ""
    since = decided.when(decision)
    if decision and not (log.asked and since and log.asked > since):
        if text(decision, "outcome") != "released":
            yield denial(seen, pod, decision)
    elif code == Cause.DENIED:
        yield denial(seen, pod, {})
    elif code == "server-certificate":
        yield _distrusted(seen.plan, pod, log)
    elif code == _QUOTES or log.speaks_of_aesm:
        yield _no_quote(seen.plan, pod, log)
    elif reason := text(log.waits, "reason") or (_message(log) if _is_network(log) else ""):
        yield _unreached(seen, pod, reason)


def _unreached(seen: Seen, pod: Object, reason: str) -> Finding:
    found = _PLACE.search(reason)
    if found is None:
        cause = Cause.UNDECIDED if "could not decide" in reason else Cause.BROKEN
        cure = "its log says why: sealserve k8s logs, or whoever runs it"
        return cause.of(pod, f"the key service does not answer: {shown(reason)}", cure)
    host, port, why = found.groups()
    if _is_another(seen.plan, host) or any(each in why for each in _NO_NAME):
        return Cause.NAME.of(pod, f"the key service's name {host} is not known", _names(seen))
    if _NO_DNS in why:
        what = f"the cluster's DNS does not answer for the key service's name {host}"
        return Cause.NAME.of(pod, what, _NO_ANSWER)
    what = f"the key service at {host}:{port} is not reached: {why}"
    return Cause.UNREACHED.of(pod, what, _way(seen))


def _is_another(plan: Plan, host: str) -> bool:
    """Whether it asks in our namespace under a name that is none of its Services'."""
    service, _, rest = host.partition(".")
    here = rest.startswith(f"{plan.namespace}.svc")
    return plan.key_service_inside and here and service != plan.key_service


def _names(seen: Seen) -> str:
    """What to do about a name that DNS does not have."""
    plan = seen.plan
    if not plan.key_service_inside:
        return "correct address in [key_service], which is measured, or make the name known to DNS"
    if seen.find("Service", plan.key_service) is None and "Service" not in seen.unseen:
        return f"there is no Service {plan.key_service}: sealserve k8s apply"
    wanted = f"{plan.key_service}.{plan.namespace}.svc"
    return f"the Service is {wanted}: apply what is rendered (sealserve k8s apply)"


def _way(seen: Seen) -> str:
    if not seen.plan.key_service_inside:
        return "is it running, is the address right, and does a firewall let the nodes out to it?"
    pods = seen.pods("keyservice")
    ready = sum(map(is_ready, pods))
    if not ready:
        return f"none of its {len(pods)} pods is ready: it is to be mended first"
    return (
        f"its pods are ready: compare the address with the Service {seen.plan.key_service}, and "
        "look for a NetworkPolicy that stands between"
    )


def _distrusted(plan: Plan, pod: Object, log: Told) -> Finding:
    message = log.fault.message if log.fault else ""
    what = f"the server does not believe the key service: {shown(message)}"
    cure = (
        f"the certificate must be of the CA in {plan.description.key_service.ca} of the claim "
        f"{plan.named('models')}, for the name that is asked: give the key service that one "
        f"(Secret {plan.named('keyservice')}), or the claim its CA, which is measured"
    )
    return Cause.CERTIFICATE.of(pod, what, cure)


def _no_quote(plan: Plan, pod: Object, log: Told) -> Finding:
    said = shown(log.fault.message if log.fault else log.words)
    cure = "start AESM on the node (systemctl status aesmd), with Intel's quote provider"
    if plan.quotes_beside:
        cure = "look at the container aesm of the pod: kubectl logs --container aesm"
    if plan.target.simulated:
        cure = "the lab's archive must be whole: make the Secret with lab.tar anew"
    return Cause.NO_QUOTE.of(pod, f"the server has no quote of itself: {said}", cure)


def _is_network(log: Told) -> bool:
    codes = ("network", "tls", "undecided", "protocol", "deadline", "overloaded")
    return log.fault is not None and log.fault.code in codes


def _message(log: Told) -> str:
    return log.fault.message if log.fault else ""
