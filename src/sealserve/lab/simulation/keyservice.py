"""The key service of the simulation: copies, their workers, and one database.

1. A connection goes to a copy that is up, and to one of its workers, by chance: a Service of
   Kubernetes and SO_REUSEPORT choose so. Where no copy is up it is refused at once.
2. Who may have a session is decided by the service's own code (`keyservice.admission`).
3. The handshake, then the decision, take the worker's one event loop in turns, as they come.
4. Each kind of platform needs collateral; a copy without it fetches it once, and all who need it
   wait. So many decisions may be under way; each build has its pace (`keyservice.throttle`).
5. The record, by the worker's appender (`appender`).
6. The answer.

Left out: who stalls or attacks, forged evidence, and changes of the policy meanwhile.
Sources: sealserve.keyservice.server, .session, .service.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Protocol

from sealserve.errors import OverloadedError
from sealserve.keyservice.admission import Admission
from sealserve.keyservice.limits import Limits
from sealserve.keyservice.throttle import Buckets
from sealserve.lab.simulation.appender import Appender, Database
from sealserve.lab.simulation.engine import Call, Clock, Line
from sealserve.lab.simulation.parameters import Parameters

ABANDONED = "the client's deadline"
BUSY_SECONDS = (
    1.0  # sealserve.errors.OverloadedError: when to come again where a limit does not say
)
UNDECIDED = "undecided"  # what a client is told when there can be no record


class Asker(Protocol):
    """One try of a client."""

    source: bytes
    platform: int

    @property
    def allowed(self) -> bool:
        """Whether the policy gives its platform the key, now."""
        ...

    def answered(self, allowed: bool) -> None:
        """There is a decision, on record."""
        ...

    def failed(self, reason: str, retry_after: float | None) -> None:
        """There is none."""
        ...


class Session:
    """A client's session with a worker; `is_asking` is as `keyservice.admission` wants it."""

    __slots__ = ("asker", "ended", "greeted", "is_asking", "worker")

    def __init__(self, asker: Asker, worker: Worker) -> None:
        self.asker = asker
        self.worker = worker
        self.greeted = self.is_asking = self.ended = False

    def open(self) -> bool:
        """Whether anybody still wants it."""
        return not self.ended


class KeyService:
    """All copies."""

    def __init__(self, clock: Clock, parameters: Parameters, random: Random) -> None:
        self.clock = clock
        self.parameters = parameters
        self.database = Database(clock)
        self.workers: list[Worker] = []
        """Of all copies, those that fell too."""
        self.refused: Counter[str] = Counter()
        self.records: Counter[str] = Counter()
        self.connections = self.fetches = 0
        self.first_asked: float | None = None
        self._random = random
        self.copies = [Copy(self) for _ in range(parameters.copies)]

    def connect(self, asker: Asker) -> Session | None:
        """A session, if there is one to be had; the asker hears of everything else."""
        up = [copy for copy in self.copies if copy.is_up]
        if not up:
            self.refuse(asker, "no copy is up", None)
            return None
        self.connections += 1
        if self.first_asked is None:
            self.first_asked = self.clock.now
        workers = self._random.choice(up).workers
        return self._random.choice(workers).enter(asker)

    def refuse(self, asker: Asker, reason: str, retry_after: float | None) -> None:
        """Tell it, a round trip later, that there is no decision."""
        self.refused[reason] += 1
        self.clock.after(self.parameters.round_trip_seconds, asker.failed, reason, retry_after)


class Copy:
    """Workers that share a folder for collateral, and fall together."""

    def __init__(self, service: KeyService) -> None:
        self._service = service
        self._collateral: dict[int, float] = {}
        """When it is at hand, by kind of platform."""
        self.rise()

    def rise(self) -> None:
        """Begin, with nothing in memory; what collateral there is stays on the disk."""
        self.is_up = True
        count = self._service.parameters.workers
        limits = self._service.parameters.limits.shared_by(count)
        self.workers = [Worker(self._service, self, limits) for _ in range(count)]
        self._service.workers += self.workers

    def fall(self) -> None:
        """End, with all sessions."""
        self.is_up = False
        for worker in self.workers:
            worker.fall()

    def collateral_at(self, platform: int) -> float:
        """When it will be at hand; fetched if need be."""
        now = self._service.clock.now
        found = self._collateral.get(platform)
        if found is None:
            self._service.fetches += 1
            found = now + self._service.parameters.collateral_seconds
            self._collateral[platform] = found
        return max(found, now)


class Worker:
    """One process: an event loop, its admission, its appender."""

    def __init__(self, service: KeyService, copy: Copy, limits: Limits) -> None:
        self._service = service
        self._copy = copy
        self._clock = service.clock
        self._parameters = service.parameters
        self._limits = limits
        self.loop = Line(self._clock, 1)
        self.most_sessions = 0
        self._admission: Admission[Session] = Admission(limits)
        self._builds: Buckets[None] = Buckets(
            limits.releases_per_second_per_identity, limits.releases_burst_per_identity
        )
        self._sessions: dict[Session, None] = {}
        self._deciding: set[Session] = set()
        self._appender: Appender[Session] = Appender(
            self._clock,
            self._parameters,
            service.database,
            lambda: len(self._sessions),
            self._recorded,
        )

    def fall(self) -> None:
        """Every session breaks, and what was to be recorded is not."""
        self._appender.drop()
        for session in list(self._sessions):
            self._fail(session, "copy lost")

    def enter(self, asker: Asker) -> Session | None:
        """Step 2."""
        session = Session(asker, self)
        try:
            evicted = self._admission.enter(session, asker.source, self._clock.now)
        except OverloadedError as error:
            self._service.refuse(asker, error.code, None)  # closed, before TLS
            return None
        if evicted is not None:
            self._fail(evicted, "overloaded.evicted")
        self._sessions[session] = None
        self.most_sessions = max(self.most_sessions, len(self._sessions))
        self._clock.after(self._limits.handshake_seconds, self._late, session)
        self._serve(self._parameters.handshake_cpu_seconds, self._greeted, session)
        return session

    def abandon(self, session: Session) -> None:
        """The client goes away without an answer."""
        self._service.refused[ABANDONED] += 1
        self._leave(session)

    def _leave(self, session: Session) -> None:
        session.ended = True
        self._sessions.pop(session, None)
        self._deciding.discard(session)
        self._admission.leave(session)

    def _serve(self, seconds: float, call: Call, session: Session) -> None:
        self.loop.serve(seconds, call, session, wanted=session.open)

    def _late(self, session: Session) -> None:
        if session.open() and not session.greeted:
            self._fail(session, "deadline")

    def _greeted(self, session: Session) -> None:
        """Step 3: the handshake is over; a round trip later the request is there."""
        session.greeted = True
        wait = self._parameters.round_trip_seconds + self._parameters.client_seconds
        self._clock.after(wait, self._asked, session)

    def _asked(self, session: Session) -> None:
        if session.ended:
            return
        session.is_asking = True
        if len(self._deciding) >= self._limits.max_waiting_decisions:
            self._fail(session, "overloaded.decisions", BUSY_SECONDS)
            return
        self._deciding.add(session)
        self._serve(self._parameters.decision_cpu_seconds, self._judged, session)

    def _judged(self, session: Session) -> None:
        """Step 4."""
        at = self._copy.collateral_at(session.asker.platform)
        if at > self._clock.now:
            self._clock.at(at, self._verified, session)
        else:
            self._verified(session)

    def _verified(self, session: Session) -> None:
        if session.ended:
            return
        wait = self._builds.take(None, self._clock.now)
        if wait is not None:
            self._fail(session, "overloaded.identity-rate", wait)
            return
        self._appender.append(session)  # step 5

    def _recorded(self, batch: list[Session], durable: bool) -> None:
        """Step 6, or none: without a record there is no answer."""
        for session in batch:
            if durable:
                self._service.records["released" if session.asker.allowed else "denied"] += 1
            if session.ended:  # its client is gone, and the record is there
                continue
            if durable:
                self._answer(session)
            else:
                self._fail(session, UNDECIDED)

    def _answer(self, session: Session) -> None:
        self._leave(session)
        asker, wait = session.asker, self._parameters.round_trip_seconds
        self._clock.after(wait, asker.answered, asker.allowed)

    def _fail(self, session: Session, reason: str, retry_after: float | None = None) -> None:
        self._leave(session)
        self._service.refuse(session.asker, reason, retry_after)
