"""From the servers that run to those that the description says, without a failed request.

1. The policy takes the new enclave beside the old, in the identities that have the old.
2. All objects are applied; a new pod is made before an old one goes.
3. Every pod is new, and the service answers.
4. The policy lets go of the old enclave.

Until 3 is done, whatever fails puts the former template back and then the policy, and old pods
serve all the time. An end from outside changes nothing more: `Journal` says what holds, and another
run goes on from what it finds. Source: Kubernetes, "Deployments", Rolling Update, Rolling Back.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sealserve.deploy.kubernetes.live.applying import apply_all
from sealserve.deploy.kubernetes.live.diagnosis.why import check_pods, explained
from sealserve.deploy.kubernetes.live.fields import Object, table
from sealserve.deploy.kubernetes.live.following import follow
from sealserve.deploy.kubernetes.live.rollout import (
    STEP,
    Tell,
    components,
    rollout_of,
    wait_settled,
)
from sealserve.deploy.kubernetes.live.service import Service
from sealserve.deploy.kubernetes.live.stages import READY, stages
from sealserve.deploy.kubernetes.live.upgrade.model_changes import models_changed, polls
from sealserve.deploy.kubernetes.live.upgrade.plan import At, Change, Journal
from sealserve.deploy.kubernetes.live.upgrade.policy_steps import PolicySteps
from sealserve.deploy.kubernetes.live.upgrade.revisions import (
    FAILED,
    MEASUREMENT,
    Revision,
    plain,
    with_template,
)
from sealserve.deploy.kubernetes.live.upgrade.start import (
    Start,
    Wish,
    change_of,
    look_at,
    rendered,
    servers,
)
from sealserve.deploy.kubernetes.plan import Component
from sealserve.errors import NetworkError, SealServeError, UsageError

RESTARTED: Final = "sealserve.io/restarted"
_SEEN_SECONDS: Final = 60.0  # until a controller has seen a new template
_CHECK_EVERY: Final = 5.0


@dataclass(frozen=True, slots=True)
class Upgraded:
    """What has become of it."""

    change: Change
    restarted: bool
    retired: bool
    answer: str | None
    seconds: float


class Upgrade:
    """One upgrade of one service."""

    def __init__(self, service: Service, wish: Wish, journal: Journal, tell: Tell) -> None:
        self._service = service
        self._wish = wish
        self._journal = journal
        self._tell = tell
        self._policy = PolicySteps(wish, journal, tell)
        self._new: Revision | None = None  # as it was before it was marked
        self._digest = ""  # of the former description
        self._around: dict[Component, Object] = {}  # the other components' former templates
        self._before_restart: Object | None = None  # the servers' template

    def run(self) -> Upgraded:
        """Do all of it; raises what went wrong, in the family of its cause, once it is undone."""
        began = time.monotonic()
        start = look_at(self._service, self._wish)
        self._journal.back_to = "" if self._wish.back is None else _hash(start)
        change, successor = change_of(self._service, self._wish, start, self._tell)
        self._journal.change = change
        answers = self._answers()
        self._policy.admit(change, successor)
        self._journal.at = At.ADMITTED
        try:
            restarted = self._roll(start, change)
            answer = self._predict() if answers else None
        except SealServeError as error:
            self._go_back(change, error)
            raise
        self._journal.at = At.ROLLED
        answer = answer or self._predict()
        retired = self._policy.retire(change)
        self._journal.at = At.DONE
        return Upgraded(change, restarted, retired, answer, time.monotonic() - began)

    def _answers(self) -> bool:
        """Whether the service answers now: what it never did is no reason to go back."""
        try:
            self._predict()
        except UsageError:
            raise
        except SealServeError as error:
            self._tell(f"before the upgrade it does not answer: {error.message}")
            return False
        return True

    def _predict(self) -> str | None:
        return None if self._wish.predict is None else self._wish.predict()

    def _roll(self, start: Start, change: Change) -> bool:
        self._journal.at = At.ROLLING
        told = stages(self._service.pods("server"))
        self._digest = start.now.digest
        self._mark(start.now, change.new if not start.rolls else change.old)
        if self._wish.back is None:
            self._around = {each: self._template(each) for each in self._others()}
            applied = apply_all(self._service, lambda _: None)
            number = sum(each.change != "unchanged" for each in applied)
            self._tell(f"{number} of {len(applied)} objects are changed")
        else:
            self._service.cluster.apply(start.wanted)
        restarted = not start.rolls and start.settled and self._restart_for_models()
        self._before_restart = start.now.template if restarted else None
        self._new = new = self._seen()
        self._mark(new, change.new or start.now.measurement)
        self._follow(new, told)
        return restarted

    def _follow(self, new: Revision, told: dict[str, str]) -> None:
        """Until all servers are of a revision, ready, and the components around them too."""
        next_check = 0.0

        def done(pods: Sequence[Object]) -> bool:
            nonlocal next_check
            ours = [pod for pod in pods if new.has(pod)]
            if time.monotonic() > next_check:
                check_pods(self._service, ours)
                next_check = time.monotonic() + _CHECK_EVERY
            return self._all_are(new, pods)

        try:
            follow(self._service, done, seconds=self._wish.seconds, tell=self._tell, before=told)
        except NetworkError as error:
            raise explained(self._service, error) from error
        self._wait_for_others()

    def _wait_for_others(self) -> None:
        seconds, others = self._wish.seconds, self._others()
        wait_settled(self._service, others, seconds=seconds, tell=self._tell, explain=tuple)

    def _others(self) -> list[Component]:
        return [each for each in components(self._service) if each != "server"]

    def _template(self, component: Component) -> Object:
        """What a component's Deployment asks for; empty where there is none."""
        called = self._service.plan.named(component)
        return plain(table(self._service.find("Deployment", called), "spec", "template"))

    def _all_are(self, revision: Revision, pods: Sequence[Object]) -> bool:
        if not pods or not all(revision.has(pod) for pod in pods):
            return False
        if any(each != READY for each in stages(pods).values()):
            return False
        deployment, _, _ = servers(self._service)
        return rollout_of(deployment).settled

    def _restart_for_models(self) -> bool:
        """Let servers start anew that would not see their models' changes; whether they do."""
        if not models_changed(self._service, self._tell):
            self._tell("the servers' template is the same, and so are their models")
            return False
        if polls(self._service.plan):
            self._tell("models have changed; the servers look for new versions by themselves")
            return False
        self._tell("models have changed, and the servers look only as they start: all start anew")
        self._restart(datetime.now(UTC).isoformat(timespec="seconds"))
        return True

    def _restart(self, moment: str | None) -> None:
        """Have the template say when it was taken anew, which makes it another one."""
        change = {"spec": {"template": {"metadata": {"annotations": {RESTARTED: moment}}}}}
        called = self._service.plan.named("server")
        self._service.cluster.merge("Deployment", called, self._service.namespace, change)

    def _go_back(self, change: Change, cause: SealServeError) -> None:
        """Put back what was, if servers changed, and say so in the error that is the cause."""
        if change.back is None and self._before_restart is None:
            return
        self._journal.at = At.RETURNING
        self._tell(f"going back: {cause.message}")
        told = stages(self._service.pods("server"))
        for component, template in {**self._around, "server": change.back}.items():
            if template and template != self._template(component):
                wanted = rendered(self._service, component)
                self._service.cluster.apply(with_template(wanted, template, self._digest))
        if self._before_restart is not None:
            before = table(self._before_restart, "metadata", "annotations")
            self._restart(before.get(RESTARTED))
        former = self._seen()
        follow(
            self._service,
            lambda pods: self._all_are(former, pods),
            seconds=self._wish.seconds,
            tell=self._tell,
            before=told,
        )
        self._wait_for_others()
        self._journal.at = At.WITHDRAWING
        self._policy.withdraw(change)
        if self._new is not None:  # nobody has seen that it measures what was said
            self._write(self._new, self._new.measurement, failed=True)
        self._journal.at = At.RETURNED

    def _seen(self) -> Revision:
        """The revision that the Deployment asks for, once its controller has made it."""
        deadline = time.monotonic() + _SEEN_SECONDS
        while True:
            _, _, now = servers(self._service)
            if now is not None:
                return now
            if time.monotonic() > deadline:
                raise NetworkError("no controller acts on the servers' Deployment")
            time.sleep(STEP)

    def _mark(self, revision: Revision, measurement: bytes | None) -> None:
        """Have a revision say what it measures, if that is known."""
        if revision.failed or measurement not in (None, revision.measurement):
            self._write(revision, measurement, failed=False)

    def _write(self, revision: Revision, measurement: bytes | None, *, failed: bool) -> None:
        said = None if measurement is None else measurement.hex()
        annotations = {MEASUREMENT: said, FAILED: "true" if failed else None}
        change = {"metadata": {"annotations": annotations}}
        self._service.cluster.merge(
            "ReplicaSet", revision.replica_set, self._service.namespace, change
        )


def _hash(start: Start) -> str:
    """The hash of the template that is wanted, if it was there before."""
    found = (each.hash for each in start.found if each.template == start.planned)
    return next(found, "")
