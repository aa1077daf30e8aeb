"""What an upgrade starts from: the servers as they are, as they are to be, and both measurements.

Nothing is changed here, but for a pod that measures and is gone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sealserve.deploy.kubernetes.live.fields import Object, name, table
from sealserve.deploy.kubernetes.live.rollout import Tell, rollout_of
from sealserve.deploy.kubernetes.live.service import Service
from sealserve.deploy.kubernetes.live.upgrade.enforcing import PolicyInForce
from sealserve.deploy.kubernetes.live.upgrade.measuring import measure
from sealserve.deploy.kubernetes.live.upgrade.plan import Change, Side, find_back, sides
from sealserve.deploy.kubernetes.live.upgrade.revisions import (
    Revision,
    current,
    plain,
    revisions,
    with_template,
)
from sealserve.deploy.kubernetes.objects import all_objects
from sealserve.errors import ConfigError, NetworkError, UsageError
from sealserve.policies.editing import Reference
from sealserve.policies.succession import Successor, measurements


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user wants of an upgrade.

    `back` is the hash of a former template, or empty for the one before; None is forward.
    `policy` is None where it is changed by somebody else; `accepted` says that it was.
    `predict` tells what the service answered, and raises where it does not.
    """

    new: Successor | None
    running: bytes | None
    back: str | None
    keep_old: bool
    seconds: float
    policy: PolicyInForce | None
    accepted: bool
    predict: Callable[[], str] | None


@dataclass(frozen=True, slots=True)
class Start:
    """The servers' Deployment: its revisions, the one that runs, what is to be applied."""

    found: tuple[Revision, ...]
    now: Revision
    wanted: Object
    planned: Object  # the template, as the API server would have it
    rolls: bool
    settled: bool


def look_at(service: Service, wish: Wish) -> Start:
    """Raises ConfigError where the service is not there, UsageError where there is no way back."""
    deployment, found, now = servers(service)
    if now is None:
        raise NetworkError("the Deployment's controller has not seen its newest template yet")
    wanted = rendered(service)
    if wish.back is not None:
        back = find_back(found, now, wish.back)
        wanted = with_template(wanted, back.template, back.digest)
    planned = plain(table(service.cluster.apply(wanted, dry_run=True), "spec", "template"))
    settled = rollout_of(deployment).settled
    return Start(tuple(found), now, wanted, planned, planned != now.template, settled)


def servers(service: Service) -> tuple[Object, list[Revision], Revision | None]:
    """The servers' Deployment, its revisions, and the one that it asks for."""
    called = service.plan.named("server")
    deployment = service.find("Deployment", called)
    if deployment is None:
        raise ConfigError(
            f"there is no Deployment {called} in {service.namespace}",
            code="kubernetes-missing",
            hint="sealserve k8s apply makes it",
        )
    found = revisions(deployment, service.cluster.every("ReplicaSet", service.namespace))
    return deployment, found, current(deployment, found)


def rendered(service: Service, component: str = "server") -> Object:
    """A component's Deployment, as the description has it."""
    called = service.plan.named(component)
    objects = [each for listed in all_objects(service.plan).values() for each in listed]
    return next(each for each in objects if (each["kind"], name(each)) == ("Deployment", called))


def change_of(
    service: Service, wish: Wish, start: Start, tell: Tell
) -> tuple[Change, Successor | None]:
    """The two measurements, and what more is known of the new one.

    Raises UsageError where one must be named, ConfigError where the lab cannot measure it.
    """
    before, runs = sides(start.found, start.now, rolls=start.rolls)
    lab = service.plan.target.simulated
    if not start.rolls:
        new = _known(wish, runs)
        old = None if before is None else before.measurement
        if old is not None and new is None and lab:
            new = _successor(measure(service, runs.template, tell))
        back = None if start.settled or before is None else before.template
        return Change(old, None if new is None else new.mr_enclave, False, back), new
    old = wish.running or runs.measurement
    if old is None and lab:
        old = measure(service, runs.template, tell).mr_enclave
    named = () if wish.policy is None or old is not None else measurements(wish.policy.read())
    if len(named) == 1:
        old = named[0]
    target = next((each for each in start.found if each.template == start.planned), None)
    new = wish.new or _remembered(target)
    if new is None and lab:
        new = _successor(measure(service, start.planned, tell))
    by_signer = wish.policy is not None and not named
    if new is None or (old is None and not by_signer):
        raise UsageError(
            f"what the {'new' if new is None else 'running'} servers measure is not known",
            code="measurement-unknown",
            hint="--sigstruct IMAGE, or --measurement HEX"
            if new is None
            else "--running-measurement HEX: what the servers measure that run now",
        )
    return Change(old, new.mr_enclave, True, start.now.template), new


def _known(wish: Wish, runs: Side) -> Successor | None:
    """What runs, if that is known; UsageError where the user names something else."""
    if wish.new is None:
        return None if runs.measurement is None else Successor(runs.measurement, "")
    if runs.measurement is not None and runs.measurement != wish.new.mr_enclave:
        raise UsageError(
            f"servers of this description run already, and measure {runs.measurement.hex()}, not "
            f"{wish.new.mr_enclave.hex()}",
            hint="another image needs another tag: nodes keep what they have pulled",
        )
    return wish.new


def _remembered(revision: Revision | None) -> Successor | None:
    if revision is None or revision.measurement is None:
        return None
    return Successor(revision.measurement, f"ReplicaSet {revision.replica_set}")


def _successor(measured: Reference) -> Successor:
    return Successor(measured.mr_enclave, measured.remark, measured)
