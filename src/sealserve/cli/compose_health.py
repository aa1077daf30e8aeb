"""Whether a server says that it serves: gRPC's own health service, over verified TLS.

Source: grpc.health.v1, `health.proto`: the answer to an empty request is of the whole server.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

METHOD = "/grpc.health.v1.Health/Check"
SERVING = b"\x08\x01"  # HealthCheckResponse with status SERVING
SECONDS = 5.0


def health(
    ca: Path, certificate: Path | None, private_key: Path | None
) -> Callable[[str, str], bool]:
    """Ask the server at an address under a name; raises ConfigError for files that are none."""
    import grpc

    from sealserve.client.service import find_service

    find = partial(find_service, ca=ca, certificate=certificate, private_key=private_key)
    find("localhost:1")  # what is wrong with the files is said now

    def serves(address: str, name: str) -> bool:
        service = find(address, server_name=name)
        with service.channel(grpc, service.resolved(), retries=False) as channel:
            try:
                answer: bytes = channel.unary_unary(METHOD)(b"", timeout=SECONDS)
            except grpc.RpcError as error:
                # The stock server has that service only with a flag; its certificate is verified.
                return bool(error.code() == grpc.StatusCode.UNIMPLEMENTED)
        return answer == SERVING

    return serves
