"""Reading attestation results that `sealserve.appraisal.ear` issued: what a relying party does.

    1. The token is one of ours, small, of the EAR type, and signed by ES256.
    2. The key that the caller trusts signed it.
    3. Its claims are those of the profile, and of ours; claims that we do not know are ignored, as
       the profile demands, except within our own.
    4. It is in force now, and young enough; it has the nonce and the policy that were asked for.
    5. Its status is what it sums up.

The first check that fails ends it with a VerificationError, whose code (`ResultCode`) is the
check's own. A result that passes is authentic; whether its status is good enough, the caller says,
and `check_executables` whether anybody looked at what runs, on which the status does not depend.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final, Literal

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from pydantic import ValidationError

from sealserve import jws
from sealserve.appraisal.ear import DEFAULT_POLICY, policy_id, thumbprint
from sealserve.appraisal.ear_model import EAR_PROFILE, MEDIA_TYPE, Appraisal, Ear, OurClaim
from sealserve.appraisal.trustworthiness import VECTOR, Tier, tier_of, worst
from sealserve.errors import DeniedError, FormatError, VerificationError

RESULT_LIMIT: Final = 64 << 10  # characters
CLOCK_DIFFERENCE: Final = timedelta(seconds=60)
"""How far the issuer's clock may be ahead of ours."""


class ResultCode(StrEnum):
    """Why a result was rejected or, by the last two, is not relied on."""

    FORMAT = "RESULT_FORMAT"
    ALGORITHM = "RESULT_ALGORITHM"
    KEY = "RESULT_KEY"
    SIGNATURE = "RESULT_SIGNATURE"
    PROFILE = "RESULT_PROFILE"
    NOT_YET_VALID = "RESULT_NOT_YET_VALID"
    EXPIRED = "RESULT_EXPIRED"
    TOO_OLD = "RESULT_TOO_OLD"
    NONCE = "RESULT_NONCE"
    POLICY = "RESULT_POLICY"
    STATUS = "RESULT_STATUS"
    DEFAULT_POLICY = "RESULT_DEFAULT_POLICY"
    EXECUTABLES = "RESULT_EXECUTABLES"


@dataclass(frozen=True, slots=True)
class VerifiedResult:
    """A result whose issuer, time and form were checked."""

    status: Tier
    vector: Mapping[str, int]
    tee: Literal["SGX", "TDX"]
    policy: str
    """`sha256:` and the digest of the policy's file, or the default appraisal's name."""
    issued_at: datetime
    expires_at: datetime
    issuer: str
    """The thumbprint of the key that signed."""
    build: str
    nonce: str | None
    ours: OurClaim

    @property
    def simulated(self) -> bool:
        """No hardware vouches for any of it."""
        return self.ours.claims.get("simulated") is not False


def verify_result(
    token: str,
    *,
    public_key: EllipticCurvePublicKey,
    now: datetime,
    max_age: timedelta | None = None,
    nonce: str | None = None,
    policy_sha256: str | None = None,
) -> VerifiedResult:
    """The result in `token`, issued by the owner of `public_key` (P-256).

    It must be no older than `max_age`, and have `nonce` and the policy, where these are given.
    Raises VerificationError.
    """
    _check_header(token, public_key)
    ear = _read(token, public_key)
    ((tee, appraisal),) = ear.submods.items()
    found = VerifiedResult(
        status=appraisal.ear_status,
        vector=appraisal.ear_trustworthiness_vector,
        tee=tee,
        policy=appraisal.ear_appraisal_policy_ids[0],
        issued_at=datetime.fromtimestamp(ear.iat, UTC),
        expires_at=datetime.fromtimestamp(ear.exp, UTC),
        issuer=thumbprint(public_key),
        build=f"{ear.ear_verifier_id.developer}, {ear.ear_verifier_id.build}",
        nonce=ear.eat_nonce,
        ours=appraisal.ours,
    )
    _check_times(found, now, max_age)
    _check_expected(found, nonce, policy_sha256)
    _check_status(ear, appraisal)
    return found


def check_executables(
    found: VerifiedResult, *, allow_default_policy: bool = False, policy_is_known: bool = False
) -> None:
    """Whether the appraisal was about this executable, and not only about its platform.

    The default appraisal affirms any executable. A policy may leave part of a TD open; that is
    for those who know the policy: `policy_is_known` where `verify_result` was given its digest.
    Raises DeniedError.
    """
    if found.policy == DEFAULT_POLICY:
        if not allow_default_policy:
            raise DeniedError(
                "the result is by the default policy, which any executable passes",
                code=ResultCode.DEFAULT_POLICY,
                hint="ask the verifier for a result by a policy that names the executable",
            )
    elif tier_of(found.vector.get("executables", 0)) is Tier.NONE and not policy_is_known:
        raise DeniedError(
            f"the result says nothing of what runs: its policy {found.policy} leaves it open",
            code=ResultCode.EXECUTABLES,
            hint="read that policy and, if what it leaves open will do, name its file",
        )


def _check_header(token: str, key: EllipticCurvePublicKey) -> None:
    if not isinstance(key.curve, SECP256R1):
        raise _rejection(ResultCode.KEY, f"results are signed by P-256 keys, not {key.curve.name}")
    try:
        header = jws.read_header(token, limit=RESULT_LIMIT)
    except FormatError as error:
        raise _rejection(ResultCode.FORMAT, error.message) from None
    if header.get("alg") != "ES256":
        raise _rejection(
            ResultCode.ALGORITHM, f"the result's alg is {header.get('alg')!r:.40}, not ES256"
        )
    if header.get("typ") != MEDIA_TYPE:
        raise _rejection(
            ResultCode.FORMAT, f"the token's typ is {header.get('typ')!r:.40}, not {MEDIA_TYPE}"
        )
    if header.get("kid") != thumbprint(key):
        raise _rejection(
            ResultCode.KEY,
            f"the result is signed by the key {header.get('kid')!r:.80}, and the key that is "
            f"trusted is {thumbprint(key)}",
            hint="is this the key of the verifier that issued the result?",
        )


def _read(token: str, key: EllipticCurvePublicKey) -> Ear:
    try:
        claims = jws.read_object(jws.verified_payload(token, key, "ES256"), "the result")
    except FormatError as error:
        raise _rejection(ResultCode.FORMAT, error.message) from None
    except VerificationError as error:
        raise _rejection(ResultCode.SIGNATURE, error.message) from None
    if claims.get("eat_profile") != EAR_PROFILE:
        raise _rejection(
            ResultCode.PROFILE,
            f"the result's profile is {claims.get('eat_profile')!r:.80}, not {EAR_PROFILE}",
        )
    try:
        return Ear.model_validate(claims)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))[:100]
        raise _rejection(ResultCode.FORMAT, f"the result's {place}: {first['msg']}"[:300]) from None


def _check_times(found: VerifiedResult, now: datetime, max_age: timedelta | None) -> None:
    if now < found.issued_at - CLOCK_DIFFERENCE:
        raise _rejection(
            ResultCode.NOT_YET_VALID,
            f"the result was issued at {found.issued_at}, and it is {now}",
            hint="look at this machine's clock",
        )
    if now >= found.expires_at:
        raise _rejection(
            ResultCode.EXPIRED,
            f"the result was good until {found.expires_at}, and it is {now}",
            hint="ask the verifier for a new one",
        )
    if max_age is not None and now > found.issued_at + max_age:
        raise _rejection(
            ResultCode.TOO_OLD,
            f"the result was issued at {found.issued_at}, more than {max_age} before {now}",
            hint="ask the verifier for a new one",
        )


def _check_expected(found: VerifiedResult, nonce: str | None, policy_sha256: str | None) -> None:
    if nonce is not None and found.nonce != nonce:
        raise _rejection(ResultCode.NONCE, "the result does not have the nonce that was asked for")
    expected = policy_id(policy_sha256)
    if policy_sha256 is not None and found.policy != expected:
        raise _rejection(
            ResultCode.POLICY,
            f"the result is by the policy {found.policy}, and asked for was {expected}",
            hint="the verifier has another policy than you, or another version of its file",
        )


def _check_status(ear: Ear, appraisal: Appraisal) -> None:
    known = {
        name: value
        for name, value in appraisal.ear_trustworthiness_vector.items()
        if name in VECTOR
    }
    least = worst(known.values()) if appraisal.ours.allowed else Tier.CONTRAINDICATED
    for stated in (ear.ear_status, appraisal.ear_status):
        if stated is not least:
            raise _rejection(
                ResultCode.STATUS,
                f"the result's status is {stated}, and what it sums up comes to {least}",
            )


def _rejection(code: ResultCode, message: str, hint: str | None = None) -> VerificationError:
    return VerificationError(message, code=code, hint=hint)
