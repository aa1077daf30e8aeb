"""The decision: whether the enclave behind a certificate gets a secret, which one, and on record.

1. The evidence in the certificate (`evidence`).
2. Its claims, by the verifier that the configuration names (`verifiers`).
3. By the *verified* report data, that the quote binds the certificate's key: a genuine quote in
   somebody else's certificate ends here.
4. Appraisal by the policy and the revocations of one revision: which rule, which secret
   (`deciding`).
5. The audit record, durable while that revision is in force; otherwise everything from 1 on again.
6. The secret.

Whatever goes wrong in 1 to 4 is a decision too, and on record; whatever goes wrong in 5 is an error
and no decision. Only a `Release` holds a secret, and there is none without a receipt: no durable
record, no secret; any doubt, no secret.

Where everything is at hand, 1 to 4 take the processor half a millisecond, and the event loop does
them itself: a thread would only take turns with it. It serves the other sessions while a verifier,
the database or the disk is waited for, and while there is much to judge: many secrets, or few of
them by a policy of many rules.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Protocol, TypeVar

from sealserve.errors import AuditError, OverloadedError, SealServeError, StoreError
from sealserve.evidence.ratls import evidence_of_peer
from sealserve.keyservice import deciding
from sealserve.keyservice.asking import Answer, Ask, Decision, Outcome, Receipt, Release
from sealserve.keyservice.deciding import Judgement, Verdict
from sealserve.keyservice.limits import Limits
from sealserve.keyservice.store.appender import Appender, Stale
from sealserve.keyservice.store.snapshot import NotAtHand, Snapshot
from sealserve.keyservice.store.store import Store
from sealserve.keyservice.throttle import Buckets
from sealserve.keyservice.verifiers import Verifier
from sealserve.logline import line

DECIDING_THREADS = 4
FEW = 100  # identities of rules, for each secret asked for, that are judged without a thread
TRIES = 8  # changes of what decides, one after the other, that one request waits out

T = TypeVar("T")
log = logging.getLogger(__name__)


class Observer(Protocol):
    """Who is told of every decision; `sealserve.keyservice.metrics.Metrics` is."""

    def decision(self, outcome: str, code: str, seconds: float) -> None:
        """One secret was decided about, in a request that has taken so long."""
        ...


class KeyService:
    """Decides by what is in the store; belongs to one event loop."""

    def __init__(
        self,
        *,
        store: Store,
        appender: Appender,
        verifier: Verifier,
        observer: Observer,
        limits: Limits,
        key_domain: str | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._appender = appender
        self._verifier = verifier
        self._observer = observer
        self._key_domain = key_domain
        self._clock = clock
        self._identities: Buckets[str] = Buckets(
            limits.releases_per_second_per_identity, limits.releases_burst_per_identity
        )
        self._rejections: Buckets[None] = Buckets(
            limits.rejections_per_second, limits.rejections_burst
        )
        self._threads = ThreadPoolExecutor(DECIDING_THREADS, thread_name_prefix="decision")

    async def release(self, ask: Ask) -> Answer:
        """Decide on `ask` and put it on record.

        Raises AuditError or StoreError when there is no record, OverloadedError when the identity
        asks too often.
        """
        began = asyncio.get_running_loop().time()
        for attempt in range(TRIES):
            snapshot = self._store.kept
            if attempt or snapshot is None:
                snapshot = await self._run(self._store.refresh)
            judgement = await self._judge(ask, snapshot)
            if attempt == 0:
                self._throttle(judgement)
            try:
                receipts = await self._put_on_record(ask, judgement)
            except Stale:
                continue
            self._tell(ask, judgement, receipts, began)
            return self._answer(ask, judgement, receipts)
        raise AuditError(
            f"what decides changed {TRIES} times during one request", code="audit-unavailable"
        )

    def close(self) -> None:
        """Let the threads end what they do."""
        self._threads.shutdown()

    async def _judge(self, ask: Ask, snapshot: Snapshot) -> Judgement:
        """Steps 1 to 4."""
        names = deciding.names_of(ask, self._key_domain)
        digest = None
        try:
            evidence = evidence_of_peer(ask.certificate)
            digest = hashlib.sha256(evidence.quote).hexdigest()
            grace = snapshot.policy.collateral_grace(self._clock())
            claims = self._verifier.claims_at_hand(evidence, grace)
            if claims is None:
                claims = await self._verifier.claims(evidence, grace)
            judge = partial(deciding.judge, ask, names, evidence, claims, snapshot)
            if _is_quick(names, snapshot):
                with contextlib.suppress(NotAtHand):
                    return judge(snapshot.at_hand)
            return await self._run(lambda: judge(snapshot.secret))
        except StoreError:
            raise
        except SealServeError as error:
            return deciding.undecided(names, error, digest, snapshot)
        except Exception as error:  # a fault of ours is on record, too
            log.exception(line("decision_fault", request_id=ask.request_id, peer=ask.peer))
            fault = SealServeError(
                f"a fault of the key service: {type(error).__name__}", code="fault"
            )
            return deciding.undecided(names, fault, digest, snapshot)

    def _throttle(self, judgement: Judgement) -> None:
        """One build asks no more often than is allowed; raises OverloadedError.

        Whoever shows a quote that is not bound to its key is not that build, and takes nothing
        from it: all of whom nobody can say what they are have one pace together, so that strangers
        in any number fill the disk no faster. Denials cost one each: a stranger who names many
        secrets at once would else have as many records written.
        """
        now = asyncio.get_running_loop().time()
        if judgement.claims is None or not judgement.is_bound:
            wait = self._rejections.take(None, now)
            if wait is not None:
                raise OverloadedError(
                    "too much evidence comes that does not verify",
                    code="overloaded.rejections",
                    retry_after=wait,
                )
            return
        cost = max(1, judgement.denials)
        wait = self._identities.take(deciding.measurement(judgement.claims), now, cost)
        if wait is not None:
            raise OverloadedError(
                "this build asks too often", code="overloaded.identity-rate", retry_after=wait
            )

    async def _put_on_record(self, ask: Ask, judgement: Judgement) -> list[Receipt]:
        """Step 5."""
        now = self._clock()
        leaves = deciding.leaves(ask, judgement, self._verifier.basis, now)
        return await self._appender.append(leaves, judgement.revision)

    def _answer(self, ask: Ask, judgement: Judgement, receipts: list[Receipt]) -> Answer:
        """Step 6."""
        decided = list(zip(judgement.verdicts, receipts, strict=True))
        if len(decided) == 1:
            decided *= len(judgement.names)
        decisions = tuple(
            Decision(name, verdict.outcome, verdict.code, receipt, self._opened(verdict))
            for name, (verdict, receipt) in zip(judgement.names, decided, strict=True)
        )
        return Answer(decisions, deciding.result(ask, judgement, self._verifier.basis))

    def _opened(self, verdict: Verdict) -> Release | None:
        if (
            verdict.outcome is not Outcome.RELEASED
            or verdict.found is None
            or verdict.grant is None
        ):
            return None
        versions = verdict.found.open(self._store.key)
        return Release(versions, verdict.grant.encoding, verdict.found.record)

    def _tell(self, ask: Ask, judgement: Judgement, receipts: list[Receipt], began: float) -> None:
        seconds = asyncio.get_running_loop().time() - began
        for verdict, receipt in zip(judgement.verdicts, receipts, strict=True):
            self._observer.decision(verdict.outcome, verdict.code, seconds)
            self._log(ask, judgement, verdict, receipt)

    def _log(self, ask: Ask, judgement: Judgement, verdict: Verdict, receipt: Receipt) -> None:
        released = verdict.outcome is Outcome.RELEASED
        log.log(
            logging.INFO if released else logging.WARNING,
            line(
                "decision",
                outcome=verdict.outcome.value,
                code=str(verdict.code),
                request_id=ask.request_id,
                peer=ask.peer,
                asked_for=ask.server_name,
                asked_secret=verdict.name,
                evidence=judgement.evidence_sha256,
                rule=verdict.rule,
                exceptions=", ".join(verdict.exceptions) or None,
                secret=verdict.grant.secret if verdict.grant else None,
                reason=None if released else verdict.explanation[0],
                record=receipt.index,
                leaf_hash=receipt.leaf_hash,
                trust_root="SIMULATED" if self._verifier.basis.simulated else None,
            ),
        )

    async def _run(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function)


def _is_quick(names: tuple[str | None, ...], snapshot: Snapshot) -> bool:
    """Whether to judge `names` costs less than to hand it to a thread, however they come out."""
    return len(names) * sum(len(rule.identities) for rule in snapshot.policy.rules) <= FEW
