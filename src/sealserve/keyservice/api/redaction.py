"""What operators are shown: enough to see why an enclave was refused, and no more.

They run the machines and are trusted with nothing: who the people are that changed a secret, what a
model record says and what tells machines apart (as the PPID does) is left out.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any, Final

from sealserve.keyservice.store.secrets import SecretFacts

_OF_A_PLATFORM: Final = ("ppid", "platform_instance_id")
_SUCH_AN_ID: Final = re.compile(
    r"\b[0-9a-f]{32}\b", re.IGNORECASE
)  # 16 bytes; measurements have more
_LEFT_OUT: Final = "(left out)"


def secret_for_operators(facts: SecretFacts) -> SecretFacts:
    """Name and state, without a record and without people."""
    return replace(facts, created_by="", changed_by="", model=None, record=None)


def record_for_operators(data: bytes) -> bytes:
    """A record (JSON) without what tells platforms apart; no longer a leaf of the log."""
    record: dict[str, Any] = json.loads(data)
    claims, reasons = record.get("claims"), record.get("explanation")
    if isinstance(claims, dict):
        record["claims"] = {name: claims[name] for name in claims if name not in _OF_A_PLATFORM}
    if isinstance(reasons, list):  # they quote this platform's id, and those that the policy names
        record["explanation"] = [_SUCH_AN_ID.sub(_LEFT_OUT, str(reason)) for reason in reasons]
    return json.dumps(record, separators=(",", ":")).encode("ascii")
