"""HTTP/2 by hand, for what no library sends: RFC 9113 (frames), RFC 7541 (literals alone)."""

from __future__ import annotations

import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, PING = 0, 1, 3, 4, 6
END_STREAM, END_HEADERS = 1, 4
CANCEL = struct.pack(">I", 8)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    head = struct.pack(">IBBI", len(payload), kind, flags, stream)
    return head[1:] + payload


def field(name: str, value: str) -> bytes:
    """A header that is put into no table."""
    return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


def call_headers(path: str) -> bytes:
    named = {
        ":method": "POST",
        ":scheme": "https",
        ":path": path,
        ":authority": "localhost",
        "te": "trailers",
        "content-type": "application/grpc",
    }
    return b"".join(field(name, value) for name, value in named.items())


def message(data: bytes) -> bytes:
    """As gRPC frames it, not compressed."""
    return b"\0" + struct.pack(">I", len(data)) + data


def begin(stream: socket.socket) -> None:
    """What a client says first; nothing that the server says is ever acknowledged."""
    stream.sendall(PREFACE + frame(SETTINGS, 0, 0))
