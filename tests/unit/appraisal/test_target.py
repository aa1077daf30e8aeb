"""Whether the target is the one that an identity names, and plain where it names nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from made_claims import NOW, claims, sgx_enclave, trust_domain
from made_policies import SGX, TDX, exception, policy
from sealserve.appraisal import PolicyCode, appraise
from sealserve.verifier.claims import SgxEnclave, TrustDomain

ENCLAVE = sgx_enclave(mr_signer=b"\x02" * 32, isv_prod_id=3, isv_svn=4)
SIGNER = f'mr_signer = "{"02" * 32}"\nisv_prod_id = 3\nminimum_isv_svn = 4'
ONE32, ONE48, ONE64 = b"\x01" * 32, b"\x01" * 48, b"\x01" * 64
XFRM = bytes.fromhex("e700000000000000")
XFRM_MASK = f'attributes_mask = "{"00" * 8}{"ff" * 8}"'
DOMAIN = trust_domain()
MIGRATABLE = bytes.fromhex("0000003000000000")
MIGRATION = f'{TDX}\ntd_attributes = "0000002000000000"\ntd_attributes_mask = "0000002000000000"'


def codes(target: SgxEnclave | TrustDomain, identity: str) -> list[PolicyCode]:
    """The codes of all conditions that fail."""
    result = appraise(claims(target), policy(identity), asked_for=None, now=NOW)
    return [condition.code for condition in result.outcomes[0].failed]


@pytest.mark.parametrize(
    ("changes", "identity"),
    [
        pytest.param({}, SGX, id="measurement"),
        pytest.param({}, SIGNER, id="signer"),
        pytest.param({}, f"{SGX}\n{SIGNER}", id="both"),
        pytest.param({"isv_svn": 5}, SIGNER, id="newer"),
        pytest.param({"mr_enclave": ONE32}, SIGNER, id="another build of the signer"),
        pytest.param({"mr_signer": ONE32, "isv_svn": 0}, SGX, id="the build of another signer"),
        pytest.param(
            {"mr_enclave": ONE32},
            f'mr_enclave = ["{"07" * 32}", "{ONE32.hex()}"]',
            id="one of several measurements",
        ),
        pytest.param(
            {"attributes": bytes.fromhex("8500000000000000") + XFRM}, SGX, id="64 bits, KSS, XFRM"
        ),
        pytest.param({"misc_select": 3}, SGX, id="EXINFO and CPINFO"),
        pytest.param(
            {"attributes": bytes.fromhex("1500000000000000") + XFRM},
            f'{SGX}\nattributes = "10{"00" * 15}"\nattributes_mask = "10{"00" * 15}"',
            id="PROVISIONKEY where named",
        ),
        pytest.param(
            {"misc_select": 1},
            f"{SGX}\nmisc_select = 1\nmisc_select_mask = 0xffffffff",
            id="MISCSELECT as named",
        ),
        pytest.param(
            {"config_id": ONE64, "config_svn": 3},
            f'{SGX}\nconfig_id = "{ONE64.hex()}"\nminimum_config_svn = 2',
            id="a configuration that is named",
        ),
        pytest.param(
            {"isv_ext_prod_id": b"\x01" * 16, "isv_family_id": b"\x02" * 16},
            f'{SGX}\nisv_ext_prod_id = "{"01" * 16}"\nisv_family_id = "{"02" * 16}"',
            id="a family and product that are named",
        ),
        pytest.param(
            dict.fromkeys(
                ("attributes", "misc_select", "config_id", "config_svn", "isv_ext_prod_id")
            ),
            SGX,
            id="fields that are neither stated nor named",
        ),
    ],
)
def test_an_enclave_as_named_is_accepted(changes: dict, identity: str) -> None:
    assert codes(replace(ENCLAVE, **changes), identity) == []


@pytest.mark.parametrize(
    ("changes", "identity", "code"),
    [
        pytest.param({"mr_enclave": ONE32}, SGX, PolicyCode.MEASUREMENT, id="measurement"),
        pytest.param(
            {"mr_enclave": ONE32}, f"{SGX}\n{SIGNER}", PolicyCode.MEASUREMENT, id="same signer"
        ),
        pytest.param({"mr_signer": ONE32}, SIGNER, PolicyCode.SIGNER, id="signer"),
        pytest.param({"isv_prod_id": 4}, SIGNER, PolicyCode.PRODUCT, id="product"),
        pytest.param({"isv_svn": 3}, SIGNER, PolicyCode.SVN, id="older"),
        pytest.param({"debug": True}, SGX, PolicyCode.DEBUG, id="debug"),
        *[
            pytest.param(
                {"attributes": (1 << bit).to_bytes(16, "little")},
                SGX,
                PolicyCode.ATTRIBUTES,
                id=f"attribute bit {bit}",
            )
            for bit in (3, 4, 5, 6, 8, 10, 31, 63)
        ],
        pytest.param(
            {"attributes": bytes.fromhex("1500000000000000") + XFRM},
            f'{SGX}\nattributes = "{"00" * 8}{XFRM.hex()}"\n{XFRM_MASK}',
            PolicyCode.ATTRIBUTES,
            id="PROVISIONKEY where only XFRM is named",
        ),
        pytest.param(
            {"attributes": bytes(8) + XFRM},
            f'{SGX}\nattributes = "{"00" * 8}03{"00" * 7}"\n{XFRM_MASK}',
            PolicyCode.ATTRIBUTES,
            id="another XFRM than named",
        ),
        pytest.param(
            {"attributes": None},
            f'{SGX}\nattributes = "{"00" * 16}"\nattributes_mask = "{"ff" * 16}"',
            PolicyCode.ATTRIBUTES,
            id="attributes that are named and not stated",
        ),
        pytest.param({"misc_select": 4}, SGX, PolicyCode.MISC_SELECT, id="unknown MISCSELECT"),
        pytest.param(
            {"misc_select": 1},
            f"{SGX}\nmisc_select = 0\nmisc_select_mask = 1",
            PolicyCode.MISC_SELECT,
            id="EXINFO where it is excluded",
        ),
        pytest.param({"config_id": ONE64}, SGX, PolicyCode.CONFIG_ID, id="unnamed configuration"),
        pytest.param(
            {"config_id": None},
            f'{SGX}\nconfig_id = "{ONE64.hex()}"',
            PolicyCode.CONFIG_ID,
            id="configuration that is not stated",
        ),
        pytest.param({"config_svn": 1}, SGX, PolicyCode.CONFIG_SVN, id="unnamed CONFIGSVN"),
        pytest.param(
            {"config_svn": 1},
            f"{SGX}\nminimum_config_svn = 2",
            PolicyCode.CONFIG_SVN,
            id="older configuration",
        ),
        pytest.param(
            {"config_svn": None},
            f"{SGX}\nminimum_config_svn = 0",
            PolicyCode.CONFIG_SVN,
            id="CONFIGSVN that is not stated",
        ),
        pytest.param(
            {"isv_ext_prod_id": b"\x01" * 16}, SGX, PolicyCode.EXT_PRODUCT, id="extended product"
        ),
        pytest.param({"isv_family_id": b"\x01" * 16}, SGX, PolicyCode.FAMILY, id="family"),
        pytest.param({}, TDX, PolicyCode.TEE, id="an enclave for a trust domain"),
    ],
)
def test_an_enclave_that_differs_in_one_respect_fails_that_condition_alone(
    changes: dict, identity: str, code: PolicyCode
) -> None:
    assert codes(replace(ENCLAVE, **changes), identity) == [code]


@pytest.mark.parametrize(
    ("changes", "identity"),
    [
        pytest.param({}, TDX, id="plain"),
        pytest.param({"rtmrs": (ONE48,) * 4}, TDX, id="any run-time measurement where it says so"),
        pytest.param(
            {"mr_seam": ONE48, "xfam": b"\xe7" + bytes(7)}, TDX, id="any module, any XFAM"
        ),
        pytest.param(
            {"mr_seam": ONE48}, f'{TDX}\nmr_seam = ["{"00" * 48}", "{ONE48.hex()}"]', id="mr_seam"
        ),
        *[
            pytest.param({key: ONE48}, f'{TDX}\n{key} = "{ONE48.hex()}"', id=f"{key} as named")
            for key in (
                "mr_signer_seam",
                "mr_config_id",
                "mr_owner",
                "mr_owner_config",
                "mr_service_td",
            )
        ],
        pytest.param({"xfam": b"\xe7" + bytes(7)}, f'{TDX}\nxfam = "e7{"00" * 7}"', id="xfam"),
        pytest.param({"mr_service_td": None}, TDX, id="TD 1.0, which says nothing of service TDs"),
        pytest.param(
            {"td_attributes": bytes.fromhex("0000001000000080")},
            f'{TDX}\ntd_attributes = "0000000000000080"\ntd_attributes_mask = "0000000000000080"',
            id="PERFMON where named",
        ),
        pytest.param(
            {"td_attributes": MIGRATABLE, "mr_service_td": bytes(48)},
            MIGRATION,
            id="MIGRATABLE where named, and no service TD",
        ),
        pytest.param(
            {"td_attributes": bytes(8)},
            f'{TDX}\ntd_attributes = "{"00" * 8}"\ntd_attributes_mask = "0000001000000000"',
            id="SEPT_VE_DISABLE named as clear",
        ),
    ],
)
def test_a_trust_domain_as_named_is_accepted(changes: dict, identity: str) -> None:
    assert codes(replace(DOMAIN, **changes), identity) == []


@pytest.mark.parametrize("bit", range(64))
def test_silence_allows_no_attribute_of_a_trust_domain_but_the_one_that_protects_it(
    bit: int,
) -> None:
    flipped = int.from_bytes(DOMAIN.td_attributes, "little") ^ (1 << bit)
    target = replace(DOMAIN, td_attributes=flipped.to_bytes(8, "little"))
    expected = PolicyCode.DEBUG if bit < 8 else PolicyCode.TD_ATTRIBUTES
    assert codes(target, TDX) == [expected]


@pytest.mark.parametrize("bit", range(8))
def test_naming_the_attributes_of_a_td_under_debug_does_not_allow_them(bit: int) -> None:
    attributes = (1 << bit | 1 << 28).to_bytes(8, "little")
    target = replace(DOMAIN, td_attributes=attributes)
    pinned = f'{TDX}\ntd_attributes = "{attributes.hex()}"\ntd_attributes_mask = "{"ff" * 8}"'
    assert codes(target, pinned) == [PolicyCode.DEBUG]


def test_debug_that_is_allowed_is_still_not_the_debug_that_a_pin_excludes() -> None:
    target = replace(DOMAIN, td_attributes=bytes.fromhex("0100001000000000"))
    pinned = f'{TDX}\ntd_attributes = "0000001000000000"\ntd_attributes_mask = "{"ff" * 8}"'
    allowing = policy(pinned, more=exception("dangerously_allow_debug = true"))
    result = appraise(claims(target), allowing, asked_for=None, now=NOW)
    assert result.code is PolicyCode.TD_ATTRIBUTES


@pytest.mark.parametrize(
    ("changes", "identity", "code"),
    [
        pytest.param({"mr_td": ONE48}, TDX, PolicyCode.MR_TD, id="mr_td"),
        *[
            pytest.param(
                {"rtmrs": tuple(ONE48 if n == number else bytes(48) for n in range(4))},
                TDX.replace(f'rtmr{number} = "any"', f'rtmr{number} = ["{"00" * 48}"]'),
                code,
                id=f"rtmr{number}",
            )
            for number, code in enumerate(
                (PolicyCode.RTMR0, PolicyCode.RTMR1, PolicyCode.RTMR2, PolicyCode.RTMR3)
            )
        ],
        pytest.param(
            {}, f'{TDX}\nmr_seam = ["{ONE48.hex()}"]', PolicyCode.MR_SEAM, id="another module"
        ),
        pytest.param({}, f'{TDX}\nxfam = "e7{"00" * 7}"', PolicyCode.XFAM, id="another XFAM"),
        *[
            pytest.param({key: ONE48}, TDX, code, id=f"{key} that is not named")
            for key, code in (
                ("mr_signer_seam", PolicyCode.MR_SIGNER_SEAM),
                ("mr_config_id", PolicyCode.MR_CONFIG_ID),
                ("mr_owner", PolicyCode.MR_OWNER),
                ("mr_owner_config", PolicyCode.MR_OWNER_CONFIG),
                ("mr_service_td", PolicyCode.MR_SERVICE_TD),
            )
        ],
        pytest.param(
            {"mr_owner": bytes(48)},
            f'{TDX}\nmr_owner = "{ONE48.hex()}"',
            PolicyCode.MR_OWNER,
            id="zero where a value is named",
        ),
        pytest.param(
            {"mr_service_td": None},
            f'{TDX}\nmr_service_td = "{"00" * 48}"',
            PolicyCode.MR_SERVICE_TD,
            id="a service TD that is named and not stated",
        ),
        pytest.param(
            {"td_attributes": MIGRATABLE, "mr_service_td": None},
            MIGRATION,
            PolicyCode.MR_SERVICE_TD,
            id="service TDs that are not stated where they may migrate the TD",
        ),
        pytest.param(
            {"td_attributes": MIGRATABLE, "mr_service_td": ONE48},
            MIGRATION,
            PolicyCode.MR_SERVICE_TD,
            id="service TDs that are not named where they may migrate the TD",
        ),
        pytest.param(
            {"seam_attributes": b"\x01" + bytes(7)},
            TDX,
            PolicyCode.SEAM_ATTRIBUTES,
            id="a debug module",
        ),
        pytest.param(
            {"td_attributes": bytes.fromhex("0000003000000080")},
            f'{TDX}\ntd_attributes = "0000000000000080"\ntd_attributes_mask = "0000000000000080"',
            PolicyCode.TD_ATTRIBUTES,
            id="MIGRATABLE where only PERFMON is named",
        ),
        pytest.param({}, SGX, PolicyCode.TEE, id="a trust domain for an enclave"),
    ],
)
def test_a_trust_domain_that_differs_in_one_respect_fails_that_condition_alone(
    changes: dict, identity: str, code: PolicyCode
) -> None:
    assert codes(replace(DOMAIN, **changes), identity) == [code]


@pytest.mark.parametrize("identity", [MIGRATION, f'{MIGRATION}\nmr_service_td = "{"01" * 48}"'])
def test_service_tds_that_a_quote_does_not_state_are_asked_of_one_that_does(identity: str) -> None:
    target = replace(DOMAIN, td_attributes=MIGRATABLE, mr_service_td=None)
    result = appraise(claims(target), policy(identity), asked_for=None, now=NOW)
    (failed,) = result.outcomes[0].failed
    assert "quote it in version 5" in str(failed.fix)


def test_attributes_are_told_by_name() -> None:
    target = replace(DOMAIN, td_attributes=bytes.fromhex("0000002000040080"))
    result = appraise(claims(target), policy(TDX), asked_for=None, now=NOW)
    (failed,) = result.outcomes[0].failed
    assert failed.found == "0000002000040080 (MIGRATABLE, bit 42, PERFMON)"
    assert "SEPT_VE_DISABLE, MIGRATABLE, bit 42, PERFMON" in str(failed.fix)
