"""TCB levels as Intel's signed statements write them: what must be reached, and what that means.

Quoting enclaves and TDX modules have one security version each, so their levels are of one shape,
here. A platform has many: its levels are in `sealserve.endorsements.tcb_info`. Source: Intel SGX
and TDX Provisioning Certification Service API, version 4, "TCB Info" and "Enclave Identity".
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sealserve.endorsements.signed_json import Members
from sealserve.endorsements.tcb_status import STATED, TcbStatus
from sealserve.errors import FormatError

MAX_LEVELS = 256
MAX_ADVISORIES = 256
_MAX_EVALUATION_DATA_NUMBER = 0xFFFFFFFF
# One piece of software is outdated or it is not; there is no configuration that could help.
_OF_ONE_VERSION = (TcbStatus.UP_TO_DATE, TcbStatus.OUT_OF_DATE, TcbStatus.REVOKED)


@dataclass(frozen=True, slots=True)
class IsvLevel:
    """A level of a quoting enclave or a TDX module: the least ISVSVN, and what Intel says of it."""

    isv_svn: int
    date: datetime
    status: TcbStatus
    advisory_ids: tuple[str, ...]


def isv_levels(owner: Members, maximum_svn: int) -> tuple[IsvLevel, ...]:
    """The `tcbLevels` of an identity, in the order in which they must be tried.

    Raises FormatError.
    """
    return tuple(_isv_level(level, maximum_svn) for level in owner.tables("tcbLevels", MAX_LEVELS))


def judgement(level: Members) -> tuple[datetime, TcbStatus, tuple[str, ...]]:
    """Date, status and advisories of a level, which all statements write alike."""
    status = level.one_of("tcbStatus", TcbStatus)
    if status not in STATED:
        raise FormatError(f"a TCB level has the status {status}, which is no level's")
    return level.date("tcbDate"), status, level.texts("advisoryIDs", MAX_ADVISORIES)


def evaluation_data_number(statement: Members) -> int:
    """The number that grows with each of Intel's TCB recoveries."""
    return statement.number("tcbEvaluationDataNumber", _MAX_EVALUATION_DATA_NUMBER)


def _isv_level(level: Members, maximum_svn: int) -> IsvLevel:
    date, status, advisory_ids = judgement(level)
    if status not in _OF_ONE_VERSION:
        raise FormatError(f"a level with one ISVSVN has the status {status}, which it cannot have")
    isv_svn = level.nested("tcb").number("isvsvn", maximum_svn)
    return IsvLevel(isv_svn, date, status, advisory_ids)
