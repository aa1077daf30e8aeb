"""Follow the servers' pods until they are as wanted: one line for each step of each pod."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from sealserve.deploy.kubernetes.live.fields import Object
from sealserve.deploy.kubernetes.live.rollout import STEP, Tell
from sealserve.deploy.kubernetes.live.service import Service
from sealserve.deploy.kubernetes.live.stages import READY, changes, stages
from sealserve.errors import NetworkError


def follow(
    service: Service,
    done: Callable[[Sequence[Object]], bool],
    *,
    seconds: float,
    tell: Tell,
    before: dict[str, str] | None = None,
) -> list[Object]:
    """Wait until `done` says so of the pods; `before` are stages that were told already.

    There are `seconds` until one pod more is ready, or gone. What `done` raises ends it. An API
    server that does not answer for a while is waited for. Raises NetworkError in the end.
    """
    last = before if before is not None else {}
    deadline = time.monotonic() + seconds
    while True:
        pods = _pods(service)
        if pods is not None:
            now = stages(pods)
            for line in changes(last, now):
                tell(line)
            if done(pods):
                return pods
            if _ready(now) > _ready(last) or last.keys() - now.keys():
                deadline = time.monotonic() + seconds
            last = now
        if time.monotonic() > deadline:
            waits = "; ".join(f"{pod} {found}" for pod, found in last.items() if found != READY)
            raise NetworkError(
                f"not as wanted in {seconds:.0f} s: {waits or f'{_ready(last)} pods are ready'}",
                code="not-ready",
            )
        time.sleep(STEP)


def _ready(found: dict[str, str]) -> int:
    return sum(each == READY for each in found.values())


def _pods(service: Service) -> list[Object] | None:
    try:
        return service.pods("server")
    except NetworkError:
        return None
