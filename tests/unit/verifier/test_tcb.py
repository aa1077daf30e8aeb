"""Which level is reached, and what platform and quoting enclave are together."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sealserve.endorsements.levels import IsvLevel
from sealserve.endorsements.pck import PckExtensions
from sealserve.endorsements.qe_identity import QeIdentity
from sealserve.endorsements.tcb_info import TcbInfo, TcbInfoId, TcbLevel
from sealserve.endorsements.tcb_status import STATED
from sealserve.errors import VerificationError
from sealserve.verifier import Code, TcbStatus, tcb

DATE = datetime(2026, 1, 1, tzinfo=UTC)
UP, SW, CONF, CONF_SW, OUT, OUT_CONF, REVOKED = STATED


def level(svns: bytes, pce_svn: int, status: TcbStatus = UP, tdx: bytes = b"") -> TcbLevel:
    return TcbLevel(
        svns.ljust(16, b"\0"), pce_svn, DATE, status, (), tdx.ljust(16, b"\0") if tdx else b""
    )


def info(*levels: TcbLevel) -> TcbInfo:
    return TcbInfo(TcbInfoId.SGX, 3, DATE, DATE, bytes(6), bytes(2), 1, levels)


def platform(svns: bytes, pce_svn: int) -> PckExtensions:
    return PckExtensions(
        bytes(16), svns.ljust(16, b"\0"), pce_svn, bytes(16), bytes(2), bytes(6), 0
    )


def identity(*levels: IsvLevel) -> QeIdentity:
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


@pytest.mark.parametrize("component", range(2, 16))
def test_every_component_of_the_module_counts(component: int) -> None:
    needed = bytes([3] * 16)
    short = needed[:component] + b"\x02" + needed[component + 1 :]
    levels = info(level(b"", 0, UP, needed))
    assert tcb.platform_level(levels, platform(b"", 0), needed)
    with pytest.raises(VerificationError) as caught:
        tcb.platform_level(levels, platform(b"", 0), short)
    assert caught.value.code == Code.TCB_NOT_SUPPORTED


@pytest.mark.parametrize(
    ("found", "reached"),
    [
        pytest.param(b"\x05\x00\x03", True, id="all reached"),
        pytest.param(b"\x04\x00\x03", False, id="version 0 is judged with the platform"),
        pytest.param(b"\x04\x01\x03", True, id="a later version is judged on its own"),
        pytest.param(b"\x05\x01\x02", False, id="the other components are not"),
    ],
)
def test_the_modules_version_counts_only_where_it_has_no_identity(
    found: bytes, reached: bool
) -> None:
    levels = info(level(b"", 0, UP, b"\x05\x00\x03"), level(b"", 0, OUT, bytes(16)))
    status = tcb.platform_level(levels, platform(b"", 0), found.ljust(16, b"\0")).status
    assert status is (UP if reached else OUT)


def test_a_level_counts_only_where_platform_and_module_both_reach_it() -> None:
    levels = info(level(b"\x05", 9, UP, b"\0\0\5"), level(b"\x01", 1, OUT, b"\0\0\1"))
    for svns, pce_svn, module in (
        (b"\4", 9, b"\0\1\5"),
        (b"\5", 8, b"\0\1\5"),
        (b"\5", 9, b"\0\1\4"),
    ):
        reached = tcb.platform_level(levels, platform(svns, pce_svn), module.ljust(16, b"\0"))
        assert reached.status is OUT


def test_levels_for_sgx_are_reached_by_no_module() -> None:
    with pytest.raises(VerificationError):
        tcb.platform_level(info(level(b"", 0)), platform(b"", 0), bytes(16))


def test_the_first_qe_level_reached_is_the_quoting_enclaves() -> None:
    levels = identity(IsvLevel(8, DATE, UP, ()), IsvLevel(6, DATE, OUT, ()))
    assert tcb.qe_level(levels, 8).status is UP
    assert tcb.qe_level(levels, 7).status is OUT
    with pytest.raises(VerificationError) as caught:
        tcb.qe_level(levels, 5)
    assert caught.value.code == Code.QE_TCB_NOT_SUPPORTED


@pytest.mark.parametrize("status", STATED)
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


def test_the_worst_of_the_software_decides() -> None:
    assert tcb.merge(UP, UP, UP) is UP
    assert tcb.merge(CONF, UP, OUT) is OUT_CONF
    assert tcb.merge(CONF, OUT, UP) is OUT_CONF
    assert tcb.merge(UP, OUT, REVOKED) is REVOKED


@pytest.mark.parametrize("status", STATED)
def test_a_revoked_quoting_enclave_revokes_the_platform(status: TcbStatus) -> None:
    assert tcb.merge(status, REVOKED) is REVOKED
