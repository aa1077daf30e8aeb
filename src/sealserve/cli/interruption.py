"""How commands that write end when they are told to: what is half written is removed first.

By default SIGTERM and SIGHUP (the terminal went away) end a Python process where it stands; SIGINT
unwinds by itself.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

_ENDING = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def clean_end() -> Iterator[None]:
    """Let a SIGTERM or SIGHUP unwind, and leave with exit code 128 + its number.

    One that is ignored, as under nohup(1), stays so.
    """
    found = {number: signal.getsignal(number) for number in _ENDING}
    heard = {number: previous for number, previous in found.items() if previous != signal.SIG_IGN}
    for number in heard:
        signal.signal(number, _leave)
    try:
        yield
    finally:
        for number, previous in heard.items():
            signal.signal(number, previous)


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    for other in _ENDING:  # a second one would break off the unwinding
        signal.signal(other, signal.SIG_IGN)
    raise SystemExit(128 + number)
