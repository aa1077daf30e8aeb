"""A relay in front of the edge that keeps what passes: the bytes that nginx is given to see.

It holds no key. What a client sends is recorded up to a limit and can be searched for plaintext.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

RECORD_LIMIT = 4 << 20  # bytes kept in each direction
CHUNK = 1 << 16
IDLE_SECONDS = 60.0


class Tap:
    """Listens on an ephemeral loopback port and relays to `upstream`, recording both directions."""

    def __init__(self, upstream: tuple[str, int]) -> None:
        self._upstream = upstream
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self.sent = bytearray()  # by clients
        self.answered = bytearray()  # by the edge
        threading.Thread(target=self._accept, daemon=True, name="tap").start()

    def close(self) -> None:
        """Stop listening; open relays end with their connections."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pair, args=(client,), daemon=True, name="tap").start()

    def _pair(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            client.settimeout(IDLE_SECONDS)
            with socket.create_connection(self._upstream, timeout=IDLE_SECONDS) as server:
                back = threading.Thread(
                    target=_relay, args=(server, client, self.answered), daemon=True
                )
                back.start()
                _relay(client, server, self.sent)
                back.join(IDLE_SECONDS)


def _relay(source: socket.socket, sink: socket.socket, record: bytearray) -> None:
    with suppress(OSError):
        while data := source.recv(CHUNK):
            record += data[: max(0, RECORD_LIMIT - len(record))]
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def hexdump(data: bytes, *, lines: int) -> str:
    """`data` as people read bytes: offset, hexadecimal, printable characters; 16 bytes a line."""
    rows = []
    for offset in range(0, min(len(data), 16 * lines), 16):
        part = data[offset : offset + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        rows.append(f"{offset:04x}  {part.hex(' '):<47}  {text}")
    return "\n".join(rows)
