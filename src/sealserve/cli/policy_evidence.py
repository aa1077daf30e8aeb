"""What `sealserve policy explain` appraises: a quote that it verifies, or claims on record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sealserve.appraisal import Policy
from sealserve.cli.policy_files import read_text
from sealserve.cli.verification import Sources, verify_file
from sealserve.errors import ConfigError, FormatError, UsageError
from sealserve.verifier import Claims
from sealserve.verifier.recorded import claims_from_dict

CLAIMS_LIMIT = 256 << 10  # bytes


@dataclass(frozen=True, slots=True)
class Asked:
    """Where the claims come from, and under which name and at what time they are appraised."""

    quote: Path | None
    claims: Path | None
    collateral: str | None
    trust_root: Path | None
    at: datetime | None
    asked_for: str | None
    secret: str | None


@dataclass(frozen=True, slots=True)
class Evidence:
    """Claims, when they are judged, and what was asked for with them, as far as it is recorded."""

    claims: Claims
    now: datetime
    asked_for: str | None = None
    secret: str | None = None


def read_evidence(asked: Asked, policy: Policy) -> Evidence:
    """What is appraised; raises RejectedError for evidence that does not verify."""
    if (asked.quote is None) == (asked.claims is None):
        raise UsageError("give either --quote, with --collateral, or --claims")
    if asked.claims is not None:
        if asked.collateral or asked.trust_root:
            raise UsageError("--collateral and --trust-root go with --quote: claims are verified")
        return _recorded(asked.claims, asked.at)
    if asked.quote is None or asked.collateral is None:
        raise UsageError(
            "a quote is verified by its collateral: give --collateral",
            hint="a folder, one JSON file, the URL of a PCCS, or a service such as intel",
        )
    sources = Sources(asked.collateral, asked.trust_root, asked.at, skip_revocation=False)
    grace = policy.collateral_grace(sources.now)
    claims = verify_file(asked.quote, sources, grace=grace).verified()
    return Evidence(claims, claims.verified_at)


def _recorded(path: Path, at: datetime | None) -> Evidence:
    """The claims in a file: alone, or as the member `claims` of what some command wrote."""
    try:
        document = json.loads(read_text(path, limit=CLAIMS_LIMIT))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not JSON: {error}") from None
    inner = document.get("claims", document) if isinstance(document, dict) else None
    if not isinstance(inner, dict):
        raise FormatError(
            f"{path} has no claims",
            code="claims.keys",
            hint="give what `sealserve quote verify --json` printed, or a record of the audit log",
        )
    claims = claims_from_dict(inner)
    names = (_name(path, document, key) for key in ("asked_for", "asked_secret"))
    return Evidence(claims, at or claims.verified_at, *names)


def _name(path: Path, record: Mapping[str, object], key: str) -> str | None:
    name = record.get(key)
    if not isinstance(name, str | None):
        raise FormatError(f"{path}: {key} is no name", code="claims.value")
    return name
