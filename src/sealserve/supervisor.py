"""Several worker processes under one parent, for more processors than one event loop can use.

1. The parent prepares everything once: reads the configuration, unlocks the keys, holds the port.
2. It forks the workers. Nothing may have started a thread or an event loop before: a fork copies
   neither. Connections to databases and tokens are each worker's own to open.
3. It waits: a worker that dies is started again, at once if it had lived for a while, else after a
   growing pause. SIGTERM, SIGINT and SIGHUP are passed on to all.
4. After SIGTERM or SIGINT it starts none again, and ends when the last worker has.

A worker that cannot start is no matter of luck: where one dies before it was ever ready, at the
start of the service or `FAILED_STARTS` times in a row later, the service ends with an error, and
whoever started it knows. A worker whose parent dies is sent SIGTERM by the kernel, PR_SET_PDEATHSIG
in prctl(2), and ends as if it had been asked to.

One worker needs no parent: it runs in this process.
"""

from __future__ import annotations

import ctypes
import logging
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn, TypeVar

from sealserve.errors import ConfigError, SealServeError
from sealserve.logline import line

FAILED_STARTS = 5
LONG_LIFE = 10.0  # seconds
LONGEST_PAUSE = 5.0  # seconds

_PR_SET_PDEATHSIG = 1
_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_WATCHED = (*_PASSED_ON, signal.SIGCHLD)

T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Worker:
    """Which of the processes this is, from 0; `ready` is called once it takes connections."""

    number: int
    workers: int
    ready: Callable[[], None]


def supervise(
    prepare: Callable[[], T],
    work: Callable[[T, Worker], None],
    *,
    workers: int,
    ready: Callable[[T], None],
) -> None:
    """Run `work` in `workers` processes until SIGTERM or SIGINT; `work` ends on these itself.

    `ready` is called once, in the parent, when all workers are. Raises what `prepare` does,
    ConfigError where a worker cannot start, and with one worker what `work` does.
    """
    prepared = prepare()
    if workers == 1:
        work(prepared, Worker(0, 1, lambda: ready(prepared)))
        return
    _Parent(lambda worker: work(prepared, worker), workers, lambda: ready(prepared)).run()


class _Place:
    """One worker's place, whichever process holds it now."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: int | None = None
        self.pipe = -1
        self.is_ready = False
        self.began = 0.0
        self.quick_deaths = 0
        self.failed_starts = 0
        self.due: float | None = 0.0  # when to start a process, by the monotonic clock


class _Parent:
    def __init__(
        self, work: Callable[[Worker], None], workers: int, ready: Callable[[], None]
    ) -> None:
        self._work = work
        self._places = [_Place(number) for number in range(workers)]
        self._ready: Callable[[], None] | None = ready
        self._selector = selectors.DefaultSelector()
        self._stopping = False
        self._failure: ConfigError | None = None

    def run(self) -> None:
        """Until the last worker has ended."""
        hear, tell = socket.socketpair()
        with hear, tell, self._selector:
            hear.setblocking(False)
            tell.setblocking(False)
            self._selector.register(hear, selectors.EVENT_READ)
            before = {number: signal.signal(number, _ignore) for number in _WATCHED}
            wakeup = signal.set_wakeup_fd(tell.fileno(), warn_on_full_buffer=False)
            try:
                self._watch(hear)
            finally:
                signal.set_wakeup_fd(wakeup)
                for number, handler in before.items():
                    signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if self._failure is not None:
            raise self._failure
        log.info(line("stopped"))

    def _watch(self, hear: socket.socket) -> None:
        while True:
            self._start_due()
            if self._stopping and not any(place.process for place in self._places):
                return
            for key, _ in self._selector.select(self._pause()):
                if key.fileobj is hear:
                    for number in _received(hear):
                        self._pass_on(number)
                else:
                    self._heard(key.data)
            self._bury()

    def _pause(self) -> float | None:
        """Seconds until a worker is due; None where there is none."""
        due = [place.due for place in self._places if place.due is not None]
        return max(0.0, min(due) - time.monotonic()) if due and not self._stopping else None

    def _start_due(self) -> None:
        for place in self._places:
            if not self._stopping and place.due is not None and place.due <= time.monotonic():
                self._start(place)

    def _start(self, place: _Place) -> None:
        reading, writing = os.pipe2(os.O_CLOEXEC)
        signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)  # none may come between the two
        parent = os.getpid()
        process = os.fork()
        if process == 0:
            self._be_worker(place.number, parent, writing)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)
        os.close(writing)
        place.process, place.pipe, place.is_ready, place.due = process, reading, False, None
        place.began = time.monotonic()
        self._selector.register(reading, selectors.EVENT_READ, place)
        log.info(line("worker_started", worker=place.number, process=process))

    def _be_worker(self, number: int, parent: int, writing: int) -> NoReturn:
        """The child: never returns into what the parent was doing."""
        status = 1
        try:
            _forget_parent(parent)
            self._selector.close()
            for place in self._places:
                if place.process is not None:
                    os.close(place.pipe)
            worker = Worker(number, len(self._places), lambda: _announce(writing))
            self._work(worker)
            status = 0
        except SealServeError as error:
            log.error(line("worker_failed", worker=number, code=error.code, reason=error.message))
            status = error.exit_code
        except BaseException:  # not ours to handle: the process ends here
            log.exception(line("worker_fault", worker=number))
        finally:
            logging.shutdown()
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            os._exit(status)

    def _heard(self, place: _Place) -> None:
        """A worker said that it is ready, or has closed its pipe by dying."""
        self._selector.unregister(place.pipe)
        if os.read(place.pipe, 1):
            place.is_ready = True
            place.failed_starts = 0
        everybody = all(each.is_ready for each in self._places)
        if self._ready is not None and everybody and not self._stopping:
            self._ready()
            self._ready = None

    def _pass_on(self, number: int) -> None:
        if number not in _PASSED_ON:
            return
        if number != signal.SIGHUP:
            self._stopping = True
        for place in self._places:
            if place.process is not None:
                os.kill(place.process, number)

    def _bury(self) -> None:
        """Take note of every worker that has ended."""
        for place in self._places:
            if place.process is None:
                continue
            ended, status = os.waitpid(place.process, os.WNOHANG)
            if ended:
                self._ended(place, os.waitstatus_to_exitcode(status))

    def _ended(self, place: _Place, status: int) -> None:
        if place.pipe in self._selector.get_map():
            self._heard(place)
        os.close(place.pipe)
        process, place.process = place.process, None
        if self._stopping:
            log.info(line("worker_ended", worker=place.number, process=process, status=status))
            return
        log.error(line("worker_died", worker=place.number, process=process, status=status))
        place.failed_starts += not place.is_ready
        limit = FAILED_STARTS if self._ready is None else 1
        if place.failed_starts >= limit:
            self._failure = ConfigError(
                f"worker {place.number} ended before it was ready, {place.failed_starts} times",
                hint="the log says why",
            )
            self._pass_on(signal.SIGTERM)
            return
        now = time.monotonic()
        place.quick_deaths = place.quick_deaths + 1 if now - place.began < LONG_LIFE else 0
        pause = min(0.1 * 2.0**place.quick_deaths - 0.1, LONGEST_PAUSE)
        place.due = now + pause


def _forget_parent(parent: int) -> None:
    """In a new worker: its own signals, and its end with the parent's."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until it has something to read again
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:  # it was gone before we asked
        os._exit(1)


def _announce(writing: int) -> None:
    os.write(writing, b"r")


def _received(hear: socket.socket) -> bytes:
    """The numbers of the signals that have come."""
    try:
        return hear.recv(4096)
    except BlockingIOError:
        return b""


def _ignore(_number: int, _frame: object) -> None:
    """A handler that does nothing: the signal is read from the wakeup descriptor."""
