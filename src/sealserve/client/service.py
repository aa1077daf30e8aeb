"""One service as clients know it: where it is, how it is spoken to, why it is not reached.

Everything that `Client` and `AsyncClient` share but for the calls: what is wrong with the words
that name a service is found here, before anything connects.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc

from sealserve.client.channel import certificate_name, open_channel, parse_targets, target_uri
from sealserve.client.credentials import Credentials, Pem, load_credentials
from sealserve.client.findings import Finding
from sealserve.client.statuses import as_network_error, as_serving_error, is_unavailable
from sealserve.errors import SealServeError, UsageError
from sealserve.hosts import Address

DEFAULT_TIMEOUT = 30.0  # seconds
DEFAULT_MAX_MESSAGE = 256 << 20  # bytes
DIAGNOSIS_SECONDS = 2.0


@dataclass(frozen=True)
class Service:
    """Its addresses, the certificate's name, what we show and trust; `credentials=None`: no TLS."""

    targets: tuple[Address, ...]
    credentials: Credentials | None
    name: str
    max_message_bytes: int = DEFAULT_MAX_MESSAGE

    def resolved(self, *, turn: int = 0) -> str:
        """Where a channel goes, in gRPC's spelling; it may wait for a resolver (NetworkError).

        `turn` moves the beginning of the list, so that several channels begin with different ones.
        """
        first = turn % len(self.targets)
        return target_uri(self.targets[first:] + self.targets[:first])

    def channel(self, library: Any, target: str, *, retries: bool = True) -> Any:
        """A channel of `grpc` or of `grpc.aio` to what `resolved` gave; it connects later."""
        return open_channel(
            library,
            target,
            self.credentials,
            name=self.name,
            max_message_bytes=self.max_message_bytes,
            retries=retries,
        )

    def explained(self, error: grpc.RpcError, deadline: float) -> SealServeError:
        """The exception for a failed call: where nobody was reached, the reason, looked for now.

        `deadline` is the call's, on the monotonic clock. It blocks, for DIAGNOSIS_SECONDS at most.
        """
        finding = self._finding(deadline) if is_unavailable(error) else None
        return as_serving_error(error) if finding is None else as_network_error(finding)

    def _finding(self, deadline: float) -> Finding | None:
        """Why the first target that does not serve us does not, in what is left of the call."""
        from sealserve.client.diagnosis import diagnose  # for failures alone

        end = min(deadline, time.monotonic() + DIAGNOSIS_SECONDS)
        for target in self.targets:
            left = end - time.monotonic()
            if left <= 0:
                break
            finding = diagnose(target, self.credentials, self.name, timeout=left)
            if finding is not None:
                return finding
        return None


def find_service(
    targets: str | Sequence[str],
    *,
    ca: Pem | None = None,
    certificate: Pem | None = None,
    private_key: Pem | None = None,
    server_name: str | None = None,
    max_message_bytes: int = DEFAULT_MAX_MESSAGE,
    dangerously_plaintext: bool = False,
) -> Service:
    """The service that these words name (see `Client`); raises UsageError or ConfigError."""
    addresses = parse_targets(targets)
    if not dangerously_plaintext:
        credentials = load_credentials(ca, certificate, private_key)
        name = certificate_name(addresses, server_name)
        return Service(addresses, credentials, name, max_message_bytes)
    if ca or certificate or private_key or server_name:
        raise UsageError("plaintext has no CA, certificate, key or server name")
    return Service(addresses, None, "", max_message_bytes)


def require_timeout(seconds: float) -> float:
    """`seconds`, if they end; UsageError otherwise."""
    if not 0 < seconds < float("inf"):
        raise UsageError(f"a timeout of {seconds} seconds; expected more than 0, and an end")
    return seconds
