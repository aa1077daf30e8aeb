"""TCB levels: which ones a platform and its software reach, and what they mean together. Step 7.

A platform's level is the first, in the order given, whose component SVNs and PCESVN are all
reached, and for a trust domain the SVNs of the TDX module too. Reaching none is an outcome of its
own. Beside the platform stand the quoting enclave and, for trust domains, the TDX module (`tdx`),
each with a level of its own by its one version.

Source: Intel SGX and TDX Provisioning Certification Service API, version 4, "Get SGX TCB Info",
"Get TDX TCB Info" and "Get SGX QE Identity", the algorithms for evaluating a TCB status.
"""

from __future__ import annotations

from functools import lru_cache
from operator import ge

from sealserve.endorsements.levels import IsvLevel
from sealserve.endorsements.pck import PckExtensions
from sealserve.endorsements.qe_identity import QeIdentity
from sealserve.endorsements.tcb_info import TcbInfo, TcbLevel
from sealserve.endorsements.tcb_status import TcbStatus
from sealserve.verifier.codes import Code, rejection

# What a platform's status becomes beside outdated software; others stay as they are.
_BESIDE_OUT_OF_DATE = {
    TcbStatus.UP_TO_DATE: TcbStatus.OUT_OF_DATE,
    TcbStatus.SW_HARDENING_NEEDED: TcbStatus.OUT_OF_DATE,
    TcbStatus.CONFIGURATION_NEEDED: TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED,
    TcbStatus.CONFIGURATION_AND_SW_HARDENING_NEEDED: TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED,
}
LEVELS_REMEMBERED = 64
# Where TEE_TCB_SVN begins to count: the first two are the module's version, and from version 1 on
# the module has an identity that judges them.
_SVNS_OF_MODULE = 2


def platform_level(
    info: TcbInfo, platform: PckExtensions, tee_tcb_svn: bytes | None = None
) -> TcbLevel:
    """The first level that the platform reaches in everything.

    `tee_tcb_svn` is a trust domain's, 16 bytes; None for SGX.
    """
    level = _first_level(info, platform.component_svns, platform.pce_svn, tee_tcb_svn)
    if level is not None:
        return level
    of_module = "" if tee_tcb_svn is None else f", TEE_TCB_SVN {tee_tcb_svn.hex()}"
    raise rejection(
        Code.TCB_NOT_SUPPORTED,
        "the platform reaches none of the TCB levels of its TCB info: "
        f"components {platform.component_svns.hex()}, PCESVN {platform.pce_svn}{of_module}",
        hint="the platform is older than anything Intel still speaks about: update it",
    )


@lru_cache(maxsize=LEVELS_REMEMBERED)
def _first_level(
    info: TcbInfo, component_svns: bytes, pce_svn: int, tee_tcb_svn: bytes | None
) -> TcbLevel | None:
    """Remembered, so that a platform's next quote costs the same however many levels there are."""
    for level in info.levels:
        if (
            pce_svn >= level.pce_svn
            and _reached(component_svns, level.component_svns)
            and (tee_tcb_svn is None or _module_reached(tee_tcb_svn, level.tdx_component_svns))
        ):
            return level
    return None


def qe_level(identity: QeIdentity, isv_svn: int) -> IsvLevel:
    """The first level whose ISVSVN the quoting enclave reaches."""
    level = first_reached(identity.levels, isv_svn)
    if level is None:
        raise rejection(
            Code.QE_TCB_NOT_SUPPORTED,
            f"the quoting enclave's ISVSVN {isv_svn} reaches none of the levels of its identity",
            hint="update the platform's SGX software (the quoting enclave)",
        )
    return level


def first_reached(levels: tuple[IsvLevel, ...], isv_svn: int) -> IsvLevel | None:
    """The first of these levels that the version reaches."""
    return next((level for level in levels if isv_svn >= level.isv_svn), None)


def merge(platform: TcbStatus, *software: TcbStatus) -> TcbStatus:
    """The status of a platform with its quoting enclave and its TDX module.

    Revoked in any is Revoked.
    """
    if platform is TcbStatus.REVOKED or TcbStatus.REVOKED in software:
        return TcbStatus.REVOKED
    if TcbStatus.OUT_OF_DATE in software:
        return _BESIDE_OUT_OF_DATE.get(platform, platform)
    return platform


def _module_reached(found: bytes, needed: bytes) -> bool:
    start = _SVNS_OF_MODULE if found[1] else 0
    return _reached(found[start:], needed[start:])


def _reached(found: bytes, needed: bytes) -> bool:
    """Each of the SVNs, on its own."""
    return len(found) == len(needed) and all(map(ge, found, needed))
