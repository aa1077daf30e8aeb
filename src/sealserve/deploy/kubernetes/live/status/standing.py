"""How a service stands, asked of its cluster; its models, of each server by who knows gRPC."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from sealserve.deploy.kubernetes.live.fields import name
from sealserve.deploy.kubernetes.live.looking import look
from sealserve.deploy.kubernetes.live.pods import forwarded
from sealserve.deploy.kubernetes.live.seen import Seen, is_ready
from sealserve.deploy.kubernetes.live.service import Service
from sealserve.deploy.kubernetes.live.status.rows import UNKNOWN, ModelState, Status
from sealserve.deploy.kubernetes.live.status.statuses import status_of
from sealserve.errors import SealServeError
from sealserve.hosts import Address

Ask: TypeAlias = Callable[[Address, str], Sequence[ModelState]]
"""The versions of the model of that name, of the server at an address."""


def status(service: Service, ask: Ask | None = None) -> Status:
    """All of a service now; raises as `look` does.

    Each server that is ready is asked for its models, through the API server; one that does not
    answer has models of version 0, in the state `unknown`.
    """
    seen = look(service)
    if ask is None:
        return status_of(seen, None)
    pods = [name(each) for each in seen.pods("server") if is_ready(each)]
    return status_of(seen, {each: tuple(_models(service, seen, each, ask)) for each in pods})


def _models(service: Service, seen: Seen, pod: str, ask: Ask) -> Iterator[ModelState]:
    for model in seen.plan.description.models:
        try:
            with forwarded(service.cluster, service.namespace, pod, seen.plan.port) as address:
                yield from ask(address, model.name)
        except SealServeError as error:
            yield ModelState(model.name, 0, f"{UNKNOWN} ({error.code})")
