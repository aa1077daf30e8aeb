"""Processes of a benchmark: our command, a peer's server, a client with an interpreter of its own.

Both ends of a socket in one process would share an interpreter, and the number would be that of
their quarrel over it. Everything started here ends with its block.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

READY_SECONDS = 60.0
STOP_SECONDS = 10.0
TICKS = os.sysconf("SC_CLK_TCK")

# A forked copy of a process with threads (gRPC's, the engine's) may hang; a fresh one does not.
_SPAWN = multiprocessing.get_context("spawn")

Tell = Callable[[int], None]
Serve = Callable[..., None]


@dataclass(frozen=True)
class Server:
    """A process that listens on a port of the loopback address."""

    port: int
    pid: int

    def processor_seconds(self) -> float:
        """What its threads have taken so far, in user and kernel mode (proc(5), stat)."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS


@contextmanager
def command(*words: str, folder: Path, options: Sequence[str] = ()) -> Iterator[Server]:
    """A `sealserve` command that serves, in `folder`; it logs to `folder/log`.

    `options` are the interpreter's. Raises RuntimeError if its ready line does not come.
    """
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *options, "-m", "sealserve", *words],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    with ended_with_the_block(process):
        yield Server(_announced(process, folder / "log"), process.pid)


@contextmanager
def ended_with_the_block(process: subprocess.Popen[Any]) -> Iterator[None]:
    """A process that is asked to end when the block does, and then made to."""
    with process:
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def peer(serve: Serve, *arguments: object) -> Iterator[Server]:
    """`serve(tell, *arguments)` in a process: it calls `tell` with its port, and serves for ever.

    `serve` is a function at the top of a module, `arguments` can be pickled. Raises RuntimeError
    if it does not tell.
    """
    ours, theirs = _SPAWN.Pipe(duplex=False)
    process = _SPAWN.Process(target=_serve, args=(theirs, serve, arguments), daemon=True)
    process.start()
    theirs.close()
    with ours:
        try:
            yield Server(_told(ours, serve), process.pid or 0)
        finally:
            process.terminate()
            process.join(STOP_SECONDS)
            if process.is_alive():
                process.kill()
                process.join()


@contextmanager
def client() -> Iterator[Callable[..., Any]]:
    """`call(function, *arguments)`: its result, from another process, the same one each time."""
    with ProcessPoolExecutor(1, mp_context=_SPAWN) as pool:
        yield lambda function, *arguments: pool.submit(function, *arguments).result()


def _announced(process: subprocess.Popen[str], log: Path) -> int:
    """The first port in the ready line."""
    watchdog = threading.Timer(READY_SECONDS, process.kill)
    watchdog.start()
    try:
        line = process.stdout.readline() if process.stdout else ""
    finally:
        watchdog.cancel()
    found = re.search(r"ready.*? 127\.0\.0\.1:(\d+)", line)
    if found is None:
        raise RuntimeError(f"it is not ready but says {line!r}: {log.read_text()[-2000:]}")
    return int(found[1])


def _serve(pipe: Connection, serve: Serve, arguments: tuple[object, ...]) -> None:
    serve(pipe.send, *arguments)


def _told(pipe: Connection, serve: Serve) -> int:
    try:
        if pipe.poll(READY_SECONDS):
            return int(pipe.recv())
    except EOFError:
        pass
    raise RuntimeError(f"{serve.__module__}.{serve.__name__} does not serve")
