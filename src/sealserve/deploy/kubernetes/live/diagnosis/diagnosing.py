"""Why a service does not serve, asked of its cluster."""

from __future__ import annotations

from dataclasses import dataclass

from sealserve.deploy.kubernetes.live.diagnosis.causes.catalogue import Finding
from sealserve.deploy.kubernetes.live.diagnosis.causes.explaining import explain
from sealserve.deploy.kubernetes.live.looking import look
from sealserve.deploy.kubernetes.live.service import Service


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What is wrong, and what could not be looked at: kinds of objects, or the audit log."""

    findings: tuple[Finding, ...]
    unseen: tuple[str, ...]


def diagnose(service: Service) -> Diagnosis:
    """What is wrong now, errors first, causes before what follows.

    The key service's audit log is read by a command in its pod. Raises as `look` does.
    """
    seen = look(service)
    unseen = sorted(seen.unseen)
    if service.plan.key_service_inside and seen.decisions is None and seen.pods("server"):
        unseen.append("audit log")
    return Diagnosis(explain(seen), tuple(unseen))


def findings(service: Service) -> tuple[Finding, ...]:
    """The findings alone; empty where nothing is wrong."""
    return diagnose(service).findings


def stuck(service: Service) -> tuple[Finding, ...]:
    """What waiting will not mend, from objects and logs alone: for whoever waits, each few seconds.

    A denial that is seen here has its reasons in `findings`.
    """
    return tuple(each for each in explain(look(service, audit=False)) if each.lasts)
