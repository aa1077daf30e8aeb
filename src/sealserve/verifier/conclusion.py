"""The claims of evidence that was verified: step 8 of `sealserve.verifier.dcap`.

Nothing is judged here; fields are copied from where they were verified.
"""

from __future__ import annotations

from datetime import datetime

from sealserve.verifier.claims import Claims, DcapStanding
from sealserve.verifier.collateral import VerifiedCollateral
from sealserve.verifier.evaluation import Evaluation
from sealserve.verifier.evidence import Evidence
from sealserve.verifier.target import target_of


def conclude(
    evidence: Evidence, collateral: VerifiedCollateral, evaluation: Evaluation, now: datetime
) -> Claims:
    """The claims, of evidence and collateral that passed every check."""
    return Claims(
        target_of(evidence.quote.body),
        _standing(evidence, collateral, evaluation),
        verified_at=now,
    )


def _standing(
    evidence: Evidence, collateral: VerifiedCollateral, evaluation: Evaluation
) -> DcapStanding:
    pck, module = evidence.pck_extensions, evaluation.module
    configuration = pck.configuration
    return DcapStanding(
        quote_version=evidence.quote.version,
        fmspc=pck.fmspc,
        pce_id=pck.pce_id,
        ppid=pck.ppid,
        platform_instance_id=pck.platform_instance_id,
        dynamic_platform=configuration.dynamic_platform if configuration else None,
        cached_keys=configuration.cached_keys if configuration else None,
        smt_enabled=configuration.smt_enabled if configuration else None,
        cpu_svn=pck.cpu_svn,
        pce_svn=pck.pce_svn,
        tcb_status=evaluation.status,
        platform_tcb_status=evaluation.platform.status,
        qe_tcb_status=evaluation.qe.status,
        tdx_module_tcb_status=module.status if module else None,
        advisory_ids=evaluation.advisory_ids,
        tcb_date=evaluation.platform.date,
        tcb_evaluation_data_number=min(
            collateral.tcb_info.evaluation_data_number,
            collateral.qe_identity.evaluation_data_number,
        ),
        revocation_checked=collateral.revocation is not None,
        collateral_valid_from=collateral.valid_from,
        collateral_valid_until=collateral.valid_until,
        trust_root_sha256=collateral.root.sha256,
        simulated=collateral.root.simulated,
    )
