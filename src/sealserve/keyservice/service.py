"""The decision: whether the enclave behind a certificate gets a secret, which one, and on record.

1. The evidence in the certificate (`evidence`).
2. Its claims, by the verifier that the configuration names (`verifiers`).
3. By the *verified* report data, that the quote binds the certificate's key: a genuine quote in
   somebody else's certificate ends here.
4. Appraisal by the policy: which rule, which secret.
5. The audit record, durable.
6. The secret.

Whatever goes wrong in 1 to 4 is a decision too, and on record; whatever goes wrong in 5 is an error
and no decision. Only a `Decision` holds a secret, and there is none without a receipt: no durable
record, no secret; any doubt, no secret.

Steps 1, 3, 4 and 5 run in threads; the event loop serves the other sessions meanwhile, and while a
verifier waits.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple, TypeVar

from sealserve.appraisal.appraise import AttestationResult, Grant, appraise
from sealserve.errors import BindingError, RejectedError, SealServeError
from sealserve.evidence.ratls import RatlsEvidence, check_binding, extract_evidence
from sealserve.keyservice.audit import AuditLog, Receipt
from sealserve.keyservice.protocol import Encoding
from sealserve.keyservice.rules import Rules
from sealserve.keyservice.store import Secret
from sealserve.keyservice.verifiers import Verifier
from sealserve.logline import line
from sealserve.verifier import Claims

DECIDING_THREADS = 8
EXPLANATION_LINES = 32
EXPLANATION_CHARACTERS = 400

T = TypeVar("T")
log = logging.getLogger(__name__)


class Outcome(StrEnum):
    """How a request ended."""

    RELEASED = "released"
    DENIED = "denied"  # verified, and refused by the policy
    REJECTED = "rejected"  # malformed or unverifiable
    FAILED = "failed"  # we could not tell: no collateral, say


@dataclass(frozen=True)
class Ask:
    """One request: who asks, under which name, and with which certificate (DER)."""

    session: str
    peer: str
    asked_for: str | None
    certificate: bytes = field(repr=False)


@dataclass(frozen=True)
class Verdict:
    """What steps 1 to 4 found, by which rules; it releases nothing."""

    rules: Rules = field(repr=False)
    outcome: Outcome
    code: str
    explanation: tuple[str, ...]
    evidence_sha256: str | None = None
    claims: Claims | None = None
    rule: str | None = None
    grant: Grant | None = None
    exceptions: tuple[str, ...] = ()
    """The policy's exceptions that were needed, and how far past its end collateral was used."""
    collateral_overdue: timedelta = timedelta()


class Release(NamedTuple):
    """A secret on its way out, and how it is encoded."""

    secret: Secret
    encoding: Encoding


@dataclass(frozen=True)
class Decision:
    """A verdict on record, and the secret, if it released one."""

    verdict: Verdict
    receipt: Receipt
    release: Release | None


class KeyService:
    """Decides by `rules`, which may be replaced while it runs; belongs to one event loop."""

    def __init__(
        self,
        *,
        rules: Rules,
        verifier: Verifier,
        audit: AuditLog,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.rules = rules
        self._verifier = verifier
        self._audit = audit
        self._clock = clock
        self._threads = ThreadPoolExecutor(DECIDING_THREADS, thread_name_prefix="decision")

    async def release(self, ask: Ask) -> Decision:
        """Decide on `ask` and put it on record; raises AuditError when there is no record."""
        now = self._clock()
        verdict = await self._judge(ask, now)
        receipt = await self._run(lambda: self._record(ask, verdict, now))
        self._log(ask, verdict, receipt)
        if verdict.outcome is not Outcome.RELEASED or verdict.grant is None:
            return Decision(verdict, receipt, None)
        secret = verdict.rules.secrets.get(verdict.grant.secret)
        return Decision(verdict, receipt, Release(secret, verdict.grant.encoding))

    def close(self) -> None:
        """Let the threads end what they do."""
        self._threads.shutdown()

    async def _judge(self, ask: Ask, now: datetime) -> Verdict:
        """Steps 1 to 4, by the rules that are in force when everything else is there."""
        digest = None
        try:
            evidence = await self._run(lambda: extract_evidence(ask.certificate))
            digest = hashlib.sha256(evidence.quote).hexdigest()
            grace = self.rules.policy.collateral_grace(now)
            claims = await self._verifier.claims(evidence, grace)
            verdict = await self._run(lambda: judge(ask, evidence, claims, self.rules))
        except SealServeError as error:
            rejected = isinstance(error, RejectedError)
            outcome = Outcome.REJECTED if rejected else Outcome.FAILED
            verdict = Verdict(self.rules, outcome, error.code, (error.message,))
        except Exception as error:  # a fault of ours is on record, too
            log.exception(line("decision_fault", session=ask.session, peer=ask.peer))
            reason = f"a fault of the key service: {type(error).__name__}"
            verdict = Verdict(self.rules, Outcome.FAILED, "fault", (reason,))
        return replace(verdict, evidence_sha256=digest)

    def _record(self, ask: Ask, verdict: Verdict, now: datetime) -> Receipt:
        """Step 5."""
        basis = self._verifier.basis
        return self._audit.append(
            {
                "kind": "decision",
                "time": now.isoformat(),
                "session": ask.session,
                "peer": ask.peer,
                "asked_for": ask.asked_for,
                "certificate_sha256": hashlib.sha256(ask.certificate).hexdigest(),
                "evidence_sha256": verdict.evidence_sha256,
                "claims": verdict.claims.as_dict() if verdict.claims else None,
                "verifier": basis.verifier,
                "trust_root_sha256": basis.trust_root_sha256,
                "issuer": basis.issuer,
                "simulated": basis.simulated,
                "policy_sha256": verdict.rules.policy_sha256,
                "rule": verdict.rule,
                "exceptions": verdict.exceptions,
                "collateral_overdue_seconds": verdict.collateral_overdue.total_seconds(),
                "outcome": verdict.outcome,
                "code": verdict.code,
                "explanation": [
                    text[:EXPLANATION_CHARACTERS]
                    for text in verdict.explanation[:EXPLANATION_LINES]
                ],
                "secret": verdict.grant.secret if verdict.grant else None,
            }
        )

    def _log(self, ask: Ask, verdict: Verdict, receipt: Receipt) -> None:
        log.log(
            logging.INFO if verdict.outcome is Outcome.RELEASED else logging.WARNING,
            line(
                "decision",
                outcome=verdict.outcome,
                code=verdict.code,
                session=ask.session,
                peer=ask.peer,
                asked_for=ask.asked_for,
                evidence=verdict.evidence_sha256,
                rule=verdict.rule,
                exceptions=", ".join(verdict.exceptions) or None,
                secret=verdict.grant.secret if verdict.grant else None,
                reason=None if verdict.outcome is Outcome.RELEASED else verdict.explanation[0],
                record=receipt.number,
                record_sha256=receipt.digest,
                trust_root="SIMULATED" if self._verifier.basis.simulated else None,
            ),
        )

    async def _run(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function)


def judge(ask: Ask, evidence: RatlsEvidence, claims: Claims, rules: Rules) -> Verdict:
    """Steps 3 and 4, at the time at which the claims were verified."""
    try:
        check_binding(evidence, claims.report_data)
    except BindingError as error:  # on record with its claims: whose quote was it?
        return Verdict(rules, Outcome.REJECTED, error.code, (error.message,), claims=claims)
    result = appraise(claims, rules.policy, asked_for=ask.asked_for, now=claims.verified_at)
    return Verdict(
        rules,
        Outcome.RELEASED if result.allowed else Outcome.DENIED,
        result.code,
        _explain(result),
        claims=claims,
        rule=result.rule,
        grant=result.grant,
        exceptions=result.exceptions,
        collateral_overdue=result.collateral_overdue,
    )


def _explain(result: AttestationResult) -> tuple[str, ...]:
    """The conditions of the rule that granted or came nearest, those that failed first."""
    if result.decisive is None:
        return result.explanation
    conditions = sorted(result.decisive.conditions, key=lambda condition: condition.held)
    return tuple(map(str, conditions))
