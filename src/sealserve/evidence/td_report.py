"""The report body of a TDX trust domain: 584, 648 or 885 bytes <-> `TdReport`.

The three lengths are three generations: TDX 1.0; TDX 1.5, which adds the module's present versions
and the service TDs; and TDX 1.5 extended, which adds which instance of a TD this is and where it
began. This module parses and serialises, it judges nothing.

Source: Intel TDX DCAP Quoting Library API, appendix A.3.2 and A.4.2, "TD Quote Body", for TDX 1.0
and 1.5; the public headers and parsers of quote version 5 (`sgx_report2_body_v1_5_ex_t`, body type
4) for the extended one; Intel TDX Module 1.5 ABI Specification, TDREPORT_STRUCT.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from sealserve.errors import FormatError
from sealserve.evidence.report import check_lengths, check_widths

TD_REPORT_10_BYTES: Final = 584
TD_REPORT_15_BYTES: Final = 648
TD_REPORT_15_EX_BYTES: Final = 885
TD_ATTRIBUTE_DEBUG: Final = 0x01  # bit 0 of the first byte of TDATTRIBUTES

_BASE = struct.Struct("<16s 48s 48s 8s 8s 8s 48s 48s 48s 48s 48s 48s 48s 48s 64s")
_ADDED_IN_15 = struct.Struct("<16s 48s")
_INSTANCE = struct.Struct("<B 32s 48s 48s 8s 16s 16s 12s 48s 8s")
_RTMRS = 4
_LENGTHS = {
    "tee_tcb_svn": 16,
    "mr_seam": 48,
    "mr_signer_seam": 48,
    "seam_attributes": 8,
    "td_attributes": 8,
    "xfam": 8,
    "mr_td": 48,
    "mr_config_id": 48,
    "mr_owner": 48,
    "mr_owner_config": 48,
    "report_data": 64,
}
_LENGTHS_IN_15 = {"tee_tcb_svn_2": 16, "mr_service_td": 48}
_INSTANCE_LENGTHS = {
    "td_id": 32,
    "device_info_hash": 48,
    "initial_service_td_hash": 48,
    "initial_service_td_attributes": 8,
    "initial_cpu_svn": 16,
    "initial_tee_tcb_svn": 16,
    "initial_tee_model": 12,
    "service_td_hash": 48,
    "service_td_attributes": 8,
}


@dataclass(frozen=True, slots=True)
class TdInstance:
    """Which TD this is, on what it was first started, and which service TDs it had and has."""

    vmid: int
    """8 bits: 0 for a TD that is not partitioned, or its L1 VMM."""
    td_id: bytes
    """32 bytes that stay with the TD when its module is updated or it migrates."""
    device_info_hash: bytes
    """48 bytes."""
    initial_service_td_hash: bytes
    """48 bytes."""
    initial_service_td_attributes: bytes
    """8 bytes."""
    initial_cpu_svn: bytes
    """16 bytes."""
    initial_tee_tcb_svn: bytes
    """16 bytes."""
    initial_tee_model: bytes
    """12 bytes: the model of processor that the two above belong to; not an FMSPC."""
    service_td_hash: bytes
    """48 bytes."""
    service_td_attributes: bytes
    """8 bytes."""

    def __post_init__(self) -> None:
        check_lengths("td-report", self, _INSTANCE_LENGTHS)
        check_widths("td-report", self, {"vmid": 8})

    def serialize(self) -> bytes:
        """237 bytes."""
        return _INSTANCE.pack(self.vmid, *(getattr(self, name) for name in _INSTANCE_LENGTHS))


@dataclass(frozen=True, slots=True)
class TdReport:
    """What the TDX module says about one trust domain. Byte fields as stored."""

    tee_tcb_svn: bytes
    """16 bytes: minor and major version of the TDX module, then one security version each."""
    mr_seam: bytes
    """48 bytes: the measurement of the TDX module."""
    mr_signer_seam: bytes
    """48 bytes: its signer; zero for Intel."""
    seam_attributes: bytes
    """8 bytes."""
    td_attributes: bytes
    """8 bytes, little-endian bits."""
    xfam: bytes
    """8 bytes, little-endian bits: the processor's extended features that the TD may use."""
    mr_td: bytes
    """48 bytes: the measurement of the TD's initial contents."""
    mr_config_id: bytes
    """48 bytes."""
    mr_owner: bytes
    """48 bytes."""
    mr_owner_config: bytes
    """48 bytes."""
    rtmrs: tuple[bytes, bytes, bytes, bytes]
    """48 bytes each: registers that the TD's own software extends."""
    report_data: bytes
    """64 bytes that the TD chose."""
    tee_tcb_svn_2: bytes | None = None
    """16 bytes: `tee_tcb_svn` as it is now, after updates that kept the TD; None in TDX 1.0."""
    mr_service_td: bytes | None = None
    """48 bytes: the service TDs bound to this one, zero if none; None in TDX 1.0."""
    instance: TdInstance | None = None
    """None before TDX 1.5 extended."""

    def __post_init__(self) -> None:
        check_lengths("td-report", self, _LENGTHS)
        if tuple(len(rtmr) for rtmr in self.rtmrs) != (48,) * _RTMRS:
            raise FormatError("td-report: rtmrs is four times 48 bytes", code="td-report.field")
        if self.tee_tcb_svn_2 is not None and self.mr_service_td is not None:
            check_lengths("td-report", self, _LENGTHS_IN_15)
        elif self.tee_tcb_svn_2 or self.mr_service_td or self.instance:
            raise FormatError(
                "td-report: tee_tcb_svn_2, mr_service_td and instance come in this order",
                code="td-report.field",
            )

    @property
    def size(self) -> int:
        """Bytes of the serialised report."""
        if self.tee_tcb_svn_2 is None:
            return TD_REPORT_10_BYTES
        return TD_REPORT_15_BYTES if self.instance is None else TD_REPORT_15_EX_BYTES

    @property
    def debug(self) -> bool:
        """The host can read and change the TD."""
        return bool(self.td_attributes[0] & TD_ATTRIBUTE_DEBUG)

    @classmethod
    def parse(cls, data: bytes) -> TdReport:
        """A report from exactly 584, 648 or 885 bytes; raises FormatError (`td-report.length`)."""
        sizes = (TD_REPORT_10_BYTES, TD_REPORT_15_BYTES, TD_REPORT_15_EX_BYTES)
        if len(data) not in sizes:
            raise FormatError(
                f"a TD report is {', '.join(map(str, sizes))} bytes, these are {len(data)}",
                code="td-report.length",
            )
        *first, rtmr0, rtmr1, rtmr2, rtmr3, report_data = _BASE.unpack_from(data)
        base = dict(zip(_LENGTHS, (*first, report_data), strict=True))
        rtmrs = (rtmr0, rtmr1, rtmr2, rtmr3)
        if len(data) == TD_REPORT_10_BYTES:
            return cls(rtmrs=rtmrs, **base)
        svn, service_td = _ADDED_IN_15.unpack_from(data, TD_REPORT_10_BYTES)
        instance = None
        if len(data) == TD_REPORT_15_EX_BYTES:
            instance = TdInstance(*_INSTANCE.unpack_from(data, TD_REPORT_15_BYTES))
        return cls(
            rtmrs=rtmrs, tee_tcb_svn_2=svn, mr_service_td=service_td, instance=instance, **base
        )

    def serialize(self) -> bytes:
        """The same 584, 648 or 885 bytes."""
        base = _BASE.pack(
            self.tee_tcb_svn,
            self.mr_seam,
            self.mr_signer_seam,
            self.seam_attributes,
            self.td_attributes,
            self.xfam,
            self.mr_td,
            self.mr_config_id,
            self.mr_owner,
            self.mr_owner_config,
            *self.rtmrs,
            self.report_data,
        )
        added = (self.tee_tcb_svn_2 or b"") + (self.mr_service_td or b"")
        return base + added + (self.instance.serialize() if self.instance else b"")
