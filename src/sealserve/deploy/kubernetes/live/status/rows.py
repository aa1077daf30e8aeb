"""How a service in a cluster stands, as values: a row for each pod, for people and programs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

UNKNOWN: Final = "unknown"


@dataclass(frozen=True, slots=True)
class ModelState:
    """A version of a model as its server tells it, such as AVAILABLE."""

    model: str
    version: int
    state: str


@dataclass(frozen=True, slots=True)
class Attested:
    """What is known of a server's attestation; `state`: released, denied, asking, waiting."""

    state: str
    code: str = ""
    """Why it is denied."""
    measurement: str = UNKNOWN
    tcb_status: str = UNKNOWN


@dataclass(frozen=True, slots=True)
class PodStatus:
    """One pod; `attested` of servers alone, `models` None where they were not asked."""

    pod: str
    component: str
    phase: str
    ready: bool
    restarts: int
    age_seconds: int
    node: str
    image_tag: str
    attested: Attested | None
    models: tuple[ModelState, ...] | None


@dataclass(frozen=True, slots=True)
class Replicas:
    """Of one component: pods wanted, ready, and of an older template while it is rolled out."""

    component: str
    wanted: int
    ready: int
    older: int

    @property
    def settled(self) -> bool:
        """Whether all that are wanted are ready, and none is to be replaced."""
        return self.ready >= self.wanted and not self.older


@dataclass(frozen=True, slots=True)
class Autoscaler:
    """Between which bounds it scales, and by what: `target` is the percentage of CPU."""

    minimum: int
    maximum: int
    replicas: int
    wanted: int
    current: int | None
    target: int


@dataclass(frozen=True, slots=True)
class Status:
    """All of a service."""

    name: str
    namespace: str
    simulated: bool
    description_sha256: str
    """Of the description that is applied; empty where nothing is."""
    as_described: bool
    ready: bool
    replicas: tuple[Replicas, ...]
    pods: tuple[PodStatus, ...]
    autoscaler: Autoscaler | None
    edge: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """The status as a JSON object."""
        return asdict(self)
