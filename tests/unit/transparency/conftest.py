"""The tree of RFC 9162 by its own recursive definitions, to hold ours against.

It shares no code with the package: sections 2.1.1 (MTH), 2.1.3.1 (PATH) and 2.1.4.1 (PROOF), with
(a, b) for the D[a:b] of there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import pytest

from grown_log import GrownLog, numbered

# Past the first node of level 16, and past the next node of level 8.
LARGE = 65536 + 256 + 3


class Defined:
    def __init__(self, leaves: Sequence[bytes]) -> None:
        self.leaves = leaves
        self._known: dict[tuple[int, int], bytes] = {}

    def mth(self, a: int, b: int) -> bytes:
        if (a, b) not in self._known:
            self._known[a, b] = self._mth(a, b)
        return self._known[a, b]

    def path(self, m: int, a: int, b: int) -> list[bytes]:
        n = b - a
        if n == 1:
            return []
        k = largest_power_of_two_below(n)
        if m < k:
            return [*self.path(m, a, a + k), self.mth(a + k, b)]
        return [*self.path(m - k, a + k, b), self.mth(a, a + k)]

    def proof(self, m: int, n: int) -> list[bytes]:
        return self._subproof(m, 0, n, True)

    def _mth(self, a: int, b: int) -> bytes:
        n = b - a
        if n == 0:
            return hashlib.sha256(b"").digest()
        if n == 1:
            return hashlib.sha256(b"\x00" + self.leaves[a]).digest()
        k = largest_power_of_two_below(n)
        return hashlib.sha256(b"\x01" + self.mth(a, a + k) + self.mth(a + k, b)).digest()

    def _subproof(self, m: int, a: int, b: int, whole: bool) -> list[bytes]:
        n = b - a
        if m == n:
            return [] if whole else [self.mth(a, b)]
        k = largest_power_of_two_below(n)
        if m <= k:
            return [*self._subproof(m, a, a + k, whole), self.mth(a + k, b)]
        return [*self._subproof(m - k, a + k, b, False), self.mth(a, a + k)]


def largest_power_of_two_below(n: int) -> int:
    k = 1
    while 2 * k < n:
        k *= 2
    return k


@pytest.fixture(scope="session")
def defined() -> Callable[[Sequence[bytes]], Defined]:
    return Defined


@pytest.fixture(scope="session")
def large_log() -> GrownLog:
    return GrownLog(numbered(LARGE))


@pytest.fixture(scope="session")
def large_tree() -> Defined:
    return Defined(numbered(LARGE))
