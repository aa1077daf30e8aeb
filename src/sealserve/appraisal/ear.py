"""Attestation results for others: an appraisal as a signed EAR, written and read. Pure.

An EAR is an EAT whose claims are what a verifier concluded: the appraisal's status, AR4SI's
trustworthiness vector, the policy by its digest, and in a claim of our own what we concluded that
from. It is a JWT, signed (ES256) by the key of whoever appraised, and holds for a limited time that
never goes beyond what the appraisal rested on. Every claim is described in docs/results.md.

Source: draft-ietf-rats-ear-04; draft-ietf-rats-ar4si-09; RFC 9711 (EAT); RFC 9782 (`eat+jwt`);
RFC 7638 (key thumbprints).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ec import (
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)

from sealserve import __version__, jws
from sealserve.appraisal.appraise import AttestationResult
from sealserve.appraisal.ear_model import EAR_PROFILE, MEDIA_TYPE, NONCE_PATTERN, OUR_CLAIM
from sealserve.appraisal.trustworthiness import status, vector_of
from sealserve.errors import RejectedError, UsageError
from sealserve.verifier.claims import Claims, DcapStanding

DEVELOPER: Final = "SealServe"
DEFAULT_POLICY: Final = "sealserve:default-policy"
LIFETIME: Final = timedelta(hours=1)

# They tell one machine from all others; a result goes to people who need not know.
_PLATFORM_IDS = ("ppid", "platform_instance_id")


def issue(
    result: AttestationResult,
    claims: Claims,
    *,
    policy_sha256: str | None,
    evidence_sha256: str,
    key: EllipticCurvePrivateKey,
    now: datetime,
    nonce: str | None = None,
    lifetime: timedelta = LIFETIME,
    with_platform_ids: bool = False,
) -> str:
    """The EAR of one appraisal, for `lifetime` or as long as the claims' own grounds hold.

    The digests are hex; no policy is the default appraisal. `key` is of P-256. `nonce` is whatever
    a relying party sent (12 to 88 characters of base64url), so that it knows the result is fresh.
    Raises RejectedError (`result.grounds`) when these grounds have passed, as under a grace, and
    UsageError for what is no nonce.
    """
    if nonce is not None and not re.fullmatch(NONCE_PATTERN, nonce):
        raise UsageError(
            f"{nonce!r:.100} is no nonce", hint="12 to 88 characters of base64url, without padding"
        )
    issued_at = int(now.timestamp())
    expires_at = int(min(now + lifetime, _grounds_end(claims)).timestamp())
    if expires_at <= issued_at:
        raise RejectedError(
            f"the claims rest on what was good until {_grounds_end(claims).isoformat()}, "
            f"and it is {now.isoformat()}: nobody else is told of them",
            code="result.grounds",
            hint="verify with fresh collateral; no result is issued under a grace",
        )
    token: dict[str, object] = {
        "eat_profile": EAR_PROFILE,
        "iat": issued_at,
        "exp": expires_at,
        "ear_verifier_id": {"developer": DEVELOPER, "build": f"sealserve {__version__}"},
        "ear_status": status(result, vector_of(result, claims)),
        "submods": {
            claims.target.tee: _appraisal(
                result, claims, policy_sha256, evidence_sha256, with_platform_ids
            )
        },
    }
    if nonce is not None:
        token["eat_nonce"] = nonce
    return jws.sign(token, key, typ=MEDIA_TYPE, kid=thumbprint(key.public_key()))


def thumbprint(key: EllipticCurvePublicKey) -> str:
    """The name of a P-256 key: SHA-256 of its JWK, base64url."""
    canonical = json.dumps(jwk(key), separators=(",", ":"), sort_keys=True)
    return jws.encode(hashlib.sha256(canonical.encode()).digest())


def jwk(key: EllipticCurvePublicKey) -> dict[str, str]:
    """A P-256 key as a JWK, with the members that its thumbprint covers."""
    point = key.public_numbers()
    x, y = (jws.encode(number.to_bytes(32, "big")) for number in (point.x, point.y))
    return {"kty": "EC", "crv": "P-256", "x": x, "y": y}


def policy_id(policy_sha256: str | None) -> str:
    """How a policy is named in a result, by the hex SHA-256 of its file."""
    return DEFAULT_POLICY if policy_sha256 is None else f"sha256:{policy_sha256}"


def _grounds_end(claims: Claims) -> datetime:
    standing = claims.standing
    if isinstance(standing, DcapStanding):
        return standing.collateral_valid_until
    return standing.token_valid_until


def _appraisal(
    result: AttestationResult,
    claims: Claims,
    policy_sha256: str | None,
    evidence_sha256: str,
    with_platform_ids: bool,
) -> Mapping[str, object]:
    vector = vector_of(result, claims)
    stated = claims.as_dict()
    if not with_platform_ids:
        stated = {name: value for name, value in stated.items() if name not in _PLATFORM_IDS}
    return {
        "eat_profile": OUR_CLAIM,
        "ear_status": status(result, vector),
        "ear_trustworthiness_vector": vector,
        "ear_appraisal_policy_ids": [policy_id(policy_sha256)],
        OUR_CLAIM: {
            "evidence_sha256": evidence_sha256,
            "allowed": result.allowed,
            "code": result.code,
            "rule": result.rule,
            "identity": result.identity,
            "exceptions": list(result.exceptions),
            "claims": stated,
        },
    }
