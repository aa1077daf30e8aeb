"""The launching side of an enclave: asks the hardware for it, passes signals on, awaits its end.

This process is none of the enclave's: what it says about the enclave is what it wants run, and the
hardware measures that.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from sealserve.attester.deadline import Deadline
from sealserve.errors import DeniedError, NetworkError
from sealserve.lab import protocol
from sealserve.lab.launcher import GRACE_SECONDS
from sealserve.lab.measurement import EnclaveRequest

LAUNCH_SECONDS = 120.0  # everything is measured first

_EXPLANATIONS = {
    "lab.python": "the quoting enclave runs on another Python: start it from the same environment",
    "lab.unmeasurable": "something that has to be measured cannot be read; its log says what",
    "lab.full": "it takes no more enclaves",
}


@dataclass(frozen=True, slots=True)
class Launched:
    """An enclave, or a trust domain, that runs."""

    pid: int
    told: Mapping[str, str]
    """What it is known by, in hex: `mr_enclave`; or `mr_td` and `rtmr3`."""


def run_enclave(
    socket_path: Path,
    request: EnclaveRequest,
    *,
    streams: Sequence[int] = (0, 1, 2),
    launched: Callable[[Launched], None],
) -> int:
    """Launch an enclave with our standard streams and wait for it; returns its exit code.

    `launched` is called once it runs. SIGHUP, SIGINT and SIGTERM are passed on. Raises DeniedError
    when the quoting enclave refuses, NetworkError when it is not there or goes away; then the
    enclave is ended, too.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        answer = _ask(connection, socket_path, request, streams)
        pidfd = os.pidfd_open(answer.pid)
        try:
            with _passing_signals(connection):
                launched(answer)
                status = _await_end(connection)
            if status is None:
                _end(pidfd)
                raise NetworkError(
                    "the lab's quoting enclave went away, and the enclave was ended with it"
                )
        finally:
            os.close(pidfd)
    return status if status >= 0 else 128 - status


def _ask(
    connection: socket.socket, socket_path: Path, request: EnclaveRequest, streams: Sequence[int]
) -> Launched:
    deadline = Deadline(LAUNCH_SECONDS, task="launching an enclave")
    try:
        connection.connect(str(socket_path))
        protocol.send_launch(connection, request.model_dump_json().encode(), streams)
        granted, payload = protocol.receive_answer(connection, deadline)
    except OSError as error:
        raise NetworkError(
            f"no quoting enclave answers at {socket_path}: {error}",
            hint=f"start it with: sealserve lab qe {socket_path.parent}",
        ) from error
    if not granted:
        code = payload.decode("ascii", "backslashreplace")
        raise DeniedError(
            f"the quoting enclave launches no enclave: {_EXPLANATIONS.get(code, code)}",
            code=code,
            hint="the log of `sealserve lab qe` says more",
        )
    facts = json.loads(payload)
    return Launched(facts.pop("pid"), facts)


@contextmanager
def _passing_signals(connection: socket.socket) -> Iterator[None]:
    """Send signals that come to this process to the enclave instead."""

    def pass_on(number: int, frame: FrameType | None) -> None:
        with suppress(OSError):  # then the service has gone, which `_await_end` notices
            connection.send(bytes((number,)))

    before = {number: signal.signal(number, pass_on) for number in protocol.PASSED_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _await_end(connection: socket.socket) -> int | None:
    """The enclave's exit status; None when the service went away first."""
    connection.settimeout(None)  # an enclave runs as long as it likes
    data = bytearray()
    try:
        while len(data) < protocol.STATUS_BYTES and (piece := connection.recv(1)):
            data += piece
    except ConnectionError:
        return None
    return protocol.parse_exit_status(bytes(data))


def _end(pidfd: int) -> None:
    """End an enclave whose hardware is gone."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            signal.pidfd_send_signal(pidfd, number)
        except ProcessLookupError:
            return
        if poll.poll(GRACE_SECONDS * 1000):
            return
