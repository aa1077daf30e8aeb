"""The TCB of one piece of evidence: the levels that contributed, and their status. Step 7.

For an SGX enclave these are the platform's level and the quoting enclave's. For a trust domain the
TDX module's joins them, and from TDX 1.5 on all is evaluated twice: for the module that the TD was
launched on, and for the one that it runs on now.
"""

from __future__ import annotations

from dataclasses import dataclass

from sealserve.endorsements.levels import IsvLevel
from sealserve.endorsements.pck import PckExtensions
from sealserve.endorsements.tcb_info import TcbInfo, TcbLevel
from sealserve.endorsements.tcb_status import TcbStatus
from sealserve.evidence.td_report import TdReport
from sealserve.verifier import tcb, tdx
from sealserve.verifier.evidence import Evidence


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A merged status, and what it was merged from; a TD's levels are those of its launch."""

    status: TcbStatus
    platform: TcbLevel
    qe: IsvLevel
    module: IsvLevel | None
    """None for SGX, and for a TDX module that has no identity of its own."""
    advisory_ids: tuple[str, ...]
    """Of every level that contributed, sorted."""


def evaluate(evidence: Evidence, info: TcbInfo, qe: IsvLevel) -> Evaluation:
    """The evaluation, given the level of the quoting enclave.

    Raises VerificationError where a level is not reached, or the TDX module is another.
    """
    body, pck = evidence.quote.body, evidence.pck_extensions
    if not isinstance(body, TdReport):
        return evaluate_versions(info, pck, qe)
    tdx.check_module(info, body)
    return evaluate_versions(info, pck, qe, body.tee_tcb_svn, body.tee_tcb_svn_2)


def evaluate_versions(
    info: TcbInfo,
    pck: PckExtensions,
    qe: IsvLevel,
    tee_tcb_svn: bytes | None = None,
    tee_tcb_svn_2: bytes | None = None,
) -> Evaluation:
    """The same by versions alone, for whoever asks what they will be worth.

    `tee_tcb_svn` (16 bytes) is a TD's at its launch, None for SGX; `tee_tcb_svn_2` is today's.
    """
    if tee_tcb_svn is None:
        return _evaluate_enclave(info, pck, qe)
    launched = _evaluate_td(info, pck, qe, tee_tcb_svn)
    if tee_tcb_svn_2 is None or tee_tcb_svn_2 == tee_tcb_svn:
        return launched
    current = _evaluate_td(info, pck, qe, tee_tcb_svn_2)
    return Evaluation(
        tdx.advise(launched.status, current.status),
        launched.platform,
        qe,
        launched.module,
        tuple(sorted({*launched.advisory_ids, *current.advisory_ids})),
    )


def _evaluate_enclave(info: TcbInfo, pck: PckExtensions, qe: IsvLevel) -> Evaluation:
    platform = tcb.platform_level(info, pck)
    status = tcb.merge(platform.status, qe.status)
    advisory_ids = tuple(sorted({*platform.advisory_ids, *qe.advisory_ids}))
    return Evaluation(status, platform, qe, None, advisory_ids)


def _evaluate_td(info: TcbInfo, pck: PckExtensions, qe: IsvLevel, tee_tcb_svn: bytes) -> Evaluation:
    platform = tcb.platform_level(info, pck, tee_tcb_svn)
    module = tdx.module_level(info, tee_tcb_svn)
    software = (qe,) if module is None else (qe, module)
    status = tcb.merge(platform.status, *(level.status for level in software))
    advisory_ids = {
        identifier for level in (platform, *software) for identifier in level.advisory_ids
    }
    return Evaluation(status, platform, qe, module, tuple(sorted(advisory_ids)))
