"""A policy is tried on the evidence on record before it is put in force.

The dry run gives a token, a MAC over the policy's text and the revision that it was tried on.
Whoever applies the policy shows it: nobody applies one untried, or one that was tried before
somebody else's change.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import Any, Final

from sqlalchemy import Connection, select

from sealserve.appraisal.policy import Policy, parse_policy
from sealserve.errors import ConfigError, FormatError, IntegrityError, UsageError
from sealserve.keyservice.administration.values import DryRun
from sealserve.keyservice.datakey import DataKey
from sealserve.keyservice.store.schema import RECORDS, SECRETS
from sealserve.keyservice.store.snapshot import Snapshot
from sealserve.policies.replay import KIND, Effect, replay
from sealserve.verifier import INTEL_SGX_ROOT_CA_SHA256

DECISIONS: Final = 2000  # the newest that are judged again
JUDGED: Final = 200_000  # identities of rules, over all of them: some seconds
FEWEST: Final = 50
SHOWN: Final = 20  # of those that change
_TOKEN: Final = b"dry run"


def parse(text: str, trust_root_sha256: str | None) -> Policy:
    """The policy; raises ConfigError, also for one of another trust root than the service's."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ConfigError("the policy is not Unicode: it holds half of a surrogate pair") from None
    policy = parse_policy(text)
    named = (policy.trust_root or INTEL_SGX_ROOT_CA_SHA256).hex()
    if trust_root_sha256 is not None and named != trust_root_sha256:
        raise ConfigError(
            f"the policy is for the trust root {named}, and the service verifies under"
            f" {trust_root_sha256}",
            hint=f'write trust_root = "{trust_root_sha256}" in the policy, if that root is meant',
        )
    return policy


def run(
    connection: Connection, key: DataKey, snapshot: Snapshot, policy: Policy, text: str
) -> DryRun:
    """Judge the newest decisions on record by `policy`."""
    counts: Counter[str] = Counter({effect.value: 0 for effect in Effect})
    changed: list[str] = []
    wanted = (
        select(RECORDS.c.index, RECORDS.c.record)
        .where(RECORDS.c.kind == KIND, RECORDS.c.index < snapshot.head.size)
        .order_by(RECORDS.c.index.desc())
        .limit(_decisions(policy))
    )
    rows = connection.execute(wanted)
    records = ((index, _decoded(bytes(data))) for index, data in rows)
    for found in replay(records, policy, at=None, revoked=snapshot.rules.revoked):
        counts[found.effect.value] += 1
        unchanged = found.effect in (Effect.SAME, Effect.NOT_DECIDABLE)
        if not unchanged and len(changed) < SHOWN:
            reasons = "; ".join(found.reasons)[:300]
            changed.append(f"record {found.index}: {found.effect.value}: {reasons}")
    names = set(connection.execute(select(SECRETS.c.name).distinct()).scalars())
    granted = {rule.secret for rule in policy.rules if rule.secret is not None}
    return DryRun(
        policy_sha256=hashlib.sha256(text.encode("utf-8")).hexdigest(),
        revision=snapshot.head.revision,
        counts=dict(counts),
        changed=tuple(changed),
        missing_secrets=tuple(sorted(granted - names)),
        token=key.mac(text.encode("utf-8"), _context(snapshot)).hex(),
    )


def _decisions(policy: Policy) -> int:
    """How many decisions are judged again; fewer by a policy of many rules."""
    identities = sum(len(rule.identities) for rule in policy.rules)
    return max(FEWEST, min(DECISIONS, JUDGED // max(identities, 1)))


def check_token(key: DataKey, snapshot: Snapshot, text: str, token: str) -> None:
    """Raise UsageError (`dry-run-outdated`) unless `token` is of this policy on this revision."""
    try:
        key.check_mac(text.encode("utf-8"), _context(snapshot), bytes.fromhex(token))
    except (IntegrityError, FormatError, ValueError):
        raise UsageError(
            "the policy was not tried on what is in force now",
            code="dry-run-outdated",
            hint="somebody changed something since: try it again, and look at what it says",
        ) from None


def _decoded(data: bytes) -> dict[str, Any]:
    """A decision; one that somebody made unreadable is one of which nothing is known."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    return {"kind": KIND, **(found if isinstance(found, dict) else {})}


def _context(snapshot: Snapshot) -> bytes:
    return _TOKEN + f" {snapshot.head.revision}".encode("ascii")
