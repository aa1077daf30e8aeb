"""A function in a process of its own, that tells as it goes and ends when it is asked to.

Enclaves and attackers in the process of the scenario would share its interpreter, and the figures
would be those of their quarrel over it. The process ends with its block, and by itself where the
one that started it is gone.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

STOP_SECONDS = 90.0  # an enclave's last ask may take as long as it is patient

_SPAWN = multiprocessing.get_context("spawn")  # a forked copy of a process with threads may hang
_STOP, _DONE = "stop", "done"


class Told:
    """The child's end: whether to stop, and whom to tell."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()
        self.stopping = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def tell(self, something: object) -> None:
        """Hand something to the parent; from any thread."""
        with self._lock:
            self._pipe.send(something)

    def _listen(self) -> None:
        try:
            self._pipe.recv()
        except (EOFError, OSError):  # nobody is there to be told any more
            self.stopping.set()
            self.stopping.wait(STOP_SECONDS)
            os._exit(1)
        self.stopping.set()


class Helper:
    """The parent's end of one process."""

    def __init__(self, process: Any, pipe: Connection) -> None:
        self._process = process
        self._pipe = pipe
        self._told: list[Any] = []
        self._ended = False

    def told(self) -> list[Any]:
        """What it has told since this was last asked; waits for nothing."""
        while not self._ended and self._pipe.poll():
            self._receive()
        told, self._told = self._told, []
        return told

    def wait(self) -> list[Any]:
        """The first that it tells, and what comes with it; raises RuntimeError if it ends."""
        while not self._told:
            self._receive()
            if self._ended and not self._told:
                raise RuntimeError("a process of the scenario ended without a word")
        return self.told()

    def ask_to_stop(self) -> None:
        """Let it come to its end."""
        with contextlib.suppress(OSError):  # it has come to its end already, and told it
            self._pipe.send(_STOP)

    def stop(self) -> list[Any]:
        """Ask it to stop, and wait; what it told to its end. Raises RuntimeError if it hangs."""
        self.ask_to_stop()
        while not self._ended:
            if not self._pipe.poll(STOP_SECONDS):
                raise RuntimeError("a process of the scenario does not end")
            self._receive()
        self._process.join(STOP_SECONDS)
        return self.told()

    def _receive(self) -> None:
        try:
            something = self._pipe.recv()
        except (EOFError, ConnectionError):
            raise RuntimeError("a process of the scenario died; its traceback is above") from None
        if something == _DONE:
            self._ended = True
        else:
            self._told.append(something)


@contextmanager
def helper(function: Callable[..., None], *arguments: object) -> Iterator[Helper]:
    """`function(told, *arguments)` in a process, until `stop` or the end of the block.

    `function` is at the top of a module, and `arguments` can be pickled.
    """
    ours, theirs = _SPAWN.Pipe()
    process = _SPAWN.Process(target=_main, args=(theirs, function, arguments), daemon=True)
    process.start()
    theirs.close()
    try:
        yield Helper(process, ours)
    finally:
        ours.close()
        process.join(1.0)
        if process.is_alive():
            process.kill()
            process.join()
        process.close()


def _main(pipe: Connection, function: Callable[..., None], arguments: tuple[object, ...]) -> None:
    told = Told(pipe)
    function(told, *arguments)
    told.tell(_DONE)
