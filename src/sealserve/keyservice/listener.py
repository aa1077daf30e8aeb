"""Listening sockets (`ports`), accepted from with measure, and closed without losing who queues.

A connection is handed on as a bare socket, before anything is allocated for it, so that refusing
one costs a system call or two. At most `AT_ONCE` are accepted before the event loop serves its
other sessions again: under a flood, handshakes that are under way go on. What nobody has accepted
yet waits in the kernel's queue.

Who comes between the last look at that queue and the end of the socket would be let in by the
kernel, and dropped. So before the end the socket lets nobody in any more: a filter drops the first
packet of every connection (SO_ATTACH_FILTER, Linux: networking/filter.rst), and whoever sent it is
refused as it sends it again, a second later, or reaches another process that listens.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import socket
import struct
from collections.abc import Callable
from typing import Any

from sealserve.hosts import Address
from sealserve.logline import line
from sealserve.ports import BACKLOG

AT_ONCE = 32
PAUSE_SECONDS = 0.5  # without a file descriptor or memory, accepting again at once is idle work

# From the TCP header on: load the flags; drop what has SYN; keep everything else (linux/filter.h).
_DROP_SYN = b"".join(
    struct.pack("=HBBI", *each)
    for each in ((0x30, 0, 0, 13), (0x45, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))
)
_SO_ATTACH_FILTER = 26  # asm-generic/socket.h

Accepted = Callable[[socket.socket, Any], None]

log = logging.getLogger(__name__)


class Listener:
    """Sockets that listen on one address (of each family, where it is a name)."""

    def __init__(self, sockets: list[socket.socket], accepted: Accepted) -> None:
        self._sockets = sockets
        self._accepted = accepted
        self._loop = asyncio.get_running_loop()
        self._paused: asyncio.TimerHandle | None = None
        self._watch()

    @property
    def address(self) -> Address:
        """The address in use."""
        host, port = self._sockets[0].getsockname()[:2]
        return Address(host, port)

    def let_nobody_in(self) -> None:
        """Begin no more connections; those that have begun come to their end, and are handed on."""
        program = ctypes.create_string_buffer(_DROP_SYN, len(_DROP_SYN))
        described = struct.pack("@HP", len(_DROP_SYN) // 8, ctypes.addressof(program))
        for each in self._sockets:
            with contextlib.suppress(OSError):  # then a few may be dropped
                each.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, described)

    def close(self) -> None:
        """Hand on whoever is in the kernel's queue, then listen no more."""
        if self._paused is not None:
            self._paused.cancel()
        for each in self._sockets:
            self._loop.remove_reader(each)
            self._accept(each, at_most=2 * BACKLOG)
            each.close()
        self._sockets = []

    def _watch(self) -> None:
        self._paused = None
        for each in self._sockets:
            self._loop.add_reader(each, self._readable, each)

    def _readable(self, listening: socket.socket) -> None:
        if not self._accept(listening, at_most=AT_ONCE):
            for each in self._sockets:
                self._loop.remove_reader(each)
            self._paused = self._loop.call_later(PAUSE_SECONDS, self._watch)

    def _accept(self, listening: socket.socket, *, at_most: int) -> bool:
        """Hand on who waits; False where the system has no room for another."""
        for _ in range(at_most):
            try:
                connection, peer = listening.accept()
            except BlockingIOError:
                return True
            except ConnectionError:  # gone before it was accepted
                continue
            except OSError as error:  # EMFILE, ENFILE, ENOBUFS, ENOMEM: accept(2)
                log.error(line("cannot_accept", reason=error.strerror))
                return False
            connection.setblocking(False)
            self._accepted(connection, peer)
        return True
