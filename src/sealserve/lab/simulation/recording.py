"""A recording of real pods that started together, held to the simulation of as many.

A recording is JSON, times in seconds since the replicas were asked for:

    {
      "node_cpus": 2.0,
      "alone": {"scheduled": 0, "started": 1, "key_asked": 5.0, "key_released": 5.1, "ready": 8},
      "pods": [{"pod": "NAME", "scheduled": 0, "started": 2, ...}, ...]
    }

`scheduled`, `started` and `ready` are the pod's own (the conditions PodScheduled and Ready, the
container's startedAt), `key_asked` and `key_released` the server's and the key service's. `alone`
is a pod that started when nothing else did: the simulation is told how long its stages took, and
what is compared is what several do to one another. Without it the shortest of each stage is taken,
and the comparison says so. `listening`, where it is known, is when the server listened; without it
half a turn of the startup probe is taken off. `nodes` is 1, and `node_cpus` the cores that were
free. Kubernetes tells whole seconds, so that times may be out of their order by one.

Pods of a lab have a quoting enclave each, build no enclave, and ask one copy with one worker.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sealserve.appraisal.complaints import complain
from sealserve.errors import ConfigError
from sealserve.lab.simulation.parameters import Parameters
from sealserve.lab.simulation.scenario import Scenario, simulate_fleet

MOST_PODS: Final = 10_000
STAGES: Final = ("until started", "until key asked", "key", "until ready")

_ROUNDED: Final = 1.0  # seconds, by which Kubernetes' own times may be early

Seconds = Annotated[float, Field(ge=0, le=86400, allow_inf_nan=False)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Pod(_Table):
    """When it came to each point, in seconds."""

    pod: str = ""
    scheduled: Seconds
    started: Seconds
    key_asked: Seconds
    key_released: Seconds
    listening: Seconds | None = None
    ready: Seconds

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        points = (self.scheduled, self.started, self.key_asked, self.key_released)
        later = (*points, *(() if self.listening is None else (self.listening,)), self.ready)
        if any(after < before - _ROUNDED for before, after in pairwise(later)):
            raise ValueError("the times are not in their order")
        return self

    @property
    def stages(self) -> tuple[float, float, float, float]:
        """The seconds of each of `STAGES`."""
        return (
            self.started,
            max(self.key_asked - self.started, 0.0),
            max(self.key_released - self.key_asked, 0.0),
            max(self.ready - self.key_released, 0.0),
        )


class Recording(_Table):
    """What was measured."""

    nodes: Annotated[int, Field(ge=1, le=1000)] = 1
    node_cpus: Annotated[float, Field(gt=0, le=1024, allow_inf_nan=False)]
    alone: Pod | None = None
    pods: Annotated[tuple[Pod, ...], Field(min_length=1, max_length=MOST_PODS, strict=False)]


@dataclass(frozen=True)
class ComparedStage:
    """Medians, in seconds."""

    name: str
    measured: float
    simulated: float


@dataclass(frozen=True)
class Comparison:
    """Until the last pod is ready, in seconds."""

    pods: int
    told_by: str
    """Whose stages the simulation was told: `a pod alone`, or `the shortest of each stage`."""
    measured_seconds: float
    simulated_seconds: float
    ratio: float
    """Measured over simulated."""
    stages: tuple[ComparedStage, ...]


def parse_recording(data: bytes) -> Recording:
    """The recording in JSON; raises ConfigError that names every fault."""
    try:
        return Recording.model_validate(json.loads(data))
    except ValidationError as error:
        raise complain("the recording", Recording, error) from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"the recording is no JSON: {error}") from None


def compare(
    recording: Recording, parameters: Parameters | None = None, seed: int = 0
) -> Comparison:
    """As many pods simulated on as many nodes, beside those of the recording. Raises UsageError."""
    given = _told(recording, parameters or Parameters())
    scenario = Scenario(len(recording.pods), nodes=recording.nodes, seed=seed)
    _, fleet = simulate_fleet(scenario, given)
    simulated = [
        (each.started, each.asked - each.started, each.released - each.asked,
         each.ready - each.released)
        for each in fleet.enclaves
    ]  # fmt: skip
    measured = max(pod.ready for pod in recording.pods)
    last = max(each.ready for each in fleet.enclaves)
    return Comparison(
        pods=len(recording.pods),
        told_by="the shortest of each stage" if recording.alone is None else "a pod alone",
        measured_seconds=measured,
        simulated_seconds=last,
        ratio=measured / last if last else math.inf,
        stages=tuple(
            ComparedStage(name, _median(measured_of), _median(simulated_of))
            for name, measured_of, simulated_of in zip(
                STAGES,
                zip(*(pod.stages for pod in recording.pods), strict=True),
                zip(*simulated, strict=True),
                strict=True,
            )
        ),
    )


def _median(values: Sequence[float]) -> float:
    return statistics.median(values)


def _told(recording: Recording, given: Parameters) -> Parameters:
    """The parameters of pods that each take what one alone took."""
    told = [recording.alone] if recording.alone is not None else list(recording.pods)
    started, asked, key, _ = (min(values) for values in zip(*(p.stages for p in told), strict=True))
    opened = min(_opened(pod, given.probe_seconds) for pod in told)
    session = (
        given.handshake_cpu_seconds
        + given.decision_cpu_seconds
        + given.transaction_seconds
        + given.record_seconds
        + 2 * given.round_trip_seconds
    )
    pods = len(recording.pods)
    return replace(
        given,
        node_cpus=recording.node_cpus,
        node_reserved_cpus=0.0,
        enclave_cpus=recording.node_cpus / pods,
        node_epc_bytes=given.enclave_bytes * pods,
        node_memory_bytes=given.node_reserved_memory_bytes + given.enclave_memory_bytes * pods,
        node_pods=given.node_system_pods + pods,
        container_seconds=started,
        build_bytes_per_second=math.inf,
        program_cpu_seconds=asked,
        quote_seconds=0.0,
        client_seconds=max(key - session, 0.0),
        collateral_seconds=0.0,
        copies=1,
        workers=1,
        model_bytes=0,
        open_cpu_seconds=opened,
    )


def _opened(pod: Pod, probe_seconds: float) -> float:
    """From the key to the open port."""
    if pod.listening is not None:
        return max(pod.listening - pod.key_released, 0.0)
    return max(pod.ready - pod.key_released - probe_seconds / 2, 0.0)
