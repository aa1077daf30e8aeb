"""TCB info: for one kind of platform, which security versions stand how with Intel.

Versions 2 (API v3, SGX alone) and 3 (API v4), read from the bytes that Intel signed. Whether the
signature holds, the dates fit and a platform reaches a level is the verifier's to say. Members that
we do not know are left alone: Intel adds some without a new version, and everything here is signed.
Source: Intel SGX and TDX Provisioning Certification Service API, versions 3 and 4, "Get SGX TCB
Info" and "Get TDX TCB Info".
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sealserve.endorsements.levels import MAX_LEVELS, evaluation_data_number, judgement
from sealserve.endorsements.pck import COMPONENTS
from sealserve.endorsements.signed_json import Members, read_object
from sealserve.endorsements.tcb_status import TcbStatus
from sealserve.endorsements.tdx_module import (
    TdxModule,
    TdxModuleIdentity,
    parse_tdx_module,
    parse_tdx_module_identities,
)
from sealserve.errors import FormatError

_TCB_TYPE = 0  # the only way of comparing SVNs that is defined


class TcbInfoId(StrEnum):
    """The kind of TEE that a TCB info is about."""

    SGX = "SGX"
    TDX = "TDX"


@dataclass(frozen=True, slots=True)
class TcbLevel:
    """One level: the versions that a platform must reach, and what Intel says of it."""

    component_svns: bytes
    """16 bytes, one SVN each."""
    pce_svn: int
    date: datetime
    status: TcbStatus
    advisory_ids: tuple[str, ...]
    tdx_component_svns: bytes = b""
    """16 bytes, one SVN each for TEE_TCB_SVN; empty in TCB info for SGX."""


@dataclass(frozen=True, slots=True)
class TcbInfo:
    """A TCB info; `levels` in the order in which they must be tried."""

    id: TcbInfoId
    version: int
    issue_date: datetime
    next_update: datetime
    fmspc: bytes
    pce_id: bytes
    evaluation_data_number: int
    levels: tuple[TcbLevel, ...]
    tdx_module: TdxModule | None = None
    """In TCB info for TDX, like those that follow."""
    tdx_module_identities: tuple[TdxModuleIdentity, ...] = ()

    def __hash__(self) -> int:
        """By what tells most of them apart: what is found out by one is remembered with it."""
        return hash((self.id, self.fmspc, self.issue_date, self.evaluation_data_number))


def parse_tcb_info(signed: bytes) -> TcbInfo:
    """The TCB info in the bytes that were signed; raises FormatError."""
    info = read_object(signed, "tcbInfo")
    version = info.number("version", 0xFF)
    if version not in (2, 3):
        raise FormatError(f"tcbInfo.version: found {version}, expected 2 or 3")
    if info.number("tcbType", 0xFF) != _TCB_TYPE:
        raise FormatError(f"tcbInfo.tcbType: expected {_TCB_TYPE}")
    tee = info.one_of("id", TcbInfoId) if version == 3 else TcbInfoId.SGX
    is_tdx = tee is TcbInfoId.TDX
    return TcbInfo(
        id=tee,
        version=version,
        issue_date=info.date("issueDate"),
        next_update=info.date("nextUpdate"),
        fmspc=info.hexadecimal("fmspc", 6),
        pce_id=info.hexadecimal("pceId", 2),
        evaluation_data_number=evaluation_data_number(info),
        levels=tuple(_level(level, version, tee) for level in info.tables("tcbLevels", MAX_LEVELS)),
        tdx_module=parse_tdx_module(info) if is_tdx else None,
        tdx_module_identities=parse_tdx_module_identities(info) if is_tdx else (),
    )


def _level(level: Members, version: int, tee: TcbInfoId) -> TcbLevel:
    tcb = level.nested("tcb")
    svns = _component_svns(tcb, "sgx") if version == 3 else _numbered_component_svns(tcb)
    tdx_svns = _component_svns(tcb, "tdx") if tee is TcbInfoId.TDX else b""
    return TcbLevel(svns, tcb.number("pcesvn", 0xFFFF), *judgement(level), tdx_svns)


def _component_svns(tcb: Members, prefix: str) -> bytes:
    return bytes(tcb.column(f"{prefix}tcbcomponents", "svn", COMPONENTS, 0xFF))


def _numbered_component_svns(tcb: Members) -> bytes:
    return bytes(tcb.number(f"sgxtcbcomp{n:02}svn", 0xFF) for n in range(1, COMPONENTS + 1))
