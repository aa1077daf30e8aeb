"""One enclave of the simulation, and one try of it for the key."""

from __future__ import annotations

from enum import Enum
from typing import Final, Protocol

from sealserve.lab.simulation.cluster import Node
from sealserve.lab.simulation.keyservice import ABANDONED, Session
from sealserve.lab.simulation.rules import BackOff, Pauses

STAGES: Final = (
    "node", "create", "schedule", "pull", "container", "enclave", "program", "quote", "key",
    "pause", "back-off", "open", "probe",
)  # fmt: skip
PLACE: Final = {name: place for place, name in enumerate(STAGES)}


class State(Enum):
    """Where an enclave is."""

    SERVING = "serving"
    STARTING = "starting"
    DENIED = "denied"
    """Its program has ended by a denial, and will be started again."""
    WAITING = "waiting"
    """The same, by anything else."""
    UNPLACED = "unplaced"
    LOST = "lost"
    """With its node, which nobody has given up yet."""


class Enclave:
    """One replica of the servers; times are in seconds since the beginning."""

    __slots__ = (
        "asked", "back_off", "began", "life", "node", "number", "pauses", "ready",
        "released", "seconds", "served", "since", "source", "started", "state",
    )  # fmt: skip

    def __init__(self, number: int, source: bytes, back_off: BackOff) -> None:
        self.number = number
        self.source = source
        self.back_off = back_off
        self.pauses: Pauses | None = None
        self.node: Node | None = None
        self.state = State.STARTING
        self.life = 0
        """What was planned in an earlier life is not done."""
        self.began: float | None = None
        """Since when it was wanted, or out of service; None where it always served."""
        self.served: float | None = None
        self.since = 0.0
        self.started = self.asked = self.released = self.ready = 0.0
        self.seconds = [0.0] * len(STAGES)

    def begin(self, now: float) -> None:
        """It is wanted, or out of service, from now on."""
        self.began = self.since = now
        self.served = None
        self.seconds = [0.0] * len(STAGES)

    def passed(self, stage: str, now: float) -> None:
        """What passed since the last stage was this one's.

        What a program has done in vain before it was ended is the back-off's.
        """
        self.seconds[PLACE[stage]] += now - self.since
        self.since = now


class Told(Protocol):
    """Who owns enclaves, and is told of their tries (`life.Fleet`)."""

    def is_allowed(self, enclave: Enclave) -> bool:
        """Whether the policy gives its platform the key, now."""
        ...

    def decided(self, enclave: Enclave, allowed: bool) -> None:
        """The key, or a denial."""
        ...

    def not_decided(self, enclave: Enclave, retry_after: float | None) -> None:
        """A try without an answer."""
        ...


class Attempt:
    """One try (`keyservice.Asker`); only its first end counts, and only in the same life."""

    __slots__ = ("_enclave", "_life", "_over", "_told", "platform", "session", "source")

    def __init__(self, told: Told, enclave: Enclave, node: Node) -> None:
        self._told, self._enclave, self._life = told, enclave, enclave.life
        self.source = enclave.source
        self.platform = node.platform
        self.session: Session | None = None
        self._over = False

    @property
    def allowed(self) -> bool:
        """See `keyservice.Asker`."""
        return self._told.is_allowed(self._enclave)

    def answered(self, allowed: bool) -> None:
        """See there."""
        if self._end():
            self._told.decided(self._enclave, allowed)

    def failed(self, reason: str, retry_after: float | None) -> None:
        """See there."""
        if self._end():
            self._told.not_decided(self._enclave, retry_after)

    def expire(self) -> None:
        """Its time is over: the client closes."""
        if not self._over and self.session is not None:
            self.session.worker.abandon(self.session)
            self.failed(ABANDONED, None)

    def _end(self) -> bool:
        first, self._over = not self._over, True
        return first and self._enclave.life == self._life
