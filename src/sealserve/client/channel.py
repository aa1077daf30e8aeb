"""One gRPC channel over all targets: names, TLS, load balancing, retries, limits.

gRPC balances by itself, request by request in turn over every address that answers (round_robin),
and leaves out those that do not until they answer again. Several targets stand for one service:
they share one certificate name. Addresses of a single host name are gRPC's to resolve, again and
again; several targets are resolved once, here, because gRPC takes several only as IP addresses.

Retries are gRPC's own (gRFC A6) and only for UNAVAILABLE: every method that this client calls is
idempotent, a prediction changes nothing on the server.
"""

from __future__ import annotations

import ipaddress
import json
import socket
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from sealserve.client.credentials import Credentials
from sealserve.client.findings import unresolved
from sealserve.client.statuses import as_network_error
from sealserve.errors import UsageError
from sealserve.hosts import Address, parse_address, parse_host, parse_ip
from sealserve.messages.services import (
    CLASSIFY,
    GET_MODEL_METADATA,
    GET_MODEL_STATUS,
    PREDICT,
    REGRESS,
)

RESOLVE_SECONDS = 5.0
MAX_RECONNECT_MS = 5_000  # a replica that came back is found within this time
ATTEMPTS = 3

_BALANCING: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}
_BALANCING_ALONE = json.dumps(_BALANCING)
_SERVICE_CONFIG = json.dumps(
    {
        **_BALANCING,
        "methodConfig": [
            {
                "name": [
                    {"service": method.service, "method": method.name}
                    for method in (PREDICT, CLASSIFY, REGRESS, GET_MODEL_METADATA, GET_MODEL_STATUS)
                ],
                "retryPolicy": {
                    "maxAttempts": ATTEMPTS,
                    "initialBackoff": "0.1s",
                    "maxBackoff": "1s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ],
    }
)


def parse_targets(targets: str | Sequence[str]) -> tuple[Address, ...]:
    """`host:port` or several, in one text with commas or as a sequence; raises UsageError."""
    texts = targets.split(",") if isinstance(targets, str) else targets
    addresses = tuple(dict.fromkeys(parse_address(text.strip()) for text in texts))
    if not addresses:
        raise UsageError("no target: expected host:port")
    return addresses


def certificate_name(addresses: Sequence[Address], server_name: str | None) -> str:
    """The name that the certificate has to carry: the one given, or the only host there is."""
    if server_name is not None:
        return parse_host(server_name)
    hosts = {address.host for address in addresses}
    if len(hosts) > 1:
        raise UsageError(
            f"the targets have {len(hosts)} hosts, but one service has one certificate name",
            hint="give the name in the servers' certificate as the server name",
        )
    return hosts.pop()


def open_channel(
    library: Any,
    target: str,
    credentials: Credentials | None,
    *,
    name: str,
    max_message_bytes: int,
    retries: bool,
) -> Any:
    """A channel of `grpc` or `grpc.aio` that connects at its first call; no credentials, no TLS."""
    options = [
        ("grpc.service_config", _SERVICE_CONFIG if retries else _BALANCING_ALONE),
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_reconnect_backoff_ms", MAX_RECONNECT_MS),
        # Above 256 KiB, gRPC's default, nothing would be sent again. The buffer refers, not copies.
        ("grpc.per_rpc_retry_buffer_size", max_message_bytes),
        # Every channel has connections of its own: two clients spread behind an edge too.
        ("grpc.use_local_subchannel_pool", 1),
    ]
    if credentials is None:
        return library.insecure_channel(target, options)
    options.append(("grpc.ssl_target_name_override", name))
    return library.secure_channel(target, credentials.for_grpc(), options)


def target_uri(addresses: Sequence[Address]) -> str:
    """gRPC's spelling (its naming guide): one name as `dns:`, else IP literals of one family.

    Names among several are resolved here and now; raises NetworkError.
    """
    if len(addresses) == 1 and parse_ip(addresses[0].host) is None:
        return f"dns:///{addresses[0]}"
    resolved = [found for address in addresses for found in _resolve(address)]
    if all(":" not in address.host for address in resolved):
        return "ipv4:" + ",".join(map(str, resolved))
    return "ipv6:" + ",".join(str(_as_ipv6(address)) for address in resolved)


def _as_ipv6(address: Address) -> Address:
    if ":" in address.host:
        return address
    mapped = ipaddress.IPv6Address(f"::ffff:{address.host}")
    return Address(str(mapped), address.port)


def _resolve(address: Address) -> list[Address]:
    """The IP addresses of a target; NetworkError if its name has none, or none in time."""
    if parse_ip(address.host) is not None:
        return [address]
    outcome: Future[list[Address]] = Future()

    def look_up() -> None:
        try:
            answers = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
            hosts = dict.fromkeys(str(answer[4][0]) for answer in answers)
            outcome.set_result([Address(host, address.port) for host in hosts])
        except (OSError, UsageError) as error:
            outcome.set_exception(error)

    # The system's resolver takes no deadline: a thread that is left behind does.
    threading.Thread(target=look_up, daemon=True).start()
    try:
        return outcome.result(RESOLVE_SECONDS)
    except (OSError, UsageError, TimeoutError) as error:
        raise as_network_error(unresolved(address.host)) from error
