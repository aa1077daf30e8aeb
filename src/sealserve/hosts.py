"""Host names and addresses that a person gives, in one canonical spelling or refused.

They end in certificates, in nginx configuration and in manifests, so nothing may pass here that
means more than a name there: only letters, digits, hyphens and dots (RFC 1123 section 2.1, RFC 5890
section 2.3.1), IP literals, and ports. Names beyond ASCII are expected in their A-label form.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import ClassVar

from sealserve.errors import UsageError

MAX_NAME = 253  # characters of a name in text form: RFC 1035 section 2.3.4, less length and root
MAX_PORT = 65535

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_PORT = re.compile(r"0|[1-9][0-9]{0,4}")


def parse_dns_name(text: str, *, wildcard: bool = False) -> str:
    """A DNS name in lower case; raises UsageError. `wildcard` permits `*` as the first label."""
    name = text.lower()
    labels = name.split(".")
    if wildcard and len(labels) > 2 and labels[0] == "*":
        labels = labels[1:]
    if len(name) > MAX_NAME or not all(_LABEL.fullmatch(label) for label in labels):
        raise UsageError(
            f"{text!r} is no host name",
            hint="letters, digits, hyphens and dots; other alphabets as xn-- labels",
        )
    if labels[-1].isdigit():
        raise UsageError(f"{text!r} is neither a host name nor an IP address")
    return name


def parse_ip(text: str) -> IpAddress | None:
    """The address that `text` spells; None if it spells none, or one bound to an interface."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return None if getattr(address, "scope_id", None) else address


def is_loopback(host: str) -> bool:
    """Whether a host (DNS name or IP literal, without brackets) can only be this machine."""
    address = parse_ip(host)
    return host == "localhost" if address is None else address.is_loopback


def parse_host(text: str) -> str:
    """A DNS name or an IP literal (without brackets) in canonical form; raises UsageError."""
    address = parse_ip(text)
    return parse_dns_name(text) if address is None else str(address)


@dataclass(frozen=True)
class Address:
    """A host (DNS name or IP literal, without brackets) and a port; UsageError otherwise."""

    LEAST_PORT: ClassVar[int] = 1

    host: str
    port: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "host", parse_host(self.host))
        if not self.LEAST_PORT <= self.port <= MAX_PORT:
            raise UsageError(f"{self.port!r} is no port; expected {self.LEAST_PORT} to {MAX_PORT}")

    def __str__(self) -> str:
        return spell(self.host, self.port)


class ListenAddress(Address):
    """Where to listen. Port 0 lets the system choose one."""

    LEAST_PORT = 0


def spell(host: str, port: int) -> str:
    """`host:port` as people write it, whatever the host is."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_address(text: str) -> Address:
    """`host:port`, with an IPv6 host in brackets; raises UsageError."""
    return Address(*_split(text))


def parse_listen_address(text: str) -> ListenAddress:
    """The same for an address to listen on, whose port may be 0."""
    return ListenAddress(*_split(text))


def _split(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if bracketed:
        host = host[1:-1]
    if not host or not _PORT.fullmatch(port) or (":" in host) != bracketed:
        raise UsageError(
            f"{text!r} is no address", hint="host:port, such as replica-1:8500 or [::1]:8500"
        )
    return host, int(port)
