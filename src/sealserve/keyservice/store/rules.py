"""What decides: the policy and the revocations in force, one row for each of their states.

Rows are never changed; of those that are no longer in force the newest are kept. A row's MAC covers
its number, and the log's signed checkpoint names the number in force: nobody without the keys can
write a row of his own, or bring back an older one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, delete, insert, select

from sealserve.appraisal.revocations import NOTHING_REVOKED, Revocations
from sealserve.errors import AuditError, ConfigError
from sealserve.keyservice.datakey import DataKey
from sealserve.keyservice.store.log import Head
from sealserve.keyservice.store.schema import RULES

KEPT: Final = 20  # rows


@dataclass(frozen=True)
class Rules:
    """The policy's text and what is revoked; `policy` is None until the first is applied."""

    policy: str | None = None
    revoked: Revocations = NOTHING_REVOKED
    revoked_secrets: frozenset[str] = frozenset()
    """`NAME` for all versions of a secret, `NAME@VERSION` for one."""
    applied_at: datetime | None = None
    """When the policy was put in force, and by whom."""
    applied_by: str | None = None

    def with_policy(self, text: str, *, now: datetime, by: str) -> Rules:
        """The same revocations under another policy."""
        return replace(self, policy=text, applied_at=now, applied_by=by)


def read_rules(connection: Connection, head: Head, key: DataKey) -> Rules:
    """The rules that belong to `head`; raises an IntegrityError unless they are authentic."""
    wanted = select(RULES.c.document, RULES.c.mac).where(RULES.c.number == head.rules)
    row = connection.execute(wanted).one_or_none()
    if row is None:
        raise AuditError(
            f"the database lacks the rules {head.rules} that its log names",
            hint="somebody removed them: restore a backup",
        )
    document = bytes(row.document)
    key.check_mac(document, _context(head.rules), bytes(row.mac))
    return _decode(document)


def write_rules(connection: Connection, rules: Rules, number: int, key: DataKey) -> None:
    """Add the row `number`; it is in force once the log's head names it.

    A row holds all revocations, so that all rows together would grow with their square.
    """
    document = _encode(rules)
    mac = key.mac(document, _context(number))
    connection.execute(insert(RULES).values(number=number, document=document, mac=mac))
    connection.execute(delete(RULES).where(RULES.c.number <= number - KEPT))


def _context(number: int) -> bytes:
    return f"rules {number}".encode("ascii")


def _encode(rules: Rules) -> bytes:
    document = {
        "policy": rules.policy,
        "revoked": rules.revoked.as_dict(),
        "revoked_secrets": sorted(rules.revoked_secrets),
        "applied_at": rules.applied_at.isoformat() if rules.applied_at else None,
        "applied_by": rules.applied_by,
    }
    return json.dumps(document, separators=(",", ":")).encode("ascii")


def _decode(document: bytes) -> Rules:
    """Of a document that is authentic: what is wrong with it is a fault of ours."""
    try:
        fields: dict[str, Any] = json.loads(document)
        applied_at = fields["applied_at"]
        return Rules(
            fields["policy"],
            Revocations.from_dict(fields["revoked"]),
            frozenset(fields["revoked_secrets"]),
            datetime.fromisoformat(applied_at) if applied_at else None,
            fields["applied_by"],
        )
    except (KeyError, ValueError, TypeError) as error:
        raise ConfigError(
            "the rules in the database are of another version", code="database-revision"
        ) from error
