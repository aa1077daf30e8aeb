"""How often each of many keys may do something: token buckets in bounded memory.

A bucket is kept as one number, the time at which it will be full again (the "theoretical arrival
time" of the generic cell rate algorithm, ITU-T I.371 appendix I.2). A key that is not known has a
full bucket, so what has filled up may be forgotten; beyond the capacity the key that was quiet for
longest is. Forgetting errs on the side of service: strangers with many addresses cannot lock out
an honest one by filling our memory.

No clock here: the caller says what time it is, in seconds of any clock that never steps back.
"""

from __future__ import annotations

import socket
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

KEYS = 1 << 16  # buckets that are remembered

_SITE_BYTES = (
    8  # of an IPv6 address: a /64 is one customer's network, and holds any number of hosts
)
_MAPPED = bytes(10) + b"\xff\xff"  # RFC 4291 section 2.5.5.2: an IPv4 address in IPv6

K = TypeVar("K", bound=Hashable)


class Buckets(Generic[K]):
    """`burst` tokens for each key, which come back at `rate` a second; at most `capacity` keys."""

    def __init__(self, rate: float, burst: int, capacity: int = KEYS) -> None:
        self._interval = 1 / rate
        self._ahead = (burst - 0.5) / rate  # half a token, so that no rounding costs a whole one
        self._capacity = capacity
        self._full_at: OrderedDict[K, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, key: K, now: float, cost: int = 1) -> float | None:
        """Take a token; None if there was one, else the seconds until there will be.

        What costs more is let through by one token, and the others are owed.
        """
        full_at = max(self._full_at.pop(key, now), now)
        wait = full_at - now - self._ahead
        if wait <= 0:
            full_at += self._interval * cost
        self._full_at[key] = full_at
        if len(self._full_at) > self._capacity:
            self._full_at.popitem(last=False)
        return wait if wait > 0 else None


def source_of(host: str) -> bytes:
    """What counts as one source: an IPv4 address, or the /64 of an IPv6 address.

    What is no address (a socket of another family) is one source with its like.
    """
    try:
        return socket.inet_pton(socket.AF_INET, host)
    except OSError:
        pass
    try:
        packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    except OSError:
        return b""
    return packed[12:] if packed.startswith(_MAPPED) else packed[:_SITE_BYTES]
