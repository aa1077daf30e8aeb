"""When something is tried again: by kubelet, and by the client that asks for the key.

Each rule is that of the real one, with its source; time comes from outside, and so does chance.
"""

from __future__ import annotations

from typing import Final

JITTER: Final = 0.25  # sealserve.serving.opening.keys: of a pause, more or less
SHORTEST_ATTEMPT: Final = 1.0  # seconds, the same


class BackOff:
    """kubelet's crash-loop back-off of one container.

    At once the first time; then `first` seconds after the program's end, doubled for each start up
    to `longest`; from the beginning where the end comes later than twice the longest after the
    start before it. How often kubelet looks is left out.
    Source: Kubernetes 1.34, pkg/kubelet/kuberuntime/kuberuntime_manager.go, doBackOff();
    k8s.io/client-go, util/flowcontrol/backoff.go, IsInBackOffSince() and Next().
    """

    __slots__ = ("_first", "_longest", "_next", "_restarted", "restarts")

    def __init__(self, first: float, longest: float) -> None:
        self._first, self._longest = first, longest
        self._next = 0.0
        self._restarted: float | None = None
        self.restarts = 0

    def wait(self, ended: float) -> float:
        """Seconds from the program's end to its next start, which is taken by this."""
        self.restarts += 1
        last = self._restarted
        if last is None or ended - last > 2 * self._longest:
            wait, self._next = 0.0, self._first
        else:
            wait, self._next = self._next, min(2 * self._next, self._longest)
        self._restarted = ended + wait
        return wait

    def forget(self) -> None:
        """The pod is another one, or its node has booted."""
        self._restarted = None


class Pauses:
    """The pauses of a client that asks for the key until its deadline.

    The first is `first`, then each is twice the one before, up to `longest`; it is at least what a
    busy service asks for, and varies by a quarter so that replicas do not ask together for ever.
    Source: sealserve.serving.opening.keys, keys_by_attestation().
    """

    __slots__ = ("_longest", "_pause", "deadline")

    def __init__(self, first: float, longest: float, deadline: float) -> None:
        self._pause, self._longest = first, longest
        self.deadline = deadline

    def next(self, now: float, retry_after: float | None, chance: float) -> float | None:
        """Seconds until the next try; None where the deadline comes first.

        `chance` is from 0 to 1.
        """
        pause = max(self._pause, retry_after or 0.0)
        if now + pause >= self.deadline:
            return None
        self._pause = min(pause * 2, self._longest)
        return pause * (1 - JITTER + 2 * JITTER * chance)
