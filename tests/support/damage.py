"""Variants of sound bytes, the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Iterator


def damaged(sound: bytes, *, seed: int, rounds: int) -> Iterator[bytes]:
    """Bytes flipped, cut out, doubled, put in; and pure noise."""
    chance = random.Random(seed)
    for _ in range(rounds):
        data = bytearray(sound)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(data) + 1)
            some = chance.randint(1, 16)
            change = chance.randrange(5)
            if change == 0 and at < len(data):
                data[at] ^= 1 << chance.randrange(8)
            elif change == 1:
                del data[at : at + some]
            elif change == 2:
                data[at:at] = data[at : at + some]
            elif change == 3:
                data[at:at] = chance.randbytes(some)
            else:
                data = data[:at] or bytearray(chance.randbytes(some))
        yield bytes(data)
