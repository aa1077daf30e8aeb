"""The end of a server whose event loop is stuck, in a native call that never returns.

The event loop hears of signals, and ends the server; stuck, it hears nothing. So a thread hears of
them first, passes them on, and begins a clock that waits for no lock of the interpreter: when that
has run out, it writes where every thread stands and ends the process, with status 1. It is never
stopped, for the interpreter's own end may be stuck too. No call that holds the interpreter's lock
can be ended so: then no thread hears of anything, and SIGKILL alone helps.

Source: Python 3.11, library `signal.set_wakeup_fd`, `faulthandler.dump_traceback_later`.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import socket
import threading
import time
from collections.abc import Collection

_STANDARD_ERROR = 2
_PIECE = 4096  # bytes; each is the number of a signal


def end_anyway(signals: Collection[signal.Signals], seconds: float, *, twice: float) -> None:
    """End the process `seconds` after the first of these signals, if it still is there; at once if
    another one comes that nobody takes, more than `twice` seconds later.

    To be called in the main thread, by a running event loop that handles these signals.
    """
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    loops = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    passing_on = os.dup(loops)  # the loop may close its own before the last signal
    threading.Thread(
        target=_listen,
        args=(ours, theirs, passing_on, frozenset(signals), seconds, twice),
        name="last-resort",
        daemon=True,
    ).start()


def _listen(
    ours: socket.socket,
    theirs: socket.socket,
    passing_on: int,
    signals: frozenset[signal.Signals],
    seconds: float,
    twice: float,
) -> None:
    first: float | None = None
    while numbers := ours.recv(_PIECE):  # `theirs` is held, so this never ends
        if signals.intersection(numbers):
            now = time.monotonic()
            if first is None:
                first = now
                faulthandler.dump_traceback_later(seconds, exit=True, file=_STANDARD_ERROR)
            elif now > first + twice:
                os._exit(1)
        with contextlib.suppress(OSError):  # a loop that has ended, or has not read for long
            os.write(passing_on, numbers)
