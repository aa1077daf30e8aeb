"""The TDX module by its version, and when a trust domain should be launched again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from sealserve.endorsements.levels import IsvLevel
from sealserve.endorsements.tcb_info import TcbInfo, TcbInfoId
from sealserve.endorsements.tcb_status import STATED
from sealserve.endorsements.tdx_module import TdxModule, TdxModuleIdentity
from sealserve.errors import VerificationError
from sealserve.evidence.td_report import TdReport
from sealserve.verifier import Code, TcbStatus, tdx

DATE = datetime(2026, 1, 1, tzinfo=UTC)
UP, SW, CONF, CONF_SW, OUT, OUT_CONF, REVOKED = STATED
RELAUNCH = TcbStatus.TD_RELAUNCH_ADVISED
RELAUNCH_CONF = TcbStatus.TD_RELAUNCH_ADVISED_CONFIGURATION_NEEDED

SIGNER = b"\x5a" * 48
OLD = TdxModule(mr_signer=SIGNER, attributes=bytes(8), attributes_mask=b"\xff" * 8)
INTELS = TdxModule(mr_signer=bytes(48), attributes=b"\1" + bytes(7), attributes_mask=b"\x0f" * 8)
LEVELS = (IsvLevel(5, DATE, UP, ()), IsvLevel(3, DATE, OUT, ("INTEL-SA-01036",)))
INFO = TcbInfo(
    TcbInfoId.TDX,
    3,
    DATE,
    DATE,
    bytes(6),
    bytes(2),
    1,
    (),
    OLD,
    (TdxModuleIdentity(3, INTELS, ()), TdxModuleIdentity(1, INTELS, LEVELS)),
)


def report(version: int, signer: bytes = bytes(48), attributes: bytes = b"\1") -> TdReport:
    return replace(
        TdReport.parse(bytes(584)),
        tee_tcb_svn=bytes((5, version)).ljust(16, b"\0"),
        mr_signer_seam=signer,
        seam_attributes=attributes.ljust(8, b"\0"),
    )


@pytest.mark.parametrize(
    "good",
    [
        pytest.param(report(1), id="by its identity"),
        pytest.param(report(1, attributes=b"\xf1"), id="by its identity, under the mask"),
        pytest.param(report(0, SIGNER, b"\0"), id="version 0, by the general description"),
    ],
)
def test_a_module_fits_the_description_of_its_version(good: TdReport) -> None:
    tdx.check_module(INFO, good)


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(report(1, SIGNER), id="the signer of another version"),
        pytest.param(report(1, attributes=b"\x03"), id="another attribute"),
        pytest.param(report(1, attributes=b"\x00"), id="an attribute missing"),
        pytest.param(report(0, bytes(48), b"\0"), id="version 0, the signer of another"),
        pytest.param(report(0, SIGNER, b"\x01"), id="version 0, another attribute"),
        pytest.param(report(2), id="a version without identity"),
        pytest.param(report(0x10), id="a version far away"),
    ],
)
def test_a_module_that_does_not_fit_is_rejected(bad: TdReport) -> None:
    with pytest.raises(VerificationError) as caught:
        tdx.check_module(INFO, bad)
    assert caught.value.code == Code.TDX_MODULE_MISMATCH


def test_without_any_description_no_module_fits() -> None:
    with pytest.raises(VerificationError, match="describes no TDX module"):
        tdx.check_module(replace(INFO, tdx_module=None), report(0))


def svn(minor: int, major: int) -> bytes:
    return bytes((minor, major)).ljust(16, b"\0")


def test_the_minor_version_reaches_a_level_of_the_major_versions_identity() -> None:
    assert tdx.module_level(INFO, svn(9, 1)) is LEVELS[0]
    assert tdx.module_level(INFO, svn(4, 1)) is LEVELS[1]
    assert tdx.module_level(INFO, svn(3, 1)) is LEVELS[1]


def test_version_zero_has_no_level_of_its_own() -> None:
    assert tdx.module_level(INFO, svn(0, 0)) is None


@pytest.mark.parametrize("found", [svn(2, 1), svn(200, 3), svn(200, 2)], ids=bytes.hex)
def test_a_module_that_reaches_no_level_is_rejected(found: bytes) -> None:
    with pytest.raises(VerificationError) as caught:
        tdx.module_level(INFO, found)
    assert caught.value.code == Code.TDX_MODULE_MISMATCH


@pytest.mark.parametrize(
    ("launched", "current", "status"),
    [
        (OUT, UP, RELAUNCH),
        (OUT, SW, RELAUNCH),
        (OUT, CONF, RELAUNCH_CONF),
        (OUT, CONF_SW, RELAUNCH_CONF),
        (OUT_CONF, UP, RELAUNCH_CONF),
        (OUT_CONF, CONF, RELAUNCH_CONF),
        (OUT, OUT, OUT),
        (OUT, OUT_CONF, OUT_CONF),
        (OUT_CONF, OUT, OUT_CONF),
        (UP, UP, UP),
        (SW, UP, SW),
        (CONF, UP, CONF),
        (UP, SW, SW),
        (SW, CONF, CONF),
        (CONF_SW, CONF, CONF_SW),
        (UP, CONF_SW, CONF_SW),
        (CONF_SW, OUT, OUT),
        (UP, OUT, OUT),
        (SW, OUT_CONF, OUT_CONF),
        (REVOKED, UP, REVOKED),
        (UP, REVOKED, REVOKED),
        (OUT, REVOKED, REVOKED),
    ],
)
def test_a_relaunch_is_advised_where_only_the_launch_is_outdated_else_the_worse_counts(
    launched: TcbStatus, current: TcbStatus, status: TcbStatus
) -> None:
    assert tdx.advise(launched, current) is status
