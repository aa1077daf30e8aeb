"""The servers' templates, former ones too: a ReplicaSet holds each, and what its enclave measures.

A ReplicaSet outlives its pods, as long as the Deployment keeps its history, and is taken again when
its template comes back; so the measurement stands on it, and changes no pod. Source: Kubernetes,
"Deployments", Rolling Back, Pod-template-hash label.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sealserve.deploy.kubernetes.live.fields import Object, at, name, rows, table, text
from sealserve.deploy.kubernetes.plan import DIGEST

MEASUREMENT: Final = "sealserve.io/measurement"
FAILED: Final = "sealserve.io/failed"
HASH: Final = "pod-template-hash"
_REVISION: Final = "deployment.kubernetes.io/revision"
_MEASURED: Final = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Revision:
    """One template of a Deployment, as its ReplicaSet holds it."""

    replica_set: str
    number: int
    template: Object
    hash: str
    digest: str  # of the description that it was applied from last
    measurement: bytes | None
    failed: bool  # it was tried, and something else was put back

    def has(self, pod: Object) -> bool:
        """Whether a pod is of it."""
        return text(pod, "metadata", "labels", HASH) == self.hash


def revisions(deployment: Object, replica_sets: Iterable[Object]) -> list[Revision]:
    """All of a Deployment, newest first."""
    unique = at(deployment, "metadata", "uid")
    found = [
        _revision(each)
        for each in replica_sets
        if any(owner.get("uid") == unique for owner in rows(each, "metadata", "ownerReferences"))
    ]
    return sorted(found, key=lambda each: each.number, reverse=True)


def current(deployment: Object, found: Sequence[Revision]) -> Revision | None:
    """The one that the Deployment asks for; None until its controller has made it."""
    wanted = plain(table(deployment, "spec", "template"))
    return next((each for each in found if each.template == wanted), None)


def former(found: Sequence[Revision], now: Revision) -> Revision | None:
    """The newest other one that did not fail: what ran before."""
    return next((each for each in found if each != now and not each.failed), None)


def with_template(rendered: Object, template: Object, digest: str) -> Object:
    """A rendered Deployment with another template, and the digest of what this was made from."""
    found = copy.deepcopy(rendered)
    found["spec"]["template"] = template
    found["metadata"]["annotations"][DIGEST] = digest
    return found


def plain(template: Object) -> Object:
    """Without what only a ReplicaSet's template has, and what says nothing."""
    found = copy.deepcopy(template)
    metadata = found.get("metadata", {})
    metadata.pop("creationTimestamp", None)
    metadata.get("labels", {}).pop(HASH, None)
    return found


def _revision(replica_set: Object) -> Revision:
    metadata = table(replica_set, "metadata")
    number = text(metadata, "annotations", _REVISION)
    measured = text(metadata, "annotations", MEASUREMENT)
    return Revision(
        replica_set=name(replica_set),
        number=int(number) if number.isdecimal() else 0,
        template=plain(table(replica_set, "spec", "template")),
        hash=text(metadata, "labels", HASH),
        digest=text(metadata, "annotations", DIGEST),
        measurement=bytes.fromhex(measured) if _MEASURED.fullmatch(measured) else None,
        failed=bool(text(metadata, "annotations", FAILED)),
    )
