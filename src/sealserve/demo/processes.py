"""The commands that the demo runs: the same that a person would type, as processes of their own.

A `Service` is a command that goes on; its output is a file, and a line of that file says when it is
ready. Whatever happens, every service is stopped, last started first; if this process is killed,
the kernel ends them in its place.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from sealserve.deploy.compose.process import ENDING, signals_later
from sealserve.errors import NetworkError

COMMAND = (sys.executable, "-m", "sealserve")
READY_SECONDS = 40.0
RUN_SECONDS = 60.0
STOP_SECONDS = 10.0
POLL_SECONDS = 0.05
PR_SET_PDEATHSIG = 1  # prctl(2), linux/prctl.h
TAIL_LINES = 12


def run(words: Sequence[str], *, folder: Path) -> subprocess.CompletedProcess[str]:
    """One `sealserve` command to its end; raises NetworkError at the deadline."""
    try:
        return subprocess.run(
            [*COMMAND, *words],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise NetworkError(f"`sealserve {words[0]}` did not end in {RUN_SECONDS:.0f} s") from error


_libc = ctypes.CDLL(None)


def _end_with_parent() -> None:
    """Between fork and exec: have the kernel end this process when its parent is gone.

    Calls into libc alone, which take no lock that another thread could hold.
    """
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Service:
    """A command that goes on until it is stopped; its output goes to `log`."""

    def __init__(self, name: str, command: Sequence[str], *, folder: Path, log: Path) -> None:
        self.name = name
        self.log = log
        with log.open("wb") as output, signals_later():
            self._process = subprocess.Popen(
                list(command),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )

    @property
    def text(self) -> str:
        """What it has printed so far."""
        return self.log.read_text(errors="replace")

    def wait_ready(self, pattern: str, *, seconds: float = READY_SECONDS) -> re.Match[str]:
        """The match of `pattern` in the output; raises NetworkError if it ends or stalls first."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            ended = self._process.poll() is not None
            if found := re.search(pattern, self.text):
                return found
            if ended:
                raise self._failed(f"ended with exit code {self._process.returncode}")
            time.sleep(POLL_SECONDS)
        raise self._failed(f"was not ready within {seconds:.0f} s")

    def wait(self) -> int:
        """Its exit code, when it is expected to end by itself."""
        try:
            return self._process.wait(READY_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise self._failed(f"did not end within {READY_SECONDS:.0f} s") from error

    def stop(self) -> int:
        """Ask it to end, make it end at the deadline; its exit code."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
        return self._process.wait(STOP_SECONDS)

    def _failed(self, what: str) -> NetworkError:
        tail = "\n    ".join(self.text.splitlines()[-TAIL_LINES:])
        return NetworkError(f"{self.name} {what}; its last lines:\n    {tail}", hint=str(self.log))
