"""Whether models changed under servers that will not see it by themselves.

A server looks at the folders of its models again and again, or only as it starts: its arguments
say which, and they are measured. Whoever adds or removes a version changes the folder around it,
and the file system keeps the time of that (stat(2), st_ctime).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sealserve.deploy.gramine.servers import program
from sealserve.deploy.images.roles import WORK_FOLDER
from sealserve.deploy.kubernetes.live.fields import Object, moment, rows, table
from sealserve.deploy.kubernetes.live.reaching import is_ready
from sealserve.deploy.kubernetes.live.rollout import Tell
from sealserve.deploy.kubernetes.live.service import Service
from sealserve.deploy.kubernetes.live.stages import SERVER
from sealserve.deploy.kubernetes.plan import Plan
from sealserve.deploy.kubernetes.server import lab_arguments
from sealserve.errors import NetworkError

_NEVER: Final = "--file_system_poll_wait_seconds=0"


def polls(plan: Plan) -> bool:
    """Whether running servers look for new versions of their models."""
    words = lab_arguments(plan) if plan.target.simulated else program(plan.description).arguments
    return _NEVER not in words


def changed_since(times: Sequence[int], pods: Sequence[Object]) -> bool:
    """Whether a folder changed (seconds since the epoch) after one of the servers was started."""
    starts = [
        moment(table(each, "state", "running"), "startedAt")
        for pod in pods
        for each in rows(pod, "status", "containerStatuses")
        if each.get("name") == SERVER
    ]
    oldest = min((each.timestamp() for each in starts if each is not None), default=None)
    return oldest is not None and any(each > oldest for each in times)


def models_changed(service: Service, tell: Tell) -> bool:
    """Whether the claim's models changed since the servers were started; False if not known."""
    pods = [pod for pod in service.pods("server") if is_ready(pod)]
    if not pods:
        return False
    folders = [f"{WORK_FOLDER}/{each.base_path}" for each in service.plan.description.models]
    try:
        ran = service.container(pods[-1], SERVER).run("stat", "--format=%Z", *folders)
    except NetworkError as error:
        tell(f"whether models have changed is not known: {error.message}")
        return False
    times = [int(line) for line in ran.output.split() if line.isdecimal()]
    return changed_since(times, pods)
