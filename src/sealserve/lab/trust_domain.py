"""What a trust domain is: its measurements and attributes, as they stand in a TD report.

Source: Intel TDX Module 1.5 ABI Specification, TDREPORT_STRUCT and TD_ATTRIBUTES.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sealserve.evidence.td_report import TD_ATTRIBUTE_DEBUG, TdReport

MEASUREMENT_BYTES = 48
_ZERO = bytes(MEASUREMENT_BYTES)
_SEPT_VE_DISABLE = 1 << 28  # the host cannot make the TD's own pages fault into its handler
_XFAM = bytes.fromhex("e702060000000000")  # x87, SSE, AVX, AVX-512, PKRU, AMX


@dataclass(frozen=True, slots=True)
class TrustDomainIdentity:
    """The fields of a TD report that a policy names; measurements are SHA-384, 48 bytes."""

    mr_td: bytes
    rtmrs: tuple[bytes, bytes, bytes, bytes] = (_ZERO, _ZERO, _ZERO, _ZERO)
    mr_config_id: bytes = _ZERO
    mr_owner: bytes = _ZERO
    mr_owner_config: bytes = _ZERO
    mr_service_td: bytes = _ZERO
    debug: bool = False

    def report(self, report_data: bytes) -> TdReport:
        """The report as TDX 1.0 has it, over 64 bytes that the TD chose.

        What the TDX module says of itself is the platform's to fill in, as `World.td_quote` does.
        """
        attributes = _SEPT_VE_DISABLE | (TD_ATTRIBUTE_DEBUG if self.debug else 0)
        return TdReport(
            tee_tcb_svn=bytes(16),
            mr_seam=_ZERO,
            mr_signer_seam=_ZERO,
            seam_attributes=bytes(8),
            td_attributes=attributes.to_bytes(8, "little"),
            xfam=_XFAM,
            mr_td=self.mr_td,
            mr_config_id=self.mr_config_id,
            mr_owner=self.mr_owner,
            mr_owner_config=self.mr_owner_config,
            rtmrs=self.rtmrs,
            report_data=report_data,
        )

    def report_15(self, report_data: bytes) -> TdReport:
        """The same as TDX 1.5 has it, which also tells of service TDs."""
        report = self.report(report_data)
        return replace(report, tee_tcb_svn_2=bytes(16), mr_service_td=self.mr_service_td)
