"""The claims of evidence that was verified: step 8 of `sealserve.verifier.dcap`.

Nothing is judged here; fields are copied from where they were verified. What a TD report of TDX 1.5
extended says about the TD's instance is verified with it and not among the claims: `sealserve
evidence show` shows it.
"""

from __future__ import annotations

from datetime import datetime

from sealserve.evidence.quote import Body
from sealserve.evidence.report import SgxReport
from sealserve.verifier.claims import Claims, DcapStanding, SgxEnclave, Target, TrustDomain
from sealserve.verifier.collateral import VerifiedCollateral
from sealserve.verifier.evaluation import Evaluation
from sealserve.verifier.evidence import Evidence


def conclude(
    evidence: Evidence, collateral: VerifiedCollateral, evaluation: Evaluation, now: datetime
) -> Claims:
    """The claims, of evidence and collateral that passed every check."""
    return Claims(
        _target(evidence.quote.body),
        _standing(evidence, collateral, evaluation),
        verified_at=now,
    )


def _target(body: Body) -> Target:
    if isinstance(body, SgxReport):
        return SgxEnclave(
            mr_enclave=body.mr_enclave,
            mr_signer=body.mr_signer,
            isv_prod_id=body.isv_prod_id,
            isv_svn=body.isv_svn,
            debug=body.debug,
            report_data=body.report_data,
            attributes=body.attributes,
            misc_select=body.misc_select,
            config_id=body.config_id,
            config_svn=body.config_svn,
            isv_ext_prod_id=body.isv_ext_prod_id,
            isv_family_id=body.isv_family_id,
        )
    return TrustDomain(
        mr_td=body.mr_td,
        rtmrs=body.rtmrs,
        mr_config_id=body.mr_config_id,
        mr_owner=body.mr_owner,
        mr_owner_config=body.mr_owner_config,
        td_attributes=body.td_attributes,
        xfam=body.xfam,
        mr_seam=body.mr_seam,
        mr_signer_seam=body.mr_signer_seam,
        seam_attributes=body.seam_attributes,
        tee_tcb_svn=body.tee_tcb_svn,
        tee_tcb_svn_2=body.tee_tcb_svn_2,
        mr_service_td=body.mr_service_td,
        report_data=body.report_data,
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
