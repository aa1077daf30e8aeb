"""Claims: what verified evidence says, and on what the verification rested.

Claims state facts. Whether an enclave with these claims may have a secret is for the policy to say
(`sealserve.appraisal`), which sees of the verifier nothing but this module. A claim set has two
halves that vary on their own: the *target* that the hardware measured (an SGX enclave or a TDX
trust domain), and the platform's *standing* as the verifier that spoke knows it (our own, by
Intel's collateral; or Microsoft Azure Attestation, by its token). Fields have Intel's names, and
docs/claims.md describes each. Terms: RFC 9334.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import ClassVar, Literal, TypeAlias

from sealserve.endorsements.tcb_status import TcbStatus

__all__ = ["AzureStanding", "Claims", "DcapStanding", "SgxEnclave", "TcbStatus", "TrustDomain"]

_TUD_DEBUG = 0x01  # bit 0 of TDATTRIBUTES: the VMM can debug the TD


@dataclass(frozen=True, slots=True, kw_only=True)
class SgxEnclave:
    """An SGX enclave, from the report body. Byte fields are as the hardware stores them."""

    tee: ClassVar[Literal["SGX"]] = "SGX"

    mr_enclave: bytes
    """32 bytes."""
    mr_signer: bytes
    """32 bytes."""
    isv_prod_id: int
    isv_svn: int
    debug: bool
    report_data: bytes
    """64 bytes that the enclave chose."""
    attributes: bytes | None
    """16 bytes: FLAGS and XFRM. None here and below: the verifier that spoke does not say."""
    misc_select: int | None
    config_id: bytes | None
    """64 bytes, zero without key separation and sharing (KSS), like the three that follow."""
    config_svn: int | None
    isv_ext_prod_id: bytes | None
    """16 bytes."""
    isv_family_id: bytes | None
    """16 bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustDomain:
    """A TDX trust domain, from the TD report body. Measurements are SHA-384, 48 bytes."""

    tee: ClassVar[Literal["TDX"]] = "TDX"

    mr_td: bytes
    """48 bytes: the TD's initial contents."""
    rtmrs: tuple[bytes, bytes, bytes, bytes]
    """48 bytes each: what was measured at run time."""
    mr_config_id: bytes
    mr_owner: bytes
    mr_owner_config: bytes
    td_attributes: bytes
    """8 bytes, little-endian bits."""
    xfam: bytes
    """8 bytes."""
    mr_seam: bytes
    """48 bytes: the TDX module."""
    mr_signer_seam: bytes
    """48 bytes, zero for Intel's module."""
    seam_attributes: bytes
    """8 bytes."""
    tee_tcb_svn: bytes
    """16 bytes: the TDX module's versions when the TD was built."""
    tee_tcb_svn_2: bytes | None
    """16 bytes, the same now; None before TD 1.5, like the one that follows."""
    mr_service_td: bytes | None
    """48 bytes: the service TDs bound to this one, zero if none."""
    report_data: bytes
    """64 bytes that the TD chose."""

    @property
    def debug(self) -> bool:
        """The host can read and change the TD."""
        return bool(self.td_attributes[0] & _TUD_DEBUG)


@dataclass(frozen=True, slots=True, kw_only=True)
class DcapStanding:
    """What Intel's certificates and collateral say of the platform."""

    verifier: ClassVar[Literal["dcap"]] = "dcap"

    quote_version: int

    # The platform, from the PCK certificate.
    fmspc: bytes
    """6 bytes: family, model, stepping, platform type, custom SKU."""
    pce_id: bytes
    """2 bytes."""
    ppid: bytes
    """16 bytes: the platform's provisioning id. It tells machines apart: handle it as personal."""
    platform_instance_id: bytes | None
    """16 bytes; None for a platform of one processor (Processor CA), as the three that follow."""
    dynamic_platform: bool | None
    cached_keys: bool | None
    smt_enabled: bool | None
    cpu_svn: bytes
    """16 bytes."""
    pce_svn: int

    # Its standing, from the collateral.
    tcb_status: TcbStatus
    """Of the platform, the quoting enclave and the TDX module, merged."""
    platform_tcb_status: TcbStatus
    qe_tcb_status: TcbStatus
    tdx_module_tcb_status: TcbStatus | None
    """None for SGX, and for a module that TCB info judges with the platform."""
    advisory_ids: tuple[str, ...]
    """Intel's advisories of every level that contributed, sorted."""
    tcb_date: datetime
    """Of the platform's level: what Intel published later is not in it."""
    tcb_evaluation_data_number: int
    """The lower of the TCB info's and the QE identity's."""

    # What the verification rested on.
    revocation_checked: bool
    """False where the caller skipped it by its unsafe name: revoked keys may have signed."""
    collateral_valid_from: datetime
    collateral_valid_until: datetime
    """The earliest end of anything in the collateral; before `verified_at` only under a grace."""
    trust_root_sha256: bytes
    """SHA-256 of the trust root's certificate (DER)."""
    simulated: bool
    """The trust root is not Intel's: nothing here was measured by SGX hardware."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AzureStanding:
    """What a token of Microsoft Azure Attestation says of its maker, and of the platform little."""

    verifier: ClassVar[Literal["maa"]] = "maa"

    issuer: str
    """The instance's URL."""
    token_id: str
    policy_hash: str
    """Base64url SHA-256 of the instance's policy for this kind of TEE."""
    tcb_status: TcbStatus | None
    """What a token for a TD says of its platform; None for SGX, where tokens say nothing."""
    token_valid_from: datetime
    token_valid_until: datetime
    simulated: bool
    """The issuer is not Microsoft's."""


Target: TypeAlias = SgxEnclave | TrustDomain
Standing: TypeAlias = DcapStanding | AzureStanding


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of one piece of evidence."""

    target: Target
    standing: Standing
    verified_at: datetime

    @property
    def report_data(self) -> bytes:
        """64 bytes that the target chose."""
        return self.target.report_data

    @property
    def simulated(self) -> bool:
        """No hardware vouches for any of this."""
        return self.standing.simulated

    def as_dict(self) -> dict[str, object]:
        """The claims as one flat JSON object: bytes in hex, times as RFC 3339."""
        return {
            "verifier": self.standing.verifier,
            "tee": self.target.tee,
            **{
                field.name: _plain(getattr(self.target, field.name))
                for field in fields(self.target)
            },
            "debug": self.target.debug,
            **{
                field.name: _plain(getattr(self.standing, field.name))
                for field in fields(self.standing)
            },
            "verified_at": self.verified_at.isoformat(),
        }


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, TcbStatus):
        return value.value
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return value
