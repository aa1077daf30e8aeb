"""Launching a lab enclave, and seeing it to its end.

The simulated hardware starts enclaves itself. A process could not be asked what it runs: it can
rewrite its own command line and name. What was measured is what was started, and whoever asks for a
quote later must be that very process.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Sequence

from sealserve.errors import UsageError
from sealserve.lab import protocol
from sealserve.lab.launched import identity_of
from sealserve.lab.measurement import ENVIRONMENT, EnclaveRequest, Measurement

GRACE_SECONDS = 25.0  # between SIGTERM and SIGKILL: longer than a server takes to drain

log = logging.getLogger(__name__)


class Enclave:
    """A running process that the hardware measured and started, in a process group of its own.

    It is an enclave, or the one program of a trust domain.

    As its parent we keep it from being reaped until `reap`: as long as we know its process id, no
    other process can have it.
    """

    def __init__(
        self,
        request: EnclaveRequest,
        measurement: Measurement,
        mr_signer: bytes,
        streams: Sequence[int],
    ) -> None:
        self.identity = identity_of(request, measurement, mr_signer)
        self._seen = measurement.seen
        self._check = threading.Lock()
        self._checked_ns = 0
        self._changed: str | None = None
        standard_input, standard_output, standard_error = streams
        try:
            self._process = subprocess.Popen(
                measurement.command,
                stdin=standard_input,
                stdout=standard_output,
                stderr=standard_error,
                cwd=request.folder,
                env=dict(ENVIRONMENT),
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise UsageError(f"the enclave does not start: {error}", code="lab.start") from error
        self.pid = self._process.pid
        try:
            self._pidfd = os.pidfd_open(self.pid)
        except OSError as error:  # too many open files: what cannot be watched must not run
            self._process.kill()
            self._process.wait()
            raise UsageError(f"the enclave cannot be watched: {error}", code="lab.start") from error

    def ended(self, *, within: float = 0.0) -> bool:
        """Whether the process has ended, waiting for it up to `within` seconds."""
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return bool(poll.poll(within * 1000))

    def changed(self) -> str | None:
        """The path of something measured that has changed since launch, or None.

        Looks at every file; callers who come while one looks share the next look. What has changed
        once stays changed: putting it back does not undo what was loaded meanwhile.
        """
        came_ns = time.monotonic_ns()
        with self._check:
            if self._checked_ns <= came_ns:
                self._checked_ns = time.monotonic_ns()
                self._changed = self._changed or self._seen.changed()
            return self._changed

    def supervise(self, connection: socket.socket) -> None:
        """Pass signals on until the enclave ends; end it when the launching side closes.

        On return the process has ended and is not reaped yet, and nothing of its group runs on.
        """
        connection.setblocking(False)
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        poll.register(connection, select.POLLIN)
        while not self.ended():
            poll.poll()
            if not self._pass_signals(connection):
                self._end()
        self._signal(signal.SIGKILL)  # what it has started and left behind

    def _pass_signals(self, connection: socket.socket) -> bool:
        """False when the launching side has closed."""
        try:
            numbers = connection.recv(64)
        except BlockingIOError:
            return True
        except OSError:
            return False
        for number in numbers:
            if number in protocol.PASSED_SIGNALS:
                self._signal(number)
        return bool(numbers)

    def _end(self) -> None:
        """SIGTERM, and after a grace SIGKILL."""
        self._signal(signal.SIGTERM)
        if not self.ended(within=GRACE_SECONDS):
            log.warning("SIMULATED enclave %d does not end: killing it", self.pid)
            self._signal(signal.SIGKILL)
            self.ended(within=GRACE_SECONDS)

    def _signal(self, number: int) -> None:
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return

    def reap(self) -> int:
        """Take the exit status; from here on the process id may be another's."""
        status = self._process.wait()
        os.close(self._pidfd)
        return status
