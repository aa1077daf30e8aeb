"""Why a service does not serve, asked of its cluster."""

from __future__ import annotations

from sealserve.deploy.kubernetes.live.causes.catalogue import Finding
from sealserve.deploy.kubernetes.live.causes.explaining import explain
from sealserve.deploy.kubernetes.live.looking import look
from sealserve.deploy.kubernetes.live.service import Service


def findings(service: Service) -> tuple[Finding, ...]:
    """What is wrong now, errors first, causes before what follows; empty where nothing is.

    The key service's audit log is read by a command in its pod. Raises as `look` does.
    """
    return explain(look(service))


def stuck(service: Service) -> tuple[Finding, ...]:
    """What waiting will not mend, from objects and logs alone: for whoever waits, each few seconds.

    A denial that is seen here has its reasons in `findings`.
    """
    return tuple(each for each in explain(look(service, audit=False)) if each.lasts)
