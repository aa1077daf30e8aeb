"""Waiting for a service in a cluster, with what is told meanwhile and what is said at the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sealserve.cli.output import steps
from sealserve.deploy.kubernetes.live.diagnosis.diagnosing import stuck
from sealserve.deploy.kubernetes.live.diagnosis.why import explained
from sealserve.deploy.kubernetes.live.rollout import wait_settled
from sealserve.deploy.kubernetes.live.service import Service
from sealserve.deploy.kubernetes.plan import Component
from sealserve.errors import NetworkError


def wait_for(service: Service, names: Iterable[Component], seconds: float) -> dict[str, float]:
    """Wait until Deployments have settled, as `wait_settled` does, and tell how it goes.

    After `seconds` it raises the error of the family of the worst that is found, with all findings.
    """
    try:
        with steps(f"until {service.plan.name} is ready") as tell:
            return wait_settled(
                service, names, seconds=seconds, tell=tell, explain=lambda: _held_up(service)
            )
    except NetworkError as error:
        if error.code != "not-ready":
            raise
        raise explained(service, error) from error


def _held_up(service: Service) -> Iterator[str]:
    try:
        for each in stuck(service):
            yield f"{each.component:<10}  {each.what} [{each.code}]"
            yield f"{'':<10}  hint: {each.cure}"
    except NetworkError:  # the API server is busy: asked again
        return
