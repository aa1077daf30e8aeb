"""gRPC statuses as exceptions of ours.

A status that a server decided on is a ServingError of its kind. UNAVAILABLE has two origins, the
server and the way to it: where a look at the addresses finds a reason (`diagnosis`), it becomes a
NetworkError with that reason's code and words.
"""

from __future__ import annotations

from typing import Any

import grpc

from sealserve.client.findings import Finding, shown
from sealserve.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    NetworkError,
    NotFound,
    ResourceExhausted,
    ServingError,
    Unavailable,
    Unimplemented,
)

_BY_STATUS: dict[str, type[ServingError]] = {
    kind.status: kind
    for kind in (
        InvalidArgument,
        NotFound,
        FailedPrecondition,
        Unimplemented,
        ResourceExhausted,
        DeadlineExceeded,
        Unavailable,
    )
}


def is_unavailable(error: grpc.RpcError) -> bool:
    """Whether the call failed on the way, or because the server was not ready."""
    return _status(error) == "UNAVAILABLE"


def as_serving_error(error: grpc.RpcError) -> ServingError:
    """The exception for a call that ended with a status other than OK."""
    status = _status(error)
    details = shown(str(_call(error).details() or "")) or "no details"
    message = f"the server answered {status}: {details}"
    if status == "DEADLINE_EXCEEDED":
        return DeadlineExceeded(
            "no answer before the deadline", hint="allow more time, or ask for less at once"
        )
    kind = _BY_STATUS.get(status)
    if kind is None:
        return ServingError(message, code=f"serving.{status.lower().replace('_', '-')}")
    return kind(message)


def as_network_error(finding: Finding) -> NetworkError:
    """The exception for a server that was not reached."""
    return NetworkError(finding.message, code=finding.code, hint=finding.hint)


def _status(error: grpc.RpcError) -> str:
    return str(_call(error).code().name)


def _call(error: grpc.RpcError) -> Any:
    """What gRPC raises is also the call, with its code and details."""
    return error
