"""Who called, as people write it: each face spells a peer in its own way."""

from __future__ import annotations

from urllib.parse import unquote


def plain_peer(peer: str) -> str:
    """An address as people write it; gRPC's is `ipv4:192.0.2.1:4711`, `ipv6:%5B::1%5D:4711`."""
    kind, _, address = peer.partition(":")
    return unquote(address) if kind in ("ipv4", "ipv6") else peer
