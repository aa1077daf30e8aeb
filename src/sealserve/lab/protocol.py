"""What is said over the quoting enclave's Unix socket.

One request per connection, told apart by its first four bytes; integers are big-endian.

- Quote: `SSQ1`, 64 bytes of report data. Answer: 0, u32 length, the quote; or a refusal.
- Launch: `SSL1` with the three standard streams of the enclave as ancillary data, u32 length, an
  `EnclaveRequest` in JSON. Answer: 0, u32 length, in JSON the process id and the measurements it is
  known by; or a refusal. The connection then stays open while the enclave runs: the launching side
  sends one byte for each signal to pass on, and is sent the exit status in the end, one signed
  32-bit integer (negative: the signal that ended it). If it closes, the enclave is ended.

A refusal is 1, u32 length, and a stable ASCII code.
"""

from __future__ import annotations

import array
import os
import signal
import socket
import struct
from collections.abc import Sequence
from typing import Final

from sealserve.attester.deadline import Deadline
from sealserve.errors import NetworkError

QUOTE: Final = b"SSQ1"
LAUNCH: Final = b"SSL1"
MAGIC_BYTES: Final = 4
REPORT_DATA_BYTES: Final = 64
MAX_REQUEST_BYTES: Final = 1 << 20
MAX_ANSWER_BYTES: Final = 64 << 10
STREAMS: Final = 3  # standard input, output, error
PASSED_SIGNALS: Final = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)

_LENGTH = struct.Struct(">I")
_ANSWER = struct.Struct(">BI")
_STATUS = struct.Struct(">i")
STATUS_BYTES: Final = _STATUS.size


def receive(connection: socket.socket, size: int, deadline: Deadline) -> bytes:
    """Exactly `size` bytes; raises NetworkError when the peer closes or the deadline passes."""
    received = bytearray()
    while len(received) < size:
        connection.settimeout(deadline.remaining())
        try:
            piece = connection.recv(size - len(received))
        except TimeoutError:
            raise deadline.passed() from None
        if not piece:
            raise NetworkError(f"the peer closed after {len(received)} of {size} bytes")
        received += piece
    return bytes(received)


def receive_magic(connection: socket.socket, deadline: Deadline) -> tuple[bytes, list[int]]:
    """The first four bytes, and the file descriptors that came with them: the caller's to close."""
    connection.settimeout(deadline.remaining())
    descriptors = array.array("i")
    space = socket.CMSG_SPACE(STREAMS * descriptors.itemsize)
    try:
        data, ancillary, _, _ = connection.recvmsg(MAGIC_BYTES, space, socket.MSG_CMSG_CLOEXEC)
    except TimeoutError:
        raise deadline.passed() from None
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(content[: len(content) - len(content) % descriptors.itemsize])
    try:
        return data + receive(connection, MAGIC_BYTES - len(data), deadline), list(descriptors)
    except BaseException:
        close_all(descriptors)
        raise


def send_launch(connection: socket.socket, request: bytes, streams: Sequence[int]) -> None:
    """A launch request with its standard streams."""
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", streams))
    connection.sendmsg([LAUNCH], [rights])
    connection.sendall(_LENGTH.pack(len(request)) + request)


def receive_request(connection: socket.socket, deadline: Deadline) -> bytes:
    """The JSON of a launch request; raises NetworkError when it says that it is too long."""
    (length,) = _LENGTH.unpack(receive(connection, _LENGTH.size, deadline))
    if length > MAX_REQUEST_BYTES:
        raise NetworkError(f"a launch request of {length} bytes; at most {MAX_REQUEST_BYTES}")
    return receive(connection, length, deadline)


def send_answer(connection: socket.socket, payload: bytes) -> None:
    """What was asked for."""
    connection.sendall(_ANSWER.pack(0, len(payload)) + payload)


def send_refusal(connection: socket.socket, code: str) -> None:
    """Why not."""
    connection.sendall(_ANSWER.pack(1, len(code)) + code.encode("ascii"))


def receive_answer(connection: socket.socket, deadline: Deadline) -> tuple[bool, bytes]:
    """Whether it was granted, and the payload or the code."""
    status, length = _ANSWER.unpack(receive(connection, _ANSWER.size, deadline))
    if status > 1 or length > MAX_ANSWER_BYTES:
        raise NetworkError(f"the quoting enclave answers status {status} and {length} bytes")
    return status == 0, receive(connection, length, deadline)


def send_exit_status(connection: socket.socket, status: int) -> None:
    """How the enclave ended."""
    connection.sendall(_STATUS.pack(status))


def parse_exit_status(data: bytes) -> int | None:
    """What `send_exit_status` sent; None when the service closed instead."""
    if len(data) != _STATUS.size:
        return None
    status: int = _STATUS.unpack(data)[0]
    return status


def close_all(descriptors: Sequence[int] | array.array[int]) -> None:
    """Close file descriptors that were received."""
    for descriptor in descriptors:
        os.close(descriptor)
