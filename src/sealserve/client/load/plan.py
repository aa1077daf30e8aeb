"""What a run of load is: the request, the service, the loop, and each process's part of it.

A plan travels to the processes that carry it out, over a pipe: it holds the client's private key,
and goes on no command line.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Literal

from sealserve.client.load.schedule import Step, arrivals, constant_gaps, poisson_gaps
from sealserve.client.service import Service
from sealserve.errors import UsageError

MAX_CLIENTS = 4096
MAX_CONNECTIONS = 1024
MAX_PROCESSES = 64
MAX_RATE = 1_000_000.0
MAX_SECONDS = 7 * 86_400.0
WARM_UP_REQUESTS = 5  # on each connection: as many as the published guide's client sends
DEFAULT_IN_FLIGHT = 2048
_LEAST_ROWS = 4  # of a step, so that a short run shows a course too


@dataclass(frozen=True)
class Shot:
    """One request, sent again and again: a gRPC method's or an HTTP resource's path, and bytes."""

    transport: Literal["grpc", "http"]
    path: str
    body: bytes = field(repr=False)
    media_type: str = ""


@dataclass(frozen=True)
class Plan:
    """A load on a service. An open loop has rates as steps, a closed one numbers of clients.

    With `requests` the run ends after so many, and its single step has no end of its own.
    `max_in_flight` bounds what an open loop waits for at once; what is due meanwhile is sent late,
    and its time counts from when it was due.
    """

    service: Service = field(repr=False)
    shot: Shot
    loop: Literal["closed", "open"]
    steps: tuple[Step, ...]
    requests: int | None = None
    connections: int = 1
    processes: int = 1
    poisson: bool = False
    seed: int = 0
    warm_up: float = 0.0  # seconds, and WARM_UP_REQUESTS at least
    timeout: float = 30.0  # seconds, of a request
    max_in_flight: int = DEFAULT_IN_FLIGHT
    index: int = 0  # of the process that carries this part out
    rate_part: float = 1.0  # of an open loop's rate, that this part has

    def __post_init__(self) -> None:
        loads = [step.load for step in self.steps]
        top = MAX_RATE if self.loop == "open" else MAX_CLIENTS
        if not loads or not all(0 < load <= top for load in loads):
            raise UsageError(f"a load of {loads}; expected above 0 and up to {top:g}")
        if self.requests is None and not 0 < self.seconds <= MAX_SECONDS:
            raise UsageError(
                f"a run of {self.seconds:g} seconds; expected above 0 and up to {MAX_SECONDS:g}"
            )
        if self.requests is not None and (self.requests < 1 or len(self.steps) > 1):
            raise UsageError("a number of requests is at least one, and knows no steps")
        if not 1 <= self.processes <= MAX_PROCESSES:
            raise UsageError(f"{self.processes} processes; expected 1 to {MAX_PROCESSES}")
        if not 1 <= self.connections <= MAX_CONNECTIONS:
            raise UsageError(f"{self.connections} connections; expected 1 to {MAX_CONNECTIONS}")
        least = min([self.connections, *([min(loads)] if self.loop == "closed" else [])])
        if self.processes > least or self.processes > (self.requests or self.processes):
            raise UsageError(
                f"{self.processes} processes share {self.connections} connections and their"
                " clients and requests: expected at least one of each for every process"
            )

    @property
    def seconds(self) -> float:
        """How long the steps take together; infinite where requests are counted."""
        return math.inf if self.requests is not None else sum(step.seconds for step in self.steps)

    @property
    def interval(self) -> float:
        """The seconds of a row of the course: about one, and a whole part of every step."""
        if self.requests is not None:
            return 1.0
        seconds = self.steps[0].seconds
        return seconds / max(math.ceil(seconds), _LEAST_ROWS)

    @property
    def rows_of_a_step(self) -> int | None:
        """How many rows make a step; None where the only step has no end."""
        return None if self.requests is not None else round(self.steps[0].seconds / self.interval)

    def parts(self) -> list[Plan]:
        """One plan for each process, which make this one together."""
        return [self._part(index) for index in range(self.processes)]

    def due(self) -> Iterator[tuple[float, int]]:
        """An open loop's requests of this part: seconds from the start, and step."""
        steps = [Step(step.load * self.rate_part, step.seconds) for step in self.steps]
        if self.requests is not None:
            steps = [Step(steps[0].load, MAX_SECONDS)]
        first = (self.index + 0.5) * self.rate_part
        gaps = poisson_gaps(self.seed + self.index) if self.poisson else constant_gaps(first)
        return islice(arrivals(steps, gaps), self.requests)

    def _part(self, index: int) -> Plan:
        def share(whole: int) -> int:
            return whole // self.processes + (index < whole % self.processes)

        steps = self.steps
        if self.loop == "closed":
            steps = tuple(replace(step, load=share(round(step.load))) for step in steps)
        return replace(
            self,
            steps=steps,
            requests=None if self.requests is None else share(self.requests),
            connections=share(self.connections),
            max_in_flight=max(1, share(self.max_in_flight)),
            processes=1,
            index=index,
            rate_part=1 / self.processes,
        )
