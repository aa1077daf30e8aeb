"""Which level is reached, and what platform and quoting enclave are together."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sealserve.endorsements.pck import PckExtensions
from sealserve.endorsements.qe_identity import QeIdentity, QeLevel
from sealserve.endorsements.tcb_info import TcbInfo, TcbInfoId, TcbLevel
from sealserve.errors import VerificationError
from sealserve.verifier import Code, TcbStatus, tcb

DATE = datetime(2026, 1, 1, tzinfo=UTC)
UP, SW, CONF, CONF_SW, OUT, OUT_CONF, REVOKED = TcbStatus


def level(svns: bytes, pce_svn: int, status: TcbStatus = UP) -> TcbLevel:
    return TcbLevel(svns.ljust(16, b"\0"), pce_svn, DATE, status, ())


def info(*levels: TcbLevel) -> TcbInfo:
    return TcbInfo(TcbInfoId.SGX, 3, DATE, DATE, bytes(6), bytes(2), 1, levels)


def platform(svns: bytes, pce_svn: int) -> PckExtensions:
    return PckExtensions(
        bytes(16), svns.ljust(16, b"\0"), pce_svn, bytes(16), bytes(2), bytes(6), 0
    )


def identity(*levels: QeLevel) -> QeIdentity:
    return QeIdentity(
        "QE", DATE, DATE, 1, bytes(4), bytes(4), bytes(16), bytes(16), bytes(32), 1, levels
    )


def test_the_first_level_reached_in_the_order_given_is_the_platforms() -> None:
    levels = info(level(b"\x05\x05", 9, UP), level(b"\x02", 5, OUT), level(b"\x01", 1, REVOKED))
    assert tcb.platform_level(levels, platform(b"\x05\x05", 9)).status is UP
    assert tcb.platform_level(levels, platform(b"\x07\x04", 9)).status is OUT
    assert tcb.platform_level(levels, platform(b"\x05\x05", 8)).status is OUT
    assert tcb.platform_level(levels, platform(b"\x01", 255)).status is REVOKED


def test_a_better_level_later_in_the_list_does_not_count() -> None:
    levels = info(level(b"\x01", 1, OUT), level(b"\x02", 2, UP))
    assert tcb.platform_level(levels, platform(b"\x02", 2)).status is OUT


@pytest.mark.parametrize("component", range(16))
def test_every_component_counts(component: int) -> None:
    needed = bytes([3] * 16)
    short = needed[:component] + b"\x02" + needed[component + 1 :]
    with pytest.raises(VerificationError) as caught:
        tcb.platform_level(info(level(needed, 0)), platform(short, 0))
    assert caught.value.code == Code.TCB_NOT_SUPPORTED


def test_pce_svn_counts_beyond_one_byte() -> None:
    levels = info(level(b"", 0x100))
    assert tcb.platform_level(levels, platform(b"", 0x100))
    with pytest.raises(VerificationError):
        tcb.platform_level(levels, platform(b"", 0xFF))


def test_the_first_qe_level_reached_is_the_quoting_enclaves() -> None:
    levels = identity(QeLevel(8, DATE, UP, ()), QeLevel(6, DATE, OUT, ()))
    assert tcb.qe_level(levels, 8).status is UP
    assert tcb.qe_level(levels, 7).status is OUT
    with pytest.raises(VerificationError) as caught:
        tcb.qe_level(levels, 5)
    assert caught.value.code == Code.QE_TCB_NOT_SUPPORTED


@pytest.mark.parametrize("status", list(TcbStatus))
def test_an_up_to_date_quoting_enclave_changes_nothing(status: TcbStatus) -> None:
    assert tcb.merge(status, UP) is status


@pytest.mark.parametrize(
    ("status", "merged"),
    [
        (UP, OUT),
        (SW, OUT),
        (CONF, OUT_CONF),
        (CONF_SW, OUT_CONF),
        (OUT, OUT),
        (OUT_CONF, OUT_CONF),
        (REVOKED, REVOKED),
    ],
)
def test_an_outdated_quoting_enclave_outdates_the_platform(
    status: TcbStatus, merged: TcbStatus
) -> None:
    assert tcb.merge(status, OUT) is merged


@pytest.mark.parametrize("status", list(TcbStatus))
def test_a_revoked_quoting_enclave_revokes_the_platform(status: TcbStatus) -> None:
    assert tcb.merge(status, REVOKED) is REVOKED
