"""Steps 3 and 4 of a decision, and what goes on record of it; nothing here waits for anything.

One request has one piece of evidence and may ask for several secrets: each is judged alone and has
a record of its own. What is wrong with the evidence is one record, however many were asked for: a
stranger's request costs no more than that.

A secret is looked for only where the policy grants it: the denial of another takes the same time
whether there is one or not, whether others have asked for it just now or nobody has, and costs the
database nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sealserve.appraisal.appraise import AttestationResult, Grant, appraise
from sealserve.errors import BindingError, RejectedError, SealServeError
from sealserve.evidence.ratls import RatlsEvidence, check_binding
from sealserve.keyservice.asking import Ask, Outcome
from sealserve.keyservice.store.log import Leaf
from sealserve.keyservice.store.snapshot import Found, Missing, Snapshot
from sealserve.keyservice.verifiers import Basis
from sealserve.verifier import Claims
from sealserve.verifier.claims import SgxEnclave

EXPLANATION_LINES = 32
EXPLANATION_CHARACTERS = 400
NAMES_TOLD = 4  # where one record is of all that were asked for

Look = Callable[[str], Found | Missing]


@dataclass(frozen=True)
class Verdict:
    """What was found about one secret; it releases nothing."""

    name: str | None
    """The name that was asked for, if any; the first of them where the evidence is to blame."""
    outcome: Outcome
    code: str
    explanation: tuple[str, ...]
    rule: str | None = None
    grant: Grant | None = None
    found: Found | None = field(default=None, repr=False)
    exceptions: tuple[str, ...] = ()
    """The policy's exceptions that were needed, and how far past its end collateral was used."""
    collateral_overdue: timedelta = timedelta()


@dataclass(frozen=True)
class Judgement:
    """All verdicts on one request, the revision that they rest on, and what the evidence said."""

    snapshot: Snapshot = field(repr=False)
    names: tuple[str | None, ...]
    verdicts: tuple[Verdict, ...]
    """One for each name, or one for all."""
    evidence_sha256: str | None
    claims: Claims | None

    @property
    def is_bound(self) -> bool:
        """Whether the asker is the enclave of the evidence: it verified, and binds the key."""
        return self.claims is not None and self.verdicts[0].outcome is not Outcome.REJECTED

    @property
    def denials(self) -> int:
        """How many secrets were asked for that are not released."""
        return sum(verdict.outcome is not Outcome.RELEASED for verdict in self.verdicts)

    @property
    def revision(self) -> int | None:
        """What must still be in force when it goes on record; nothing for what is rejected."""
        return self.snapshot.head.revision if self.claims else None


def measurement(claims: Claims) -> str:
    """What tells one build from another, in hex: MRENCLAVE, or MRTD and all RTMRs.

    MRTD alone is of a virtual firmware, which a cloud's customers have in common.
    """
    target = claims.target
    if isinstance(target, SgxEnclave):
        return target.mr_enclave.hex()
    return b"".join((target.mr_td, *target.rtmrs)).hex()


def names_of(ask: Ask, key_domain: str | None) -> tuple[str | None, ...]:
    """The secrets that are asked for; None stands for whatever the policy gives by itself.

    In Gramine's protocol the host name below the service's key domain is the secret's.
    """
    if ask.names is not None:
        return ask.names
    host = ask.server_name
    if host is None or key_domain is None or not host.endswith(f".{key_domain}"):
        return (None,)
    return (host.removesuffix(f".{key_domain}"),)


def judge(
    ask: Ask,
    names: tuple[str | None, ...],
    evidence: RatlsEvidence,
    claims: Claims,
    snapshot: Snapshot,
    look: Look,
) -> Judgement:
    """Steps 3 and 4, at the time at which the claims were verified.

    `look` finds a secret, one of the snapshot's methods; raises what it raises.
    """
    digest = hashlib.sha256(evidence.quote).hexdigest()
    try:
        check_binding(evidence, claims.report_data)
    except BindingError as error:  # on record with its claims: whose quote was it?
        return Judgement(snapshot, names, (_rejected(names, error),), digest, claims)
    verdicts = tuple(_verdict(ask, name, claims, snapshot, look) for name in names)
    return Judgement(snapshot, names, verdicts, digest, claims)


def undecided(
    names: tuple[str | None, ...], error: SealServeError, digest: str | None, snapshot: Snapshot
) -> Judgement:
    """What becomes of a request whose evidence does not verify, or about which nobody can tell."""
    return Judgement(snapshot, names, (_rejected(names, error),), digest, None)


def leaves(ask: Ask, judgement: Judgement, basis: Basis, now: datetime) -> list[Leaf]:
    """The records of all verdicts; raises AuditError for one that is too long."""
    return [
        Leaf.of("decision", now, dict(_facts(ask, verdict, judgement, basis)))
        for verdict in judgement.verdicts
    ]


def result(ask: Ask, judgement: Judgement, basis: Basis) -> dict[str, object] | None:
    """What the asker may know of how its evidence was found; Gramine's protocol does not say."""
    claims = judgement.claims
    if claims is None or ask.names is None:
        return None
    said = claims.as_dict()
    return {
        "simulated": claims.simulated,
        "trust_root_sha256": basis.trust_root_sha256,
        "issuer": basis.issuer,
        "tcb_status": said.get("tcb_status"),
        "advisory_ids": said.get("advisory_ids", []),
        "evidence_sha256": judgement.evidence_sha256,
        "policy_sha256": judgement.snapshot.policy_sha256,
        "verified_at": claims.verified_at.isoformat(),
    }


def _verdict(ask: Ask, name: str | None, claims: Claims, snapshot: Snapshot, look: Look) -> Verdict:
    said = appraise(
        claims,
        snapshot.policy,
        asked_for=ask.server_name,
        now=claims.verified_at,
        secret=name,
        revoked=snapshot.rules.revoked,
    )
    if said.grant is None:
        return Verdict(name, Outcome.DENIED, said.code, _explain(said), rule=said.rule)
    found = look(said.grant.secret)
    if isinstance(found, Missing):
        reason = f"the policy grants {said.grant.secret!r}, which is not to be had: {found.code}"
        return Verdict(name, Outcome.DENIED, found.code, (reason,), rule=said.rule)
    return Verdict(
        name,
        Outcome.RELEASED,
        said.code,
        _explain(said),
        rule=said.rule,
        grant=said.grant,
        found=found,
        exceptions=said.exceptions,
        collateral_overdue=said.collateral_overdue,
    )


def _rejected(names: tuple[str | None, ...], error: SealServeError) -> Verdict:
    outcome = Outcome.REJECTED if isinstance(error, RejectedError) else Outcome.FAILED
    return Verdict(_together(names), outcome, error.code, (error.message,))


def _together(names: tuple[str | None, ...]) -> str | None:
    """The first names for the one record of them all: no stranger's request makes it long."""
    told = [name for name in names if name is not None]
    more = f" and {len(told) - NAMES_TOLD} more" if len(told) > NAMES_TOLD else ""
    return " ".join(told[:NAMES_TOLD]) + more or None


def _facts(
    ask: Ask, verdict: Verdict, judgement: Judgement, basis: Basis
) -> Iterator[tuple[str, object]]:
    """One record; every field is described in docs/operations.md."""
    claims, snapshot = judgement.claims, judgement.snapshot
    yield "request_id", ask.request_id
    yield "peer", ask.peer
    yield "protocol", "gramine" if ask.names is None else "sealserve/1"
    yield "asked_for", ask.server_name
    yield "asked_secret", verdict.name
    yield "certificate_sha256", hashlib.sha256(ask.certificate).hexdigest()
    yield "evidence_sha256", judgement.evidence_sha256
    yield "claims", claims.as_dict() if claims else None
    yield "verifier", basis.verifier
    yield "trust_root_sha256", basis.trust_root_sha256
    yield "issuer", basis.issuer
    yield "simulated", basis.simulated
    yield "revision", snapshot.head.revision
    yield "policy_sha256", snapshot.policy_sha256
    yield "rule", verdict.rule
    yield "exceptions", verdict.exceptions
    yield "collateral_overdue_seconds", verdict.collateral_overdue.total_seconds()
    yield "outcome", verdict.outcome
    yield "code", verdict.code
    yield (
        "explanation",
        [text[:EXPLANATION_CHARACTERS] for text in verdict.explanation[:EXPLANATION_LINES]],
    )
    yield "secret", verdict.grant.secret if verdict.grant else None
    yield "versions", _versions(ask, verdict)


def _versions(ask: Ask, verdict: Verdict) -> list[int]:
    """Every version that leaves: in Gramine's protocol the current one alone."""
    if verdict.found is None:
        return []
    versions = verdict.found.versions if ask.names is not None else verdict.found.versions[:1]
    return [each.facts.version for each in versions]


def _explain(said: AttestationResult) -> tuple[str, ...]:
    """The conditions of the rule that granted or came nearest, those that failed first."""
    if said.decisive is None:
        return said.explanation
    conditions = sorted(said.decisive.conditions, key=lambda condition: condition.held)
    return tuple(map(str, conditions))
