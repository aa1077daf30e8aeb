"""The life of an enclave, from the request for its pod to its first request, and again.

 1. Its pod is created and bound, each at the pace of a component of Kubernetes, or waits for room.
 2. The image is pulled, if the node has none; the container starts.
 3. The enclave is built page by page and its program starts, on cores shared with its neighbours.
 4. A quote, from the node's quoting enclave, in turn. From here on `--key_service_timeout_seconds`
    runs, for the quote too.
 5. The key: one try after the other (`rules.Pauses`). A denial is final, and so is a pause that
    would outlast the deadline.
 6. The models are read, opened and loaded; the server listens; the startup probe sees it at its
    next turn; the edge knows it a little later.

A program that ends, for whatever reason, is started again by kubelet (`rules.BackOff`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

from sealserve.lab.simulation.cluster import Cluster
from sealserve.lab.simulation.enclave import Attempt, Enclave, State
from sealserve.lab.simulation.engine import Clock, Pace
from sealserve.lab.simulation.keyservice import KeyService
from sealserve.lab.simulation.parameters import Parameters
from sealserve.lab.simulation.rules import SHORTEST_ATTEMPT, BackOff, Pauses


class Fleet:
    """All enclaves, and what they share."""

    def __init__(
        self, clock: Clock, parameters: Parameters, enclaves: int, nodes: int, random: Random
    ) -> None:
        self.clock = clock
        self.parameters = parameters
        self.cluster = Cluster(clock, parameters, nodes)
        self.keys = KeyService(clock, parameters, random)
        sources = parameters.sources or enclaves
        first, longest = parameters.first_restart_seconds, parameters.longest_restart_seconds
        self.enclaves = [
            Enclave(number, (number % sources).to_bytes(4, "big"), BackOff(first, longest))
            for number in range(enclaves)
        ]
        self.unplaced: list[Enclave] = []
        self.serving = self.tried_again = 0
        self.outdated: frozenset[int] = frozenset()
        """Nodes whose platform the policy does not allow, until `updated_at`."""
        self.updated_at = 0.0
        self.listeners: list[Callable[[Enclave], None]] = []
        """Told of each enclave that serves, or serves no more."""
        self._random = random
        self._creations = Pace(parameters.creations_per_second, parameters.creations_burst)
        self._bindings = Pace(parameters.bindings_per_second, parameters.bindings_burst)

    def is_allowed(self, enclave: Enclave) -> bool:
        """Whether the policy gives its platform the key, now."""
        node = enclave.node
        outdated = node is not None and node.number in self.outdated
        return not outdated or self.clock.now >= self.updated_at

    def create(self, enclave: Enclave) -> None:
        """Step 1."""
        self._begin(enclave, State.STARTING)
        self._then(self._creations.take(self.clock.now), self._created, enclave)

    def place(self, enclave: Enclave) -> None:
        """Bind it to a node, or let it wait for one."""
        node = self.cluster.place()
        if node is None:
            enclave.state = State.UNPLACED
            self.unplaced.append(enclave)
            return
        enclave.passed("schedule", self.clock.now)
        enclave.state = State.STARTING
        enclave.node = node
        self.cluster.images.bring(node, self._pulled, enclave, enclave.life)

    def fill(self) -> None:
        """Place those that wait, as far as there is room now."""
        waiting, self.unplaced = self.unplaced, []
        for enclave in waiting:
            self.place(enclave)

    def settle(self, enclave: Enclave) -> None:
        """It serves, as it is, on a node that has image and models: how a scenario begins."""
        enclave.node = self.cluster.place()
        if enclave.node is None:
            self._begin(enclave, State.UNPLACED)
            self.unplaced.append(enclave)
            return
        self.cluster.images.hold(enclave.node)
        self.cluster.models.hold(enclave.node)
        enclave.state = State.SERVING
        self.serving += 1

    def stop(self, enclave: Enclave, *, denied: bool = False) -> None:
        """Its program ends; kubelet starts it again."""
        self._begin(enclave, State.DENIED if denied else State.WAITING)
        self._then(self.clock.now + enclave.back_off.wait(self.clock.now), self._restart, enclave)

    def lose(self, enclave: Enclave) -> None:
        """Its node is gone; nobody has noticed."""
        self._begin(enclave, State.LOST)

    def boot(self, enclave: Enclave) -> None:
        """Its node is back, and starts its container."""
        enclave.back_off.forget()
        enclave.passed("node", self.clock.now)
        enclave.state = State.STARTING
        self._then(self.clock.now + self.parameters.container_seconds, self._started, enclave)

    def evict(self, enclave: Enclave) -> None:
        """Its pod is deleted with its node lost; there will be another."""
        if enclave.node is not None:
            self.cluster.free(enclave.node)
        enclave.node = None
        enclave.back_off.forget()
        enclave.passed("node", self.clock.now)
        enclave.state = State.STARTING
        self._then(self._creations.take(self.clock.now), self._created, enclave)

    def _created(self, enclave: Enclave) -> None:
        enclave.passed("create", self.clock.now)
        self._then(self._bindings.take(self.clock.now), self.place, enclave)

    def _pulled(self, enclave: Enclave, life: int) -> None:
        """Step 2."""
        if enclave.life == life:
            enclave.passed("pull", self.clock.now)
            self._then(self.clock.now + self.parameters.container_seconds, self._started, enclave)

    def _restart(self, enclave: Enclave) -> None:
        enclave.passed("back-off", self.clock.now)
        enclave.state = State.STARTING
        self._then(self.clock.now + self.parameters.container_seconds, self._started, enclave)

    def _started(self, enclave: Enclave) -> None:
        """Step 3."""
        enclave.passed("container", self.clock.now)
        enclave.started = self.clock.now
        self.clock.after(self.parameters.startup_seconds, self._too_late, enclave, enclave.life)
        seconds = self.parameters.enclave_bytes / self.parameters.build_bytes_per_second
        self._compute(enclave, seconds, self._built)

    def _too_late(self, enclave: Enclave, life: int) -> None:
        """The startup probe gives up."""
        if enclave.life == life and enclave.state is State.STARTING:
            self.stop(enclave)

    def _built(self, enclave: Enclave) -> None:
        enclave.passed("enclave", self.clock.now)
        self._compute(enclave, self.parameters.program_cpu_seconds, self._programmed)

    def _programmed(self, enclave: Enclave) -> None:
        """Step 4."""
        enclave.passed("program", self.clock.now)
        given, life = self.parameters, enclave.life
        deadline = self.clock.now + given.key_timeout_seconds
        enclave.pauses = Pauses(given.first_pause_seconds, given.longest_pause_seconds, deadline)
        enclave.asked = -1.0
        self.clock.after(given.quote_deadline_seconds, self._no_quote, enclave, life)
        if enclave.node is not None:
            enclave.node.quotes.serve(
                given.quote_seconds,
                self._quoted,
                enclave,
                life,
                wanted=lambda: enclave.life == life,
            )

    def _no_quote(self, enclave: Enclave, life: int) -> None:
        if enclave.life == life and enclave.asked < 0:
            self.stop(enclave)

    def _quoted(self, enclave: Enclave, life: int) -> None:
        if enclave.life == life:
            enclave.passed("quote", self.clock.now)
            enclave.asked = self.clock.now
            self._ask(enclave)

    def _ask(self, enclave: Enclave) -> None:
        """Step 5."""
        if enclave.node is None or enclave.pauses is None:
            return
        left = enclave.pauses.deadline - self.clock.now
        seconds = max(min(left, self.parameters.attempt_seconds), SHORTEST_ATTEMPT)
        attempt = Attempt(self, enclave, enclave.node)
        attempt.session = self.keys.connect(attempt)
        if attempt.session is not None:
            self.clock.after(seconds, attempt.expire)

    def decided(self, enclave: Enclave, allowed: bool) -> None:
        """The key, or a denial."""
        enclave.passed("key", self.clock.now)
        if not allowed:
            self.stop(enclave, denied=True)
            return
        enclave.released = self.clock.now
        if enclave.node is not None:
            self.cluster.models.bring(enclave.node, self._read, enclave, enclave.life)

    def not_decided(self, enclave: Enclave, retry_after: float | None) -> None:
        """A try without an answer."""
        enclave.passed("key", self.clock.now)
        chance, pauses = self._random.random(), enclave.pauses
        pause = None if pauses is None else pauses.next(self.clock.now, retry_after, chance)
        if pause is None:
            self.stop(enclave)
            return
        self.tried_again += 1
        self._then(self.clock.now + pause, self._paused, enclave)

    def _paused(self, enclave: Enclave) -> None:
        enclave.passed("pause", self.clock.now)
        self._ask(enclave)

    def _read(self, enclave: Enclave, life: int) -> None:
        """Step 6."""
        if enclave.life == life:
            self._compute(enclave, self.parameters.open_cpu_seconds, self._listening)

    def _listening(self, enclave: Enclave) -> None:
        enclave.passed("open", self.clock.now)
        turns = math.ceil((self.clock.now - enclave.started) / self.parameters.probe_seconds)
        enclave.ready = enclave.started + turns * self.parameters.probe_seconds
        self._then(enclave.ready + self.parameters.endpoint_seconds, self._serves, enclave)

    def _serves(self, enclave: Enclave) -> None:
        enclave.passed("probe", self.clock.now)
        enclave.state = State.SERVING
        enclave.served = self.clock.now
        self.serving += 1
        self._tell(enclave)

    def _begin(self, enclave: Enclave, state: State) -> None:
        """Whatever was planned for it is not done; where it served, it is out of service now."""
        served, enclave.state = enclave.state is State.SERVING, state
        enclave.life += 1
        if served:
            self.serving -= 1
        if served or enclave.began is None:
            enclave.begin(self.clock.now)
            self._tell(enclave)

    def _compute(self, enclave: Enclave, seconds: float, call: Callable[[Enclave], None]) -> None:
        if enclave.node is not None:
            enclave.node.cores.serve(seconds, self._if_alive, call, enclave, enclave.life)

    def _then(self, time: float, call: Callable[[Enclave], None], enclave: Enclave) -> None:
        self.clock.at(time, self._if_alive, call, enclave, enclave.life)

    def _if_alive(self, call: Callable[[Enclave], None], enclave: Enclave, life: int) -> None:
        if enclave.life == life:
            call(enclave)

    def _tell(self, enclave: Enclave) -> None:
        for listener in self.listeners:
            listener(enclave)
