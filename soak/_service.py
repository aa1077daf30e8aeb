"""`sealserve keyservice run` as a process: started, watched, asked to stop, killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from soak._site import Copy

READY_SECONDS = 60.0
STOP_SECONDS = 90.0
WATCH_SECONDS = 30.0
PREFIX = "sealserve_keyservice_"
_SAMPLE = re.compile(rf"^{PREFIX}(\w+)(?:{{(.*)}})? (\S+)$", re.M)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


class Service:
    """One copy of the service; `start`, `stop` and `kill` may be called again and again."""

    def __init__(self, copy: Copy, environment: Mapping[str, str] | None = None) -> None:
        self.copy = copy
        self.log_file = copy.config.with_suffix(".log")
        self.peak = 0
        """Bytes that all its processes had in memory at most, as far as it was looked at."""
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Service:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.kill()

    def start(self) -> float:
        """Start it and wait for its ready line; the seconds that it took.

        Raises RuntimeError if the line does not come.
        """
        began = time.monotonic()
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "sealserve", "keyservice", "run",
                 "--config", str(self.copy.config), "--log-format", "text"],
                cwd=self.copy.config.parent,
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )  # fmt: skip
        watchdog = threading.Timer(READY_SECONDS, self._process.kill)
        watchdog.start()
        try:
            said = self._process.stdout.readline() if self._process.stdout else ""
        finally:
            watchdog.cancel()
        if "ready on" not in said:
            self.kill()
            raise RuntimeError(f"the service is not ready but says {said!r}: {self.log[-2000:]}")
        return time.monotonic() - began

    def stop(self) -> float:
        """SIGTERM, as an upgrade sends it, and its end; the seconds that it took.

        Raises RuntimeError for another end than a good one.
        """
        if self._process is None:
            return 0.0
        self.look()
        began = time.monotonic()
        self._process.terminate()
        status = self._process.wait(STOP_SECONDS)
        self._forget()
        if status:
            raise RuntimeError(f"the service ended with {status}: {self.log[-2000:]}")
        return time.monotonic() - began

    def kill(self) -> None:
        """kill -9, of all its processes at once."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._forget()

    def kill_first(self) -> None:
        """kill -9 of its first process alone: the kernel asks its workers to end."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._forget()

    def kill_worker(self, number: int) -> None:
        """kill -9 of one of its workers, or of the only process."""
        found = self.processes
        victim = found[1 + number % (len(found) - 1)] if len(found) > 1 else found[0]
        with suppress(ProcessLookupError):  # killed a moment ago, and not buried yet
            os.kill(victim, signal.SIGKILL)

    @property
    def alive(self) -> bool:
        """Whether its first process runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def processes(self) -> list[int]:
        """The first process, then its workers."""
        if self._process is None:
            return []
        first = self._process.pid
        try:
            children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        except OSError:
            children = []
        return [first, *map(int, children)]

    def look(self) -> int:
        """Take note of the most memory that its processes have had; the bytes so far."""
        found = sum(map(_peak_of, self.processes))
        self.peak = max(self.peak, found)
        return self.peak

    @property
    def log(self) -> str:
        """What it has said so far."""
        return self.log_file.read_text()

    def is_ready(self) -> bool:
        """What `/readyz` says."""
        url = f"http://127.0.0.1:{self.copy.watch}/readyz"
        try:
            with urllib.request.urlopen(url, timeout=WATCH_SECONDS) as answer:
                return int(answer.status) == 200
        except urllib.error.HTTPError as error:
            error.close()
            return False

    def metrics(self) -> dict[str, dict[str, float]]:
        """What `/metrics` says: by name, by the values of the labels with a blank between."""
        url = f"http://127.0.0.1:{self.copy.watch}/metrics"
        with urllib.request.urlopen(url, timeout=WATCH_SECONDS) as answer:
            text = answer.read().decode()
        found: dict[str, dict[str, float]] = {}
        for name, labels, value in _SAMPLE.findall(text):
            key = " ".join(value for _, value in _LABEL.findall(labels))
            found.setdefault(name, {})[key] = float(value)
        return found

    def refusals(self) -> dict[str, float]:
        """Connections and requests that a limit turned away, by reason."""
        return self.metrics().get("refusals_total", {})

    def _forget(self) -> None:
        if self._process is not None and self._process.stdout is not None:
            self._process.stdout.close()
        self._process = None


@contextmanager
def serving(copy: Copy, environment: Mapping[str, str] | None = None) -> Iterator[Service]:
    """The service, ready; its memory is looked at while the block lasts, and then it is killed."""
    done = threading.Event()
    with Service(copy, environment) as service:

        def watch() -> None:
            while not done.wait(0.5):
                service.look()

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield service
        finally:
            done.set()
            watcher.join()


def _peak_of(process: int) -> int:
    """Bytes; 0 for a process that is gone."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) << 10 if found else 0
