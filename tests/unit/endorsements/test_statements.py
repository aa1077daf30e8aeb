"""TCB info and QE identity: what Intel's two versions look like, and what is none of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from sealserve.endorsements.qe_identity import parse_qe_identity
from sealserve.endorsements.tcb_info import TcbInfoId, parse_tcb_info
from sealserve.endorsements.tcb_status import TcbStatus
from sealserve.errors import FormatError

LEVEL = {
    "tcb": {"sgxtcbcomponents": [{"svn": n, "type": "x"} for n in range(16)], "pcesvn": 13},
    "tcbDate": "2024-03-13T00:00:00Z",
    "tcbStatus": "SWHardeningNeeded",
    "advisoryIDs": ["INTEL-SA-00615"],
}
OLD_LEVEL = {
    "tcb": {**{f"sgxtcbcomp{n:02}svn": n for n in range(1, 17)}, "pcesvn": 13},
    "tcbDate": "2024-03-13T00:00:00Z",
    "tcbStatus": "OutOfDate",
}
TCB_INFO: dict[str, Any] = {
    "id": "SGX",
    "version": 3,
    "issueDate": "2026-05-26T20:26:40Z",
    "nextUpdate": "2026-06-25T20:26:40Z",
    "fmspc": "00906ED50000",
    "pceId": "0000",
    "tcbType": 0,
    "tcbEvaluationDataNumber": 17,
    "tcbLevels": [LEVEL],
    "somethingNew": {"a": [1]},
}
OLD_TCB_INFO = {key: value for key, value in TCB_INFO.items() if key != "id"} | {
    "version": 2,
    "tcbLevels": [OLD_LEVEL],
}
QE_IDENTITY: dict[str, Any] = {
    "id": "QE",
    "version": 2,
    "issueDate": "2026-05-26T20:26:40Z",
    "nextUpdate": "2026-06-25T20:26:40Z",
    "tcbEvaluationDataNumber": 17,
    "miscselect": "00000000",
    "miscselectMask": "FFFFFFFF",
    "attributes": "11000000000000000000000000000000",
    "attributesMask": "FBFFFFFFFFFFFFFF0000000000000000",
    "mrsigner": "8C" * 32,
    "isvprodid": 1,
    "tcbLevels": [
        {"tcb": {"isvsvn": 8}, "tcbDate": "2024-03-13T00:00:00Z", "tcbStatus": "UpToDate"}
    ],
}


def test_tcb_info_of_version_3_is_read() -> None:
    info = parse_tcb_info(json.dumps(TCB_INFO).encode())
    assert (info.id, info.version) == (TcbInfoId.SGX, 3)
    assert info.issue_date == datetime(2026, 5, 26, 20, 26, 40, tzinfo=UTC)
    assert info.next_update == datetime(2026, 6, 25, 20, 26, 40, tzinfo=UTC)
    assert (info.fmspc.hex(), info.pce_id.hex()) == ("00906ed50000", "0000")
    (level,) = info.levels
    assert level.component_svns == bytes(range(16))
    assert level.pce_svn == 13
    assert level.status is TcbStatus.SW_HARDENING_NEEDED
    assert level.advisory_ids == ("INTEL-SA-00615",)


def test_tcb_info_of_version_2_is_read() -> None:
    info = parse_tcb_info(json.dumps(OLD_TCB_INFO).encode())
    assert (info.id, info.version) == (TcbInfoId.SGX, 2)
    (level,) = info.levels
    assert level.component_svns == bytes(range(1, 17))
    assert level.advisory_ids == ()


def test_qe_identity_is_read() -> None:
    identity = parse_qe_identity(json.dumps(QE_IDENTITY).encode())
    assert identity.id == "QE"
    assert identity.attributes_mask.hex() == "fbffffffffffffff0000000000000000"
    assert identity.mr_signer == b"\x8c" * 32
    assert [(level.isv_svn, level.status) for level in identity.levels] == [
        (8, TcbStatus.UP_TO_DATE)
    ]


MODULE = {"mrsigner": "00" * 48, "attributes": "0" * 16, "attributesMask": "F" * 16}
MODULE_LEVEL = {"tcb": {"isvsvn": 5}, "tcbDate": "2024-03-13T00:00:00Z", "tcbStatus": "UpToDate"}
MODULE_IDENTITY = {"id": "TDX_0A", **MODULE, "tcbLevels": [MODULE_LEVEL]}
TDX_LEVEL = LEVEL | {
    "tcb": LEVEL["tcb"] | {"tdxtcbcomponents": [{"svn": 100 + n} for n in range(16)]}
}
TDX_TCB_INFO = TCB_INFO | {
    "id": "TDX",
    "tdxModule": MODULE | {"mrsigner": "5A" * 48},
    "tdxModuleIdentities": [MODULE_IDENTITY],
    "tcbLevels": [TDX_LEVEL],
}


def test_tcb_info_for_tdx_describes_the_module_and_each_later_version_of_it() -> None:
    info = parse_tcb_info(json.dumps(TDX_TCB_INFO).encode())
    assert info.id is TcbInfoId.TDX
    (level,) = info.levels
    assert level.component_svns == bytes(range(16))
    assert level.tdx_component_svns == bytes(range(100, 116))
    assert info.tdx_module is not None
    assert info.tdx_module.mr_signer == b"\x5a" * 48
    (identity,) = info.tdx_module_identities
    assert identity.version == 10
    assert identity.module.attributes_mask == b"\xff" * 8
    assert [(level.isv_svn, level.status) for level in identity.levels] == [
        (5, TcbStatus.UP_TO_DATE)
    ]


def test_tcb_info_for_tdx_may_know_no_later_version_of_the_module() -> None:
    old = {k: v for k, v in TDX_TCB_INFO.items() if k != "tdxModuleIdentities"}
    assert parse_tcb_info(json.dumps(old).encode()).tdx_module_identities == ()


def test_identities_of_unknown_kind_are_left_alone() -> None:
    other = TDX_TCB_INFO | {"tdxModuleIdentities": [{"id": "SOMETHING_01"}, MODULE_IDENTITY]}
    (identity,) = parse_tcb_info(json.dumps(other).encode()).tdx_module_identities
    assert identity.version == 10


def test_tcb_info_for_sgx_says_nothing_of_a_module() -> None:
    both = TDX_TCB_INFO | {"id": "SGX"}
    info = parse_tcb_info(json.dumps(both).encode())
    assert (info.tdx_module, info.tdx_module_identities) == (None, ())
    assert info.levels[0].tdx_component_svns == b""


ABSENT = object()


@pytest.mark.parametrize(
    ("statement", "difference"),
    [
        pytest.param(TCB_INFO, {"version": 1}, id="version-1"),
        pytest.param(TCB_INFO, {"version": 4}, id="version-4"),
        pytest.param(TCB_INFO, {"version": "3"}, id="version-text"),
        pytest.param(TCB_INFO, {"id": "SEV"}, id="unknown-id"),
        pytest.param(TCB_INFO, {"tcbType": 1}, id="other-tcb-type"),
        pytest.param(TCB_INFO, {"fmspc": "00906ED5"}, id="short-fmspc"),
        pytest.param(TCB_INFO, {"pceId": 0}, id="pceid-number"),
        pytest.param(TCB_INFO, {"tcbEvaluationDataNumber": -1}, id="negative-number"),
        pytest.param(TCB_INFO, {"tcbLevels": {}}, id="levels-no-list"),
        pytest.param(TCB_INFO, {"tcbLevels": [LEVEL] * 257}, id="too-many-levels"),
        pytest.param(TCB_INFO, {"tcbLevels": [OLD_LEVEL]}, id="level-of-version-2"),
        pytest.param(OLD_TCB_INFO, {"tcbLevels": [LEVEL]}, id="level-of-version-3"),
        pytest.param(TCB_INFO, {"tcbLevels": [LEVEL | {"tcbStatus": "Good"}]}, id="status"),
        pytest.param(
            TCB_INFO,
            {"tcbLevels": [LEVEL | {"tcbStatus": "TDRelaunchAdvised"}]},
            id="status-of-no-level",
        ),
        pytest.param(TCB_INFO, {"tcbLevels": [LEVEL | {"tcbDate": "now"}]}, id="tcb-date"),
        pytest.param(TCB_INFO, {"tcbLevels": [LEVEL | {"advisoryIDs": [1]}]}, id="advisories"),
        pytest.param(
            TCB_INFO,
            {"tcbLevels": [LEVEL | {"tcb": LEVEL["tcb"] | {"pcesvn": 65536}}]},
            id="pcesvn",
        ),
        pytest.param(
            TCB_INFO,
            {
                "tcbLevels": [
                    LEVEL | {"tcb": {"sgxtcbcomponents": [{"svn": 256}] * 16, "pcesvn": 1}}
                ]
            },
            id="component",
        ),
        pytest.param(
            OLD_TCB_INFO,
            {"tcbLevels": [OLD_LEVEL | {"tcb": {"sgxtcbcomp01svn": 1, "pcesvn": 1}}]},
            id="components-missing",
        ),
        *(
            pytest.param(TCB_INFO, {name: ABSENT}, id=f"without-{name}")
            for name in TCB_INFO
            if name != "somethingNew"
        ),
        pytest.param(TDX_TCB_INFO, {"version": 2}, id="tdx-in-version-2"),
        pytest.param(TDX_TCB_INFO, {"tdxModule": ABSENT}, id="tdx-without-module"),
        pytest.param(TDX_TCB_INFO, {"tcbLevels": [LEVEL]}, id="tdx-level-of-sgx"),
        pytest.param(
            TDX_TCB_INFO, {"tdxModule": MODULE | {"mrsigner": "00" * 32}}, id="tdx-short-signer"
        ),
        pytest.param(
            TDX_TCB_INFO,
            {"tdxModuleIdentities": [MODULE_IDENTITY, MODULE_IDENTITY | {"id": "TDX_0a"}]},
            id="tdx-version-twice",
        ),
        pytest.param(
            TDX_TCB_INFO,
            {
                "tdxModuleIdentities": [
                    MODULE_IDENTITY
                    | {"tcbLevels": [MODULE_LEVEL | {"tcbStatus": "SWHardeningNeeded"}]}
                ]
            },
            id="tdx-module-status-of-a-platform",
        ),
        pytest.param(
            TDX_TCB_INFO,
            {
                "tdxModuleIdentities": [
                    MODULE_IDENTITY | {"tcbLevels": [MODULE_LEVEL | {"tcb": {"isvsvn": 256}}]}
                ]
            },
            id="tdx-module-isvsvn",
        ),
        pytest.param(
            TDX_TCB_INFO, {"tdxModuleIdentities": [MODULE_IDENTITY] * 257}, id="tdx-too-many"
        ),
        pytest.param(QE_IDENTITY, {"version": 1}, id="qe-version-1"),
        pytest.param(QE_IDENTITY, {"miscselect": "0000"}, id="qe-short-miscselect"),
        pytest.param(QE_IDENTITY, {"attributesMask": "FB"}, id="qe-short-mask"),
        pytest.param(QE_IDENTITY, {"isvprodid": 65536}, id="qe-product"),
        pytest.param(
            QE_IDENTITY,
            {
                "tcbLevels": [
                    {
                        "tcb": {"isvsvn": 1},
                        "tcbDate": "2024-03-13T00:00:00Z",
                        "tcbStatus": "ConfigurationNeeded",
                    }
                ]
            },
            id="qe-status-of-a-platform",
        ),
        *(
            pytest.param(QE_IDENTITY, {name: ABSENT}, id=f"qe-without-{name}")
            for name in QE_IDENTITY
        ),
    ],
)
def test_a_statement_that_is_wrong_is_refused(
    statement: dict[str, Any], difference: dict[str, Any]
) -> None:
    changed = {k: v for k, v in (statement | difference).items() if v is not ABSENT}
    parse = parse_qe_identity if "mrsigner" in statement else parse_tcb_info
    with pytest.raises(FormatError):
        parse(json.dumps(changed).encode())
