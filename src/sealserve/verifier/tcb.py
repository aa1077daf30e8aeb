"""TCB levels: which one a platform and its quoting enclave reach, and what both mean together.

Source: Intel SGX and TDX Provisioning Certification Service API, version 4, "Get SGX TCB Info",
the algorithm under "TCB Level"; "Get SGX QE Identity", the same.
"""

from __future__ import annotations

from sealserve.endorsements.pck import PckExtensions
from sealserve.endorsements.qe_identity import QeIdentity, QeLevel
from sealserve.endorsements.tcb_info import TcbInfo, TcbLevel
from sealserve.endorsements.tcb_status import TcbStatus
from sealserve.verifier.codes import Code, rejection

# What a platform's status becomes beside an outdated quoting enclave; others stay as they are.
_BESIDE_OUT_OF_DATE_QE = {
    TcbStatus.UP_TO_DATE: TcbStatus.OUT_OF_DATE,
    TcbStatus.SW_HARDENING_NEEDED: TcbStatus.OUT_OF_DATE,
    TcbStatus.CONFIGURATION_NEEDED: TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED,
    TcbStatus.CONFIGURATION_AND_SW_HARDENING_NEEDED: TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED,
}


def platform_level(info: TcbInfo, platform: PckExtensions) -> TcbLevel:
    """The first level whose component SVNs and PCESVN the platform reaches, every one of them."""
    for level in info.levels:
        if platform.pce_svn >= level.pce_svn and all(
            found >= needed
            for found, needed in zip(platform.component_svns, level.component_svns, strict=True)
        ):
            return level
    raise rejection(
        Code.TCB_NOT_SUPPORTED,
        "the platform reaches none of the TCB levels of its TCB info: "
        f"components {platform.component_svns.hex()}, PCESVN {platform.pce_svn}",
        hint="the platform is older than anything Intel still speaks about: update it",
    )


def qe_level(identity: QeIdentity, isv_svn: int) -> QeLevel:
    """The first level whose ISVSVN the quoting enclave reaches."""
    for level in identity.levels:
        if isv_svn >= level.isv_svn:
            return level
    raise rejection(
        Code.QE_TCB_NOT_SUPPORTED,
        f"the quoting enclave's ISVSVN {isv_svn} reaches none of the levels of its identity",
        hint="update the platform's SGX software (the quoting enclave)",
    )


def merge(platform: TcbStatus, qe: TcbStatus) -> TcbStatus:
    """The status of both together; Revoked in either is Revoked."""
    if TcbStatus.REVOKED in (platform, qe):
        return TcbStatus.REVOKED
    if qe is TcbStatus.OUT_OF_DATE:
        return _BESIDE_OUT_OF_DATE_QE.get(platform, platform)
    return platform
