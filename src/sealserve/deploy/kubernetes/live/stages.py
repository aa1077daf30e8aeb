"""How far each pod has come, in a few words, and what changed between two looks.

Decided from the objects alone. Source: Kubernetes, "Pod Lifecycle"; API reference, v1 PodStatus.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from sealserve.deploy.kubernetes.live.fields import (
    Object,
    at,
    condition,
    name,
    number,
    rows,
    table,
    text,
)
from sealserve.deploy.kubernetes.live.reaching import is_ready
from sealserve.errors import (
    DeniedError,
    IntegrityError,
    NetworkError,
    RejectedError,
    UsageError,
)

READY: Final = "ready"
LEAVING: Final = "leaves"
SERVER: Final = "server"  # the container
_MEANINGS: Final[Mapping[int, str]] = {
    UsageError.exit_code: ": its arguments or files are wrong",
    RejectedError.exit_code: ": what it was given is forged or broken",
    NetworkError.exit_code: ": a peer is not reached",
    DeniedError.exit_code: ": the policy in force denies it its key",
    IntegrityError.exit_code: ": a sealed file does not authenticate",
}
_PULLING: Final = ("ErrImagePull", "ImagePullBackOff")  # by turns
_LONGEST: Final = 200  # characters of what Kubernetes says


def stages(pods: Iterable[Object]) -> dict[str, str]:
    """The stage of each pod, by its name."""
    return {name(pod): stage(pod) for pod in pods}


def stage(pod: Object) -> str:
    """How far it has come: made, started, ready, on its way out; or what it waits for."""
    if at(pod, "metadata", "deletionTimestamp"):
        return LEAVING
    if is_ready(pod):
        return READY
    if code := _exit_code(pod):
        return f"has ended, exit code {code}{_MEANINGS.get(code, '')}"
    status = _server(pod)
    if at(status, "state", "running"):
        return "started"
    placed = condition(pod, "PodScheduled")
    if text(placed, "status") == "False":
        return f"has no node: {_short(text(placed, 'message'))}"
    for each in (*rows(pod, "status", "initContainerStatuses"), status):
        waits = table(each, "state", "waiting")
        if text(waits, "reason") in _PULLING:
            return f"waits for the image {text(each, 'image')}"
        if text(waits, "message"):
            return f"waits, {text(waits, 'reason')}: {_short(text(waits, 'message'))}"
    return "made"


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
    """A line for each pod that has come further, or is gone."""
    for called, found in after.items():
        if before.get(called) != found:
            yield f"pod {called}  {found}"
    for called in before:
        if called not in after:
            yield f"pod {called}  gone"


def _exit_code(pod: Object) -> int:
    """The code with which its server has ended last, though it is to run; 0: it has not ended."""
    state = table(_server(pod), "state")
    ended = table(state, "terminated") or table(_server(pod), "lastState", "terminated")
    return number(ended, "exitCode")


def _server(pod: Object) -> Object:
    found = rows(pod, "status", "containerStatuses")
    return next((each for each in found if each.get("name") == SERVER), {})


def _short(said: str) -> str:
    return " ".join(said.split())[:_LONGEST]
