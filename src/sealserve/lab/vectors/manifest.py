"""The manifest of a published vector: what was changed, and what must come out, as JSON.

It is written for others and read back by `replaying`; docs/conformance-vectors.md describes it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sealserve.errors import FormatError
from sealserve.evidence.quote import VERSIONS
from sealserve.lab.vectors.case import Accepted, Case, Expected, Rejected
from sealserve.verifier import Code, TcbStatus

FORMAT = 1
SIMULATED = "SIMULATED: made by `sealserve lab`, vouched for by no hardware"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a reader needs of it."""

    id: str
    at: datetime
    expected: Expected


def manifest_of(case: Case, *, has_one_file: bool) -> dict[str, Any]:
    """The manifest of `case`; `has_one_file` is whether its collateral is in one file, too."""
    tee, _, rest = case.form.partition("-v")
    return {
        "format": FORMAT,
        "id": case.id,
        "warning": SIMULATED,
        "group": case.group,
        "change": case.change,
        "tee": tee.upper(),
        "quote_version": next(number for number in VERSIONS if rest.startswith(str(number))),
        "eval_time": int(case.evidence.at.timestamp()),
        "eval_time_iso": case.evidence.at.isoformat(),
        "trust_root": "trust_root.pem",
        "one_file": "collateral.json" if has_one_file else None,
        "expected": _expected_json(case.expected),
        "latitude": case.latitude,
    }


def parse_manifest(data: bytes) -> Manifest:
    """What `manifest_of` said; raises FormatError."""
    try:
        members = json.loads(data)
        if members["format"] != FORMAT:
            raise FormatError(f"manifest: format {members['format']!r}, expected {FORMAT}")
        return Manifest(
            id=str(members["id"]),
            at=datetime.fromtimestamp(int(members["eval_time"]), UTC),
            expected=_parse_expected(members["expected"]),
        )
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
        raise FormatError(f"not the manifest of a vector: {error!r}") from error


def _expected_json(expected: Expected) -> dict[str, Any]:
    if isinstance(expected, Rejected):
        code: Code = expected.code
        return {"verdict": "reject", "code": code.value, "step": code.step}
    return {
        "verdict": "accept",
        "tcb_status": expected.tcb_status.value,
        "advisory_ids": list(expected.advisory_ids),
        "debug": expected.debug,
    }


def _parse_expected(members: Mapping[str, Any]) -> Expected:
    if members["verdict"] == "reject":
        return Rejected(Code[members["code"]])
    if members["verdict"] != "accept":
        raise FormatError(f"manifest: the verdict is {members['verdict']!r}")
    status = TcbStatus(members["tcb_status"])
    return Accepted(status, tuple(map(str, members["advisory_ids"])), bool(members["debug"]))
