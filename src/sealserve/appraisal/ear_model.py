"""The claims of an attestation result, as types: what `ear` writes and `ear_reading` accepts.

Nothing is converted: a number that is text, a Boolean that is a number and a date with a fraction
are errors. Every text, list and table has a limit.
Source: draft-ietf-rats-ear-04, section 3; draft-ietf-rats-ar4si-09, section 3.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from sealserve.appraisal.trustworthiness import Tier

EAR_PROFILE: Final = "tag:ietf.org,2026:rats/ear#04"
OUR_CLAIM: Final = "urn:uuid:d0b4fbe9-5088-4521-99df-da12175a51d8"
"""The name of our own claim, which nobody else's can be, and the profile that defines it."""
MEDIA_TYPE: Final = "eat+jwt"
NONCE_PATTERN: Final = r"^[A-Za-z0-9_-]{12,88}$"
_LONGEST_LIFE: Final = 31 * 86400  # seconds; collateral lives for thirty days


def _our_profile(value: str) -> str:
    if value != OUR_CLAIM:
        raise ValueError(f"is not {OUR_CLAIM}")
    return value


Number = Annotated[int, Field(ge=0, le=(1 << 32) - 1)]
Text = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{0,600}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
ClaimName = Annotated[str, Field(pattern=r"^[a-z0-9_]{1,40}$")]
Texts = Annotated[list[Text], Field(max_length=1000)]
Nonce = Annotated[str, Field(pattern=NONCE_PATTERN)]
Status = Annotated[Tier, Field(strict=False)]


class ProfileClaims(BaseModel):
    """Claims of the profile: those that we do not know are ignored."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


class VerifierId(ProfileClaims):
    """Which software appraised, and whose it is."""

    developer: Text
    build: Text


class OurClaim(BaseModel):
    """What the appraisal concluded, and from what."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    evidence_sha256: Sha256
    allowed: bool
    code: Text
    rule: Text | None
    identity: Text | None
    exceptions: Texts
    claims: Annotated[
        dict[ClaimName, bool | Number | Text | Texts | None], Field(min_length=1, max_length=64)
    ]


class Appraisal(ProfileClaims):
    """The appraisal of one attester."""

    eat_profile: Annotated[Text, AfterValidator(_our_profile)]
    ear_status: Status
    ear_trustworthiness_vector: Annotated[
        dict[Text, Annotated[int, Field(ge=-128, le=127)]], Field(max_length=32)
    ]
    ear_appraisal_policy_ids: Annotated[list[Text], Field(min_length=1, max_length=1)]
    ours: Annotated[OurClaim, Field(alias=OUR_CLAIM)]


class Ear(ProfileClaims):
    """A whole result, about one attester, by the kind of its TEE; times in seconds since 1970."""

    eat_profile: Text
    iat: Number
    exp: Number
    ear_verifier_id: VerifierId
    ear_status: Status
    eat_nonce: Nonce | None = None
    submods: Annotated[dict[Literal["SGX", "TDX"], Appraisal], Field(min_length=1, max_length=1)]

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> Self:
        if not self.iat < self.exp <= self.iat + _LONGEST_LIFE:
            raise ValueError("exp is not within a month after iat")
        return self
