"""Ports of TCP: bound, held for processes that share them, or found taken.

With SO_REUSEPORT (socket(7)) several processes of one user listen on one port, and the kernel
spreads connections over them. A port that is to be shared is chosen and held before there are any.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from dataclasses import replace

from sealserve.errors import ConfigError
from sealserve.hosts import ListenAddress

BACKLOG = 1024  # connections the kernel queues; net.core.somaxconn may allow fewer

# A name may have an address of a family, or of an interface, that this machine has not.
_NOT_HERE = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


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


def free_port() -> int:
    """A port of the loopback address that nobody listens on now; somebody may, a moment later."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


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
            hint="is another process there? listen on another address or port",
        ) from error
    return sockets


def _set_options(bound: socket.socket, *, reuse_port: bool, reuse_address: bool) -> None:
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(reuse_address))
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(reuse_port))
    if bound.family == socket.AF_INET6:
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
