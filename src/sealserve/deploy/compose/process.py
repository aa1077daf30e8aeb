"""One plain process that outlives the command that started it, and is known again later.

1. A shell in a session of its own waits for a word; its process id and the time it started, by the
   kernel's clock and boot, are written down; only then is it given the word and becomes the
   program. Whoever is killed in between leaves no process that nobody knows.
2. A process is ours if id, start and boot are those that were written: an id that was given to
   another process since is left alone. Signals go through a pidfd, which cannot change hands.
3. What a process leaves behind (nginx's workers, when nginx was killed) is known by its output: the
   log, in a folder that is ours alone.

Sources: proc(5), `/proc/PID/stat` field 22; pidfd_open(2).
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sealserve.errors import SealServeError, UsageError
from sealserve.files import read_file, write_file

LOG_LIMIT: Final = 32 << 20  # bytes; a longer log is cut when a command of ours sees it
_KEPT: Final = 1 << 20
_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_WAIT_FOR_WORD: Final = 'read -r word && exec "$@" </dev/null'
ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_ENVIRONMENT: Final = frozenset(
    (
        *("HOME", "LANG", "LC_ALL", "PATH", "PYTHONPATH", "TMPDIR", "VIRTUAL_ENV"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR"),
        *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    )
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a process of this name is written down, and where its output goes."""

    folder: Path
    name: str

    @property
    def note(self) -> Path:
        """Who it is."""
        return self.folder / f"{self.name}.process.json"

    @property
    def log(self) -> Path:
        """What it prints; what the one before it printed is in `NAME.log.1`."""
        return self.folder / f"{self.name}.log"

    def start(
        self, command: Sequence[str], *, folder: Path, digest: str
    ) -> subprocess.Popen[bytes]:
        """Start it in `folder`; `digest` is written down, too. UsageError where that cannot be."""
        if self.log.exists():
            self.log.replace(self.log.with_suffix(".log.1"))
        with self.log.open("ab") as output, signals_later():
            try:
                process = subprocess.Popen(
                    ["/bin/sh", "-c", _WAIT_FOR_WORD, "sh", *command],
                    cwd=folder,
                    env={name: text for name, text in os.environ.items() if name in _ENVIRONMENT},
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    preexec_fn=_signals_now,
                )
            except OSError as error:
                raise UsageError(f"{self.name} does not start: {error.strerror}") from error
            facts = {"pid": process.pid, "started": _started(process.pid), "boot": _boot()}
            write_file(self.note, json.dumps({**facts, "digest": digest}).encode())
            _give_word(process)
        return process

    def digest(self) -> str:
        """What was written down when it was started; empty where nothing was."""
        try:
            return str(self._facts().get("digest", ""))
        except (SealServeError, ValueError):
            return ""

    def pid(self) -> int | None:
        """Its process id while it runs; None where it does not, or never did."""
        pidfd = self._open()
        if pidfd is None:
            return None
        try:
            return None if _ended(pidfd, 0.0) else int(self._facts()["pid"])
        finally:
            os.close(pidfd)

    def send(self, number: int) -> None:
        """A signal, if it runs."""
        pidfd = self._open()
        if pidfd is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, number)
            os.close(pidfd)

    def end(self, seconds: float) -> None:
        """SIGTERM, and what `wait_ended` does."""
        self.send(signal.SIGTERM)
        self.wait_ended(seconds)

    def wait_ended(self, seconds: float) -> None:
        """Wait for its end, kill it after `seconds`, and end what it left behind."""
        pidfd = self._open()
        if pidfd is not None:
            if not _ended(pidfd, seconds):
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                _ended(pidfd, seconds)
            os.close(pidfd)
        self.end_leftovers()
        self.note.unlink(missing_ok=True)

    def end_leftovers(self) -> None:
        """Kill whatever else prints to its log."""
        while found := list(_printing_to(self.log)):
            for pid in found:
                with _opened(pid) as pidfd:
                    if pidfd is not None and pid in _printing_to(self.log):
                        with suppress(ProcessLookupError):
                            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                        _ended(pidfd, 5.0)

    def trim(self) -> None:
        """Cut a log that has grown beyond its limit; the end of it stays."""
        if self.log.exists() and self.log.stat().st_size > LOG_LIMIT:
            with self.log.open("r+b") as stream:
                stream.seek(-_KEPT, os.SEEK_END)
                end = stream.read()
                stream.truncate(0)
            with self.log.open("ab") as stream:
                stream.write(end.partition(b"\n")[2])

    def _facts(self) -> dict[str, Any]:
        facts = json.loads(read_file(self.note, limit=1 << 12))
        return facts if isinstance(facts, dict) else {}

    def _open(self) -> int | None:
        """A pidfd of the very process that was written down; None where it has gone."""
        try:
            facts = self._facts()
        except (SealServeError, ValueError):
            return None
        pid = facts.get("pid")
        if not isinstance(pid, int) or facts.get("boot") != _boot():
            return None
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            return None
        if _started(pid) == facts.get("started"):
            return pidfd
        os.close(pidfd)
        return None


def _give_word(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None  # it was asked for
    with suppress(BrokenPipeError), process.stdin as stream:  # gone: its exit code will say so
        stream.write(b"go\n")


@contextmanager
def signals_later() -> Iterator[None]:
    """Hold back what would end us, while a process has started and nobody knows of it yet.

    A child inherits that, and has to undo it. Raised among Python's own hooks of a fork, an
    exception would be lost besides.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _opened(pid: int) -> Iterator[int | None]:
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        yield None
        return
    try:
        yield pidfd
    finally:
        os.close(pidfd)


def _signals_now() -> None:
    """Between fork and exec, where no other lock is taken: hear what its parent holds back."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)


def _ended(pidfd: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _started(pid: int) -> int | None:
    """When a process started, in ticks since the boot; None where there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    return int(text.rpartition(")")[2].split()[19])


def _boot() -> str:
    return _BOOT.read_text().strip()


def _printing_to(log: Path) -> Iterator[int]:
    """The processes of this user whose output is that very file."""
    try:
        file = log.stat()
    except OSError:
        return
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        for number in (1, 2):
            with suppress(OSError):
                if os.path.samestat((entry / "fd" / str(number)).stat(), file):
                    yield int(entry.name)
                    break
