"""What operators are shown: enough to see why an enclave was refused, and no more.

They run the machines and are trusted with nothing: who the people are that changed a secret, what a
model record says and what tells platforms apart (the PPID is personal to a machine) is left out.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Final

from sealserve.keyservice.store.secrets import SecretFacts

_OF_A_PLATFORM: Final = ("ppid", "platform_instance_id", "fmspc", "pce_id", "cpu_svn")
_LONG_ENOUGH: Final = 8  # hex digits that mean one thing wherever they stand
_LEFT_OUT: Final = "(left out)"


def secret_for_operators(facts: SecretFacts) -> SecretFacts:
    """Name and state, without a record and without people."""
    return replace(facts, created_by="", changed_by="", model=None, record=None)


def record_for_operators(data: bytes) -> bytes:
    """A record (JSON) without what tells platforms apart; no longer a leaf of the log."""
    record: dict[str, Any] = json.loads(data)
    claims = record.get("claims")
    known = [claims.pop(name, None) for name in _OF_A_PLATFORM] if isinstance(claims, dict) else []
    text = json.dumps(record, separators=(",", ":"))
    for value in known:
        if isinstance(value, str) and len(value) >= _LONG_ENOUGH:  # also in explanations
            text = text.replace(value, _LEFT_OUT)
    return text.encode("ascii")
