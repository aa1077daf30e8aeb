"""Words to the service manager: `READY=1` when the service can be asked, `STOPPING=1` when it ends.

One datagram to the socket that the manager named in NOTIFY_SOCKET; without one nobody asked to be
told. The manager is not waited for: a service that is up is not worth less because nobody noted it.
Source: sd_notify(3); a name that begins with `@` is one of Linux's abstract sockets.
"""

from __future__ import annotations

import os
import socket

SOCKET = "NOTIFY_SOCKET"


def notify(state: str) -> bool:
    """Tell `state` ("READY=1", "STOPPING=1", "STATUS=words"); whether it was sent.

    False where no manager asked, or its socket takes nothing now. Only the process that the manager
    started is listened to, unless its unit says otherwise.
    """
    name = os.environ.get(SOCKET, "")
    if not name.startswith(("/", "@")):
        return False  # sd_notify(3) has other kinds, for virtual machines
    address = "\0" + name[1:] if name.startswith("@") else name
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as stream:
        stream.setblocking(False)
        try:
            stream.sendto(state.encode(), address)
        except OSError:
            return False
    return True
