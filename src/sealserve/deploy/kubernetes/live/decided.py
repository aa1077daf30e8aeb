"""What the key service decided about the servers in a cluster: its records, by pod.

A record is a pod's if it came from the pod's address in the pod's life, or is of evidence that the
pod's own log names: behind some networks the address is a node's. Where the audit log is not to be
had, the key service's own log has each decision, though not what it rests on.
Source of the fields: docs/operations.md, the audit log's records and the log's event `decision`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sealserve.deploy.kubernetes.live.fields import Object, at, moment, text
from sealserve.deploy.kubernetes.live.seen import Seen
from sealserve.deploy.kubernetes.live.told import told


def decisions(seen: Seen) -> Sequence[Object]:
    """All that are known, newest first."""
    if seen.decisions is not None:
        return seen.decisions
    found: list[Object] = []
    for pod in seen.pods("keyservice"):
        events = told(seen.log(pod, "keyservice")).events
        found += [_as_record(each) for each in events if text(each, "event") == "decision"]
    return sorted(found, key=lambda each: text(each, "time"), reverse=True)


def _as_record(event: Object) -> Object:
    """A line of the log under the names of a record."""
    reason = text(event, "reason")
    renamed = {"evidence_sha256": event.get("evidence"), "explanation": [reason] if reason else []}
    return {**event, **renamed}


def newest(seen: Seen, pod: Object) -> Object:
    """The newest decision about a server; empty where none is known."""
    born = moment(pod, "metadata", "creationTimestamp")
    log = seen.log(pod, "server")
    return next((each for each in decisions(seen) if _is_of(each, pod, born, log)), {})


def when(decision: Object) -> datetime | None:
    """The time of a decision."""
    return moment(decision, "time")


def measurement(decision: Object) -> str:
    """MRENCLAVE of the evidence, in hex; empty where the decision does not say."""
    return text(decision, "claims", "mr_enclave")


def tcb_status(decision: Object) -> str:
    """The platform's TCB status; empty where the decision does not say."""
    return text(decision, "claims", "tcb_status")


def failed(decision: Object) -> list[str]:
    """The conditions of the policy that did not hold, each with what was found and expected."""
    said = at(decision, "explanation")
    lines = [each for each in said if isinstance(each, str)] if isinstance(said, list) else []
    return [each for each in lines if " FAILS: " in each] or lines[:1]


def _is_of(decision: Object, pod: Object, born: datetime | None, log: str) -> bool:
    evidence = text(decision, "evidence_sha256")
    if evidence and evidence in log:
        return True
    address = text(decision, "peer").rpartition(":")[0].strip("[]")
    if not address or address != text(pod, "status", "podIP"):
        return False
    decided = when(decision)
    return born is None or decided is None or decided >= born
