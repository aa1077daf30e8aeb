"""The PROXY protocol, versions 1 and 2, as its receiver: who is behind the proxy that connects.

Source: "The PROXY protocol, versions 1 & 2", haproxy's doc/proxy-protocol.txt, sections 2.1, 2.2.
Whether to believe a peer is not decided here: the listener reads a header from the peers that the
configuration names as proxies, requires it of them, and takes it from nobody else.

No I/O: `HeaderParser.wanted` says how many bytes may be read without reading into what follows the
header, so that nothing has to be put back. A header is at most `LIMIT` bytes. What a version 2
header says beyond the addresses (TLVs) is skipped.
"""

from __future__ import annotations

import ipaddress
import re
import struct
from dataclasses import dataclass

from sealserve.errors import FormatError

LINE_LIMIT = 107  # bytes of a version 1 header with its CRLF: section 2.1
LIMIT = 2048  # bytes of a version 2 header; what proxies and clouds add comes to some hundred

_START_1 = b"PROXY "
_SHORTEST_1 = b"PROXY UNKNOWN\r\n"
_START_2 = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED_2 = len(_START_2) + 4  # version and command, family, length
_PORT = re.compile(rb"0|[1-9][0-9]{0,4}")
_LOCAL, _PROXY = 0, 1
_UNSPECIFIED, _TCP4, _TCP6 = 0x00, 0x11, 0x21
_IP_BYTES = {_TCP4: 4, _TCP6: 16}
_SHORTEST_TCP = {b"PROXY TCP4 ": len("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n"),
                 b"PROXY TCP6 ": len("PROXY TCP6 :: :: 0 0\r\n")}  # fmt: skip


@dataclass(frozen=True)
class Source:
    """Host and port of the client; `host` is an IP address in its canonical spelling."""

    host: str
    port: int


@dataclass(frozen=True)
class Header:
    """A whole header; `source` is None where the proxy speaks for itself or cannot tell."""

    source: Source | None


class HeaderParser:
    """Bytes of one connection, from its first, until the header is whole."""

    def __init__(self) -> None:
        self._data = bytearray()
        self.wanted = len(_SHORTEST_1)

    def feed(self, data: bytes) -> Header | None:
        """At most `wanted` more bytes; the header once it is whole.

        Raises FormatError for what is no header, as early as that shows.
        """
        if len(data) > self.wanted:
            raise ValueError(f"{len(data)} bytes fed, {self.wanted} wanted")
        self._data += data
        for start, parse in ((_START_1, self._version_1), (_START_2, self._version_2)):
            if self._data.startswith(start):
                return parse()
            if start.startswith(self._data):
                self.wanted -= len(data)
                return None
        raise FormatError("the connection does not begin with a PROXY protocol header")

    def _version_1(self) -> Header | None:
        line = bytes(self._data)
        if line.endswith(b"\r\n"):
            return Header(_parse_line(line[:-2]))
        if len(line) >= LINE_LIMIT:
            raise FormatError(f"a PROXY header of more than {LINE_LIMIT} bytes")
        shortest = _SHORTEST_TCP.get(line[:11], len(_SHORTEST_1))
        at_least = 1 if line.endswith(b"\r") else 2
        self.wanted = min(max(shortest - len(line), at_least), LINE_LIMIT - len(line))
        return None

    def _version_2(self) -> Header | None:
        whole = _FIXED_2
        if len(self._data) >= _FIXED_2:
            whole += int.from_bytes(self._data[_FIXED_2 - 2 : _FIXED_2])
            if whole > LIMIT:
                raise FormatError(f"a PROXY header of {whole} bytes, expected at most {LIMIT}")
        self.wanted = whole - len(self._data)
        return None if self.wanted else Header(_parse_binary(bytes(self._data)))


def _parse_line(line: bytes) -> Source | None:
    """The source in a version 1 header without its CRLF."""
    words = line.split(b" ")
    if words[1] == b"UNKNOWN":  # the rest is to be ignored
        return None
    family = {b"TCP4": ipaddress.IPv4Address, b"TCP6": ipaddress.IPv6Address}.get(words[1])
    if family is None or len(words) != 6:
        raise FormatError("a PROXY header that is neither TCP4, TCP6 nor UNKNOWN")
    try:
        source, _destination = (family(word.decode("ascii")) for word in words[2:4])
    except ValueError:
        raise FormatError("a PROXY header with an address that is none") from None
    if getattr(source, "scope_id", None):
        raise FormatError("a PROXY header with an address that is bound to an interface")
    port, _destination_port = (_parse_port(word) for word in words[4:])
    return Source(str(source), port)


def _parse_port(word: bytes) -> int:
    port = int(word) if _PORT.fullmatch(word) else 1 << 16
    if port >= 1 << 16:
        raise FormatError("a PROXY header with a port that is none")
    return port


def _parse_binary(data: bytes) -> Source | None:
    """The source in a whole version 2 header."""
    command, family, length = struct.unpack_from(">BBH", data, len(_START_2))
    if command >> 4 != 2 or command & 15 not in (_LOCAL, _PROXY):
        raise FormatError(f"a PROXY header with version and command {command:#04x}")
    if command & 15 == _LOCAL or family == _UNSPECIFIED:
        return None
    if family not in _IP_BYTES:
        raise FormatError(f"a PROXY header of family {family:#04x}, expected TCP over IPv4 or IPv6")
    size = _IP_BYTES[family]
    if length < 2 * size + 4:
        raise FormatError(f"a PROXY header with {length} bytes of addresses, too few")
    host = ipaddress.ip_address(data[_FIXED_2 : _FIXED_2 + size])
    (port,) = struct.unpack_from(">H", data, _FIXED_2 + 2 * size)
    return Source(str(host), port)
