"""What a report body says of the target that it is about, as claims. Nothing is verified here.

What a TD report of TDX 1.5 extended says about the TD's instance is not among the claims:
`sealserve evidence show` shows it.
"""

from __future__ import annotations

from sealserve.evidence.quote import Body
from sealserve.evidence.report import SgxReport
from sealserve.verifier.claims import SgxEnclave, Target, TrustDomain


def target_of(body: Body) -> Target:
    """The target of a report body that was verified to be genuine."""
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
