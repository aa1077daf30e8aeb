"""All that is explained: causes with stable codes, and a finding, which is one of them found.

In the order in which they are told: what must be there first, first. docs/kubernetes-running.md,
Diagnose, has a line for each. The codes of appraisal, keys and sealed files are told as they are;
the family of the cause decides the exit code. Source of the families: `sealserve.errors`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from sealserve.deploy.kubernetes.live.fields import Object, at, name
from sealserve.deploy.kubernetes.live.seen import component_of
from sealserve.deploy.weakness import Severity
from sealserve.errors import (
    ConfigError,
    DeniedError,
    IntegrityError,
    NetworkError,
    RejectedError,
)

_CONFIGURATION: Final = ConfigError.exit_code
_NETWORK: Final = NetworkError.exit_code
_SHOWN: Final = 500  # characters of what somebody else wrote


class Cause(StrEnum):
    """A cause, by its code, with the exit code of its family."""

    exit_code: int

    def __new__(cls, value: str, exit_code: int) -> Cause:
        member = str.__new__(cls, value)
        member._value_ = value
        member.exit_code = exit_code
        return member

    NOTHING_APPLIED = "applied.nothing", _CONFIGURATION
    NOT_APPLIED = "applied.missing", _CONFIGURATION
    STOPPED = "applied.stopped", _CONFIGURATION
    SECRET = "given.secret", _CONFIGURATION
    CONFIG_MAP = "given.config-map", _CONFIGURATION
    CLAIM_ABSENT = "given.claim", _CONFIGURATION
    CLAIM_UNBOUND = "given.claim-unbound", _CONFIGURATION
    VOLUME = "given.volume", _CONFIGURATION
    POD_SECURITY = "admission.pod-security", _CONFIGURATION
    QUOTA = "admission.quota", _CONFIGURATION
    REFUSED = "admission.refused", _CONFIGURATION
    NO_SGX = "node.no-sgx", _CONFIGURATION
    EPC = "node.epc", _CONFIGURATION
    CPU = "node.cpu", _CONFIGURATION
    MEMORY = "node.memory", _CONFIGURATION
    NO_NODE = "node.none-fits", _CONFIGURATION
    EVICTED = "node.evicted", _CONFIGURATION
    NOT_READY = "node.not-ready", _NETWORK
    SANDBOX = "node.sandbox", _NETWORK
    IMAGE = "image.not-found", _CONFIGURATION
    IMAGE_REFUSED = "image.unauthorised", _CONFIGURATION
    IMAGE_REGISTRY = "image.registry", _NETWORK
    IMAGE_NOT_PULLED = "image.never-pulled", _CONFIGURATION
    IMAGE_NAME = "image.name", _CONFIGURATION
    NO_AESM = "quote.no-aesm", _CONFIGURATION
    NO_QUOTE = "quote.none", _NETWORK
    NAME = "key-service.name", _NETWORK
    CERTIFICATE = "key-service.certificate", _NETWORK
    UNREACHED = "key-service.unreached", _NETWORK
    BROKEN = "key-service.broken", _NETWORK
    DENIED = "release-denied", DeniedError.exit_code
    REJECTED = "rejected", RejectedError.exit_code
    UNDECIDED = "undecided", _NETWORK
    INTEGRITY = "integrity", IntegrityError.exit_code
    NO_VERSION = "model.no-version", _CONFIGURATION
    MODEL = "model.not-loaded", _CONFIGURATION
    OUT_OF_MEMORY = "container.out-of-memory", _CONFIGURATION
    CANNOT_START = "container.cannot-start", _CONFIGURATION
    MISCONFIGURED = "container.misconfigured", _CONFIGURATION
    NEEDS = "container.needs", _NETWORK
    CRASHED = "container.crashed", _CONFIGURATION
    PROBE = "probe.failing", _NETWORK
    STARTING = "probe.starting", _NETWORK
    DEADLINE = "rollout.deadline", _NETWORK
    NO_METRICS = "autoscaler.no-metrics", _CONFIGURATION
    BUDGET = "budget.blocks", _CONFIGURATION

    def of(self, about: Object, what: str, cure: str) -> Finding:
        """This cause, found in a pod or another object of a component."""
        pods = (name(about),) if at(about, "kind") == "Pod" else ()
        return Finding(self, self.value, component_of(about), what, cure, pods)


PASSING: Final = frozenset(
    {
        *(Cause.CLAIM_UNBOUND, Cause.VOLUME, Cause.EPC, Cause.CPU, Cause.MEMORY, Cause.NO_NODE),
        *(
            Cause.EVICTED,
            Cause.NOT_READY,
            Cause.SANDBOX,
            Cause.IMAGE_REGISTRY,
            Cause.NAME,
            Cause.UNREACHED,
        ),
        *(
            Cause.BROKEN,
            Cause.UNDECIDED,
            Cause.NEEDS,
            Cause.CRASHED,
            Cause.PROBE,
            Cause.STARTING,
            Cause.BUDGET,
        ),
    }
)
"""What may mend itself while one waits; all else needs somebody to do something."""

FOLLOWING: Final = frozenset({Cause.PROBE, Cause.STARTING, Cause.DEADLINE, Cause.BUDGET})
"""What mostly has another cause of the same component, and is told only where that is not seen."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong, in a sentence, and what to do about it; `pods` are those that show it."""

    cause: Cause
    code: str
    """Stable: the cause's, or the one that the key service, the policy or a sealed file has."""
    component: str
    what: str
    cure: str
    pods: tuple[str, ...] = ()
    severity: Severity = Severity.ERROR

    @property
    def exit_code(self) -> int:
        """That of its family; 0 for what keeps nothing from serving."""
        return self.cause.exit_code if self.severity is Severity.ERROR else 0

    @property
    def lasts(self) -> bool:
        """Whether somebody has to do something: waiting does not mend it."""
        return self.severity is Severity.ERROR and self.cause not in PASSING

    def coded(self, code: str) -> Finding:
        """The same under a more exact code."""
        return replace(self, code=code)

    def warning(self) -> Finding:
        """The same as what keeps nothing from serving."""
        return replace(self, severity=Severity.WARNING)

    def as_dict(self) -> dict[str, object]:
        """The finding as a JSON object."""
        return {
            "code": self.code,
            "severity": self.severity.value,
            "component": self.component,
            "pods": list(self.pods),
            "message": self.what,
            "hint": self.cure,
        }


def shown(text: str) -> str:
    """What somebody else wrote, fit to be shown: on one line, bounded, without control marks."""
    line = " ".join(text.split())
    line = "".join(mark if mark.isprintable() else "?" for mark in line)
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..."
