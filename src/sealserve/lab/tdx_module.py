"""The simulated TDX module: what it says of itself in every TD report of a platform.

Source: Intel TDX Module 1.5 ABI Specification, TEE_TCB_INFO: the first two bytes of TEE_TCB_SVN are
the module's minor version (its ISVSVN) and its major version, the others the platform's.
"""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha384

from sealserve.evidence.td_report import TD_ATTRIBUTE_DEBUG, TdReport
from sealserve.lab.faults import Faults
from sealserve.lab.levels import (
    TDX_MODULE_OUT_OF_DATE,
    TDX_MODULE_UP_TO_DATE,
    TDX_MODULE_VERSION,
    TcbLevel,
)

_MR_SEAM = sha384(b"SealServe Lab (SIMULATED) TDX module").digest()
_UNKNOWN_VERSION = 0x7F


def complete(report: TdReport, level: TcbLevel, faults: Faults) -> TdReport:
    """`report` with all that is not the TD's to say, on a platform that stands at `level`."""
    attributes = report.td_attributes
    if Faults.DEBUG in faults:
        attributes = bytes((attributes[0] | TD_ATTRIBUTE_DEBUG,)) + attributes[1:]
    is_old = Faults.OUTDATED_TDX_MODULE in faults
    was_old = is_old or Faults.OUTDATED_TD_LAUNCH in faults
    now = tee_tcb_svn(level, faults, outdated=is_old)
    return replace(
        report,
        tee_tcb_svn=tee_tcb_svn(level, faults, outdated=was_old),
        tee_tcb_svn_2=None if report.tee_tcb_svn_2 is None else now,
        mr_seam=_MR_SEAM,
        mr_signer_seam=(b"\x5e" if Faults.FOREIGN_TDX_MODULE in faults else b"\0") * 48,
        seam_attributes=bytes(8),
        td_attributes=attributes,
    )


def tee_tcb_svn(level: TcbLevel, faults: Faults, *, outdated: bool) -> bytes:
    """16 bytes: the module's two versions, then the platform's components."""
    module = TDX_MODULE_OUT_OF_DATE if outdated else TDX_MODULE_UP_TO_DATE
    version = _UNKNOWN_VERSION if Faults.UNKNOWN_TDX_MODULE in faults else TDX_MODULE_VERSION
    return bytes((module.isv_svn, version)) + level.tdx_component_svns[2:]
