"""Listening sockets: bound, accepted from with measure, and closed without losing who queues.

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
import errno
import logging
import socket
import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sealserve.errors import ConfigError
from sealserve.hosts import Address, ListenAddress
from sealserve.logline import line

BACKLOG = 1024  # connections the kernel queues; net.core.somaxconn may allow fewer
AT_ONCE = 32
PAUSE_SECONDS = 0.5  # without a file descriptor or memory, accepting again at once is idle work

# From the TCP header on: load the flags; drop what has SYN; keep everything else (linux/filter.h).
_DROP_SYN = b"".join(
    struct.pack("=HBBI", *each)
    for each in ((0x30, 0, 0, 13), (0x45, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))
)
_SO_ATTACH_FILTER = 26  # asm-generic/socket.h

# A name may have an address of a family, or of an interface, that this machine has not.
_NOT_HERE = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)

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


def listen_on(address: ListenAddress, *, reuse_port: bool = False) -> list[socket.socket]:
    """Sockets that listen on `address`, non-blocking; raises ConfigError.

    With `reuse_port`, other processes of the same user may listen there too, and the kernel
    spreads connections over all (SO_REUSEPORT, socket(7)).
    """
    with contextlib.ExitStack() as stack:
        sockets = []
        for bound in _bind(address, stack, reuse_port=reuse_port, reuse_address=True):
            bound.listen(BACKLOG)
            bound.setblocking(False)
            sockets.append(bound)
        stack.pop_all()
        return sockets


def check_free(address: ListenAddress) -> None:
    """Raise ConfigError where another process listens on `address`, whether it shares or not.

    It does not listen itself: whoever came in that moment would be let in, and dropped.
    """
    with contextlib.ExitStack() as stack:
        _bind(address, stack, reuse_port=False, reuse_address=True)


class ReservedPort:
    """An address whose port is chosen and held, for processes that listen with `reuse_port`.

    Raises ConfigError. The sockets here are bound and never listen, so no connection comes to them.
    A port that the system chose is given to nobody else; one that was named, whose earlier
    connections may linger (TIME_WAIT), is bound as every server does it.
    """

    def __init__(self, address: ListenAddress) -> None:
        with contextlib.ExitStack() as stack:
            sockets = _bind(address, stack, reuse_port=True, reuse_address=address.port != 0)
            self.address = replace(address, port=sockets[0].getsockname()[1])
            self._held = stack.pop_all()

    def close(self) -> None:
        """Let go of the port."""
        self._held.close()


def _bind(
    address: ListenAddress, stack: contextlib.ExitStack, *, reuse_port: bool, reuse_address: bool
) -> list[socket.socket]:
    """One bound socket for each address that the host has on this machine, all of one port."""
    port, sockets, missing = address.port, [], None
    try:
        found = socket.getaddrinfo(
            address.host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        for family, kind, number, _, where in dict.fromkeys(found):
            try:
                bound = stack.enter_context(socket.socket(family, kind, number))
                _set_options(bound, reuse_port=reuse_port, reuse_address=reuse_address)
                bound.bind((where[0], port, *where[2:]))
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
                missing = error
                continue
            port = bound.getsockname()[1]
            sockets.append(bound)
        if missing is not None and not sockets:
            raise missing
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {address}: {error.strerror}",
            hint="is another process there? name another address in `listen`",
        ) from error
    return sockets


def _set_options(bound: socket.socket, *, reuse_port: bool, reuse_address: bool) -> None:
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(reuse_address))
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(reuse_port))
    if bound.family == socket.AF_INET6:
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
