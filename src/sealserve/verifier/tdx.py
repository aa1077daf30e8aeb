"""The TDX module, and trust domains that run on after it was updated. Step 7, for trust domains.

TEE_TCB_SVN begins with the module's minor and major version. The major version names the identity
by which the module is judged; version 0 has none, and is judged with the platform. From TDX 1.5 on
the module can be updated under running trust domains. TEE_TCB_SVN is then as it was when the TD was
built, TEE_TCB_SVN2 as it is now, and both are evaluated. Where only the first is outdated, the TD
should be launched again: an outcome of its own.

Source: Intel SGX and TDX Provisioning Certification Service API, version 4, "Get TDX TCB Info";
Intel TDX DCAP Quoting Library API, appendix A.4.2; the published rule of Intel's quote verification
library for "TD relaunch advised". Choices are in docs/verifier.md.
"""

from __future__ import annotations

from sealserve.endorsements.levels import IsvLevel
from sealserve.endorsements.tcb_info import TcbInfo
from sealserve.endorsements.tcb_status import STATED, TcbStatus
from sealserve.endorsements.tdx_module import TdxModuleIdentity
from sealserve.evidence.td_report import TdReport
from sealserve.verifier import tcb
from sealserve.verifier.bits import masked
from sealserve.verifier.codes import Code, rejection

_OUTDATED = (TcbStatus.OUT_OF_DATE, TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED)
_CONFIGURATION_NEEDED = (
    TcbStatus.CONFIGURATION_NEEDED,
    TcbStatus.CONFIGURATION_AND_SW_HARDENING_NEEDED,
    TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED,
)


def check_module(info: TcbInfo, report: TdReport) -> None:
    """Reject a TDX module that is not what TCB info says of its version."""
    identity = _identity(info, report.tee_tcb_svn)
    expected = info.tdx_module if identity is None else identity.module
    if expected is None:
        raise rejection(Code.TDX_MODULE_MISMATCH, "TCB info describes no TDX module")
    attributes = masked(report.seam_attributes, expected.attributes_mask)
    for what, found, needed in (
        ("MRSIGNERSEAM", report.mr_signer_seam, expected.mr_signer),
        ("SEAMATTRIBUTES under their mask", attributes, expected.attributes),
    ):
        if found != needed:
            raise rejection(
                Code.TDX_MODULE_MISMATCH,
                f"the TDX module's {what} is {found.hex()}, TCB info says {needed.hex()}",
            )


def module_level(info: TcbInfo, tee_tcb_svn: bytes) -> IsvLevel | None:
    """The first level of its identity that the module reaches; None for version 0."""
    identity = _identity(info, tee_tcb_svn)
    if identity is None:
        return None
    level = tcb.first_reached(identity.levels, tee_tcb_svn[0])
    if level is None:
        raise rejection(
            Code.TDX_MODULE_MISMATCH,
            f"the TDX module {_name(tee_tcb_svn)} with ISVSVN {tee_tcb_svn[0]} reaches none of the "
            "levels of its identity",
            hint="update the platform's TDX module",
        )
    return level


def advise(launched: TcbStatus, current: TcbStatus) -> TcbStatus:
    """The status of a TD, from the merged one at its launch and the merged one of today.

    A relaunch is advised when the TD was launched on an outdated module and runs on one that is
    not. Else the worse of the two counts, in the order of `STATED`; where that is today's, no
    update has brought it about.
    """
    if launched not in _OUTDATED or current in (*_OUTDATED, TcbStatus.REVOKED):
        return max(launched, current, key=STATED.index)
    if launched in _CONFIGURATION_NEEDED or current in _CONFIGURATION_NEEDED:
        return TcbStatus.TD_RELAUNCH_ADVISED_CONFIGURATION_NEEDED
    return TcbStatus.TD_RELAUNCH_ADVISED


def _identity(info: TcbInfo, tee_tcb_svn: bytes) -> TdxModuleIdentity | None:
    version = tee_tcb_svn[1]
    if version == 0:
        return None
    for identity in info.tdx_module_identities:
        if identity.version == version:
            return identity
    raise rejection(
        Code.TDX_MODULE_MISMATCH,
        f"TCB info has no identity {_name(tee_tcb_svn)} for this version of the TDX module",
        hint="fetch fresh collateral: the module may be newer than the TCB info",
    )


def _name(tee_tcb_svn: bytes) -> str:
    return f"TDX_{tee_tcb_svn[1]:02X}"
