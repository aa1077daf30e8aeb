"""Crowds of enclaves: each asks for its key as the attester does, and what became of it is told.

An enclave that is entitled must get its secret or no answer at all; a stranger must be denied or
get no answer. Every ask has evidence of its own, so that the audit log can be held against it.
"""

from __future__ import annotations

import math
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from sealserve.attester.named import fetch_named
from sealserve.attester.ratls import RatlsIdentity
from sealserve.attester.secrets import fetch_secret
from sealserve.errors import DeniedError, NetworkError, OverloadedError, SealServeError
from soak._process import Helper, Told, helper
from soak._world import ENCLAVE, NAME, SECRET, STRANGER, Launcher

TELL_SECONDS = 0.1
FIRST_PAUSE, LONGEST_PAUSE, TRY_SECONDS = 0.5, 15.0, 30.0  # as sealserve.serving.opening.keys
TRIES = 12

Role = Literal["gramine", "named", "stranger"]


@dataclass(frozen=True)
class Asked:
    """One ask, or one enclave's asks until it had its key. Times are of the monotonic clock."""

    role: Role
    began: float
    seconds: float
    evidence: str
    outcome: str
    """`served`, `denied`, `wrong` (another secret), or the code of the error."""
    tries: int = 1

    @property
    def answered(self) -> bool:
        """Whether the service said something."""
        return self.outcome in ("served", "denied", "wrong")

    @property
    def wrongly(self) -> bool:
        """Whether it said what it must not."""
        right = "denied" if self.role == "stranger" else "served"
        return self.answered and self.outcome != right


@dataclass
class Tally:
    """What became of many asks."""

    asked: list[Asked] = field(default_factory=list)

    def add(self, more: Sequence[Asked]) -> None:
        """Take more of them in."""
        self.asked += more

    def honest(self) -> list[Asked]:
        """The asks of those who are entitled."""
        return [each for each in self.asked if each.role != "stranger"]

    def served(self) -> list[Asked]:
        """Those that ended with the secret."""
        return [each for each in self.asked if each.outcome == "served"]

    def since(self, moment: float) -> list[Asked]:
        """The asks that began after it, by the monotonic clock."""
        return [each for each in self.asked if each.began > moment]

    def wrong(self) -> list[Asked]:
        """Those that were answered wrongly."""
        return [each for each in self.asked if each.wrongly]

    def failures(self) -> dict[str, int]:
        """Honest asks without the secret, by code."""
        return dict(Counter(each.outcome for each in self.honest() if each.outcome != "served"))


@dataclass(frozen=True)
class Crowd:
    """Enclaves that ask again and again: one thread each in every process."""

    servers: tuple[str, ...]
    """As a client names them; the threads take turns."""
    roles: tuple[Role, ...] = ("gramine", "named", "stranger")
    threads: int = 3
    pause: float = 0.02
    """Seconds between two asks of a thread, on average."""
    source: str = "127.0.0.2"
    timeout: float = 60.0
    tries: int = 1
    """How often one asks, after growing pauses, before it gives up."""


@dataclass(frozen=True)
class Together:
    """Enclaves that start within some seconds; each asks until it has its key, as ours does."""

    server: str
    enclaves: int
    seconds: float
    processes: int
    source: str = "127.0.0.2"


@contextmanager
def crowd(folder: Path, plan: Crowd) -> Iterator[Helper]:
    """The crowd, from its first ask to the end of the block; `Helper.told` gives lists of Asked."""
    with helper(_crowd, folder, plan) as process:
        process.wait()
        yield process


def gather(process: Helper, tally: Tally, *, stop: bool = False) -> None:
    """Put what a crowd has told into `tally`; with `stop` it ends, and all is there."""
    for batch in process.stop() if stop else process.told():
        tally.add(batch)


def until_served(process: Helper, tally: Tally, since: float, patience: float) -> float:
    """Wait for a secret that was asked for after `since`; seconds from then, or infinity."""
    while time.monotonic() < since + patience:
        gather(process, tally)
        ends = [a.began + a.seconds for a in tally.since(since) if a.outcome == "served"]
        if ends:
            return min(ends) - since
        time.sleep(0.05)
    return math.inf


@contextmanager
def gathered(folder: Path, plan: Together) -> Iterator[list[Helper]]:
    """Enclaves with their identities made, waiting to be started (`start`)."""
    with ExitStack() as stack:
        parts = [
            stack.enter_context(helper(_together, folder, plan)) for _ in range(plan.processes)
        ]
        for part in parts:
            part.wait()
        yield parts


def start(parts: Sequence[Helper]) -> Tally:
    """Start them; what became of each."""
    tally = Tally()
    for part in parts:
        part.ask_to_stop()  # waiting
    for part in parts:
        gather(part, tally, stop=True)
    return tally


def _ask(
    role: Role, server: str, ca_file: Path, identity: RatlsIdentity, timeout: float
) -> tuple[str, SealServeError | None]:
    """One ask, and how it ended."""
    credentials = {"ca_file": ca_file, "identity": identity, "server_name": "localhost"}
    try:
        if role == "named":
            provision = fetch_named(server, [NAME], timeout=timeout, **credentials)  # type: ignore[arg-type]
            secret = provision.secrets[NAME].versions[0].value
        else:
            secret = fetch_secret(server, timeout=timeout, **credentials)  # type: ignore[arg-type]
    except DeniedError as error:
        return "denied", error
    except SealServeError as error:
        return error.code, error
    return ("served" if secret == SECRET else "wrong"), None


def _ask_until_answered(
    role: Role, server: str, ca_file: Path, identity: RatlsIdentity, timeout: float, tries: int
) -> tuple[str, int]:
    """How the last try ended, and how many there were."""
    pause = FIRST_PAUSE
    for number in range(1, tries):
        outcome, error = _ask(role, server, ca_file, identity, timeout)
        if not isinstance(error, NetworkError):
            return outcome, number
        if isinstance(error, OverloadedError):
            pause = max(pause, error.retry_after)
        time.sleep(pause * random.uniform(0.75, 1.25))
        pause = min(2 * pause, LONGEST_PAUSE)
    return _ask(role, server, ca_file, identity, timeout)[0], tries


def _come_from(source: str) -> None:
    """Let this process's connections come from `source`; the attester has no say in that."""
    socket.create_connection = partial(socket.create_connection, source_address=(source, 0))


def _crowd(told: Told, folder: Path, plan: Crowd) -> None:
    """The process of a crowd."""
    _come_from(plan.source)
    launcher, lock = Launcher.of(folder), threading.Lock()
    found: list[Asked] = []

    def flush() -> None:
        nonlocal found
        with lock:
            batch, found = found, []
        if batch:
            told.tell(batch)

    def ask_on(number: int) -> None:
        role = plan.roles[number % len(plan.roles)]
        server = plan.servers[number // len(plan.roles) % len(plan.servers)]
        enclave = STRANGER if role == "stranger" else ENCLAVE
        while not told.stopping.is_set():
            identity = launcher.identity(enclave)
            began = time.monotonic()
            outcome, tries = _ask_until_answered(
                role, server, folder / "ca.pem", identity, plan.timeout, plan.tries
            )
            seconds = time.monotonic() - began
            asked = Asked(role, began, seconds, identity.evidence_digest, outcome, tries)
            with lock:
                found.append(asked)
            told.stopping.wait(random.uniform(0, 2 * plan.pause))

    threads = [threading.Thread(target=ask_on, args=(number,)) for number in range(plan.threads)]
    for thread in threads:
        thread.start()
    told.tell([])
    while any(thread.is_alive() for thread in threads):
        flush()
        time.sleep(TELL_SECONDS)
    flush()


def _together(told: Told, folder: Path, plan: Together) -> None:
    """The process of a part of the enclaves that start together."""
    _come_from(plan.source)
    launcher = Launcher.of(folder)
    identities = [launcher.identity() for _ in range(plan.enclaves // plan.processes)]
    told.tell([])
    told.stopping.wait()
    found: list[Asked] = []

    def start(identity: RatlsIdentity) -> None:
        time.sleep(random.uniform(0, plan.seconds))
        began, ca_file = time.monotonic(), folder / "ca.pem"
        outcome, tries = _ask_until_answered(
            "gramine", plan.server, ca_file, identity, TRY_SECONDS, TRIES
        )
        took = time.monotonic() - began
        found.append(Asked("gramine", began, took, identity.evidence_digest, outcome, tries))

    threads = [threading.Thread(target=start, args=(identity,)) for identity in identities]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told.tell(found)
