"""Who gets which secret, and what the result says about it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from sealserve.appraisal import (
    Grant,
    Policy,
    PolicyCode,
    appraise,
    appraise_by_default,
    parse_policy,
)
from sealserve.verifier.claims import Claims, TcbStatus

NOW = datetime(2026, 6, 1, tzinfo=UTC)
INTEL = bytes.fromhex("44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3")
MEASURED, SIGNED = b"\x01" * 32, b"\x02" * 32
CLAIMS = Claims(
    tee="SGX",
    quote_version=3,
    mr_enclave=MEASURED,
    mr_signer=SIGNED,
    isv_prod_id=3,
    isv_svn=4,
    debug=False,
    attributes=bytes(16),
    misc_select=0,
    report_data=bytes(64),
    config_id=bytes(64),
    config_svn=0,
    isv_ext_prod_id=bytes(16),
    isv_family_id=bytes(16),
    fmspc=bytes(6),
    pce_id=bytes(2),
    ppid=bytes(16),
    platform_instance_id=None,
    cpu_svn=bytes(16),
    pce_svn=1,
    tcb_status=TcbStatus.UP_TO_DATE,
    platform_tcb_status=TcbStatus.UP_TO_DATE,
    qe_tcb_status=TcbStatus.UP_TO_DATE,
    advisory_ids=(),
    tcb_date=NOW,
    tcb_evaluation_data_number=17,
    collateral_valid_from=NOW,
    collateral_valid_until=NOW,
    trust_root_sha256=INTEL,
    simulated=False,
    verified_at=NOW,
)
SIMULATED = replace(CLAIMS, trust_root_sha256=b"\x09" * 32, simulated=True)
HARDENED = replace(
    CLAIMS,
    tcb_status=TcbStatus.SW_HARDENING_NEEDED,
    advisory_ids=("INTEL-SA-00334", "INTEL-SA-00615"),
)


def policy(*rules: str, trust_root: str = "intel") -> Policy:
    texts = [
        f'[[rules]]\nname = "rule {n}"\nsecret = "secret-{n}"\n{rule}\n'
        for n, rule in enumerate(rules)
    ]
    return parse_policy(f'trust_root = "{trust_root}"\n' + "".join(texts))


BY_MEASUREMENT = f'mr_enclave = ["{"00" * 32}", "{MEASURED.hex()}"]'
BY_SIGNER = f'mr_signer = "{SIGNED.hex()}"\nisv_prod_id = 3\nminimum_isv_svn = 4'


@pytest.mark.parametrize(
    ("claims", "rule", "code"),
    [
        pytest.param(CLAIMS, BY_MEASUREMENT, PolicyCode.ALLOWED, id="by-measurement"),
        pytest.param(CLAIMS, BY_SIGNER, PolicyCode.ALLOWED, id="by-signer"),
        pytest.param(replace(CLAIMS, isv_svn=5), BY_SIGNER, PolicyCode.ALLOWED, id="newer-version"),
        pytest.param(CLAIMS, f"{BY_MEASUREMENT}\n{BY_SIGNER}", PolicyCode.ALLOWED, id="by-both"),
        pytest.param(
            HARDENED,
            BY_MEASUREMENT
            + '\ntcb_statuses = ["UpToDate", "SWHardeningNeeded"]'
            + '\nallowed_advisories = ["INTEL-SA-00615", "INTEL-SA-00334", "INTEL-SA-00001"]',
            PolicyCode.ALLOWED,
            id="accepted-status-and-advisories",
        ),
        pytest.param(
            replace(CLAIMS, debug=True),
            BY_MEASUREMENT + "\ndangerously_allow_debug_enclaves = true",
            PolicyCode.ALLOWED,
            id="debug-where-allowed",
        ),
        pytest.param(
            replace(CLAIMS, mr_enclave=b"\x03" * 32),
            BY_MEASUREMENT,
            PolicyCode.MEASUREMENT,
            id="other-measurement",
        ),
        pytest.param(
            replace(CLAIMS, mr_enclave=b"\x03" * 32),
            f"{BY_MEASUREMENT}\n{BY_SIGNER}",
            PolicyCode.MEASUREMENT,
            id="other-measurement-of-the-same-signer",
        ),
        pytest.param(
            replace(CLAIMS, mr_signer=b"\x03" * 32), BY_SIGNER, PolicyCode.SIGNER, id="signer"
        ),
        pytest.param(replace(CLAIMS, isv_prod_id=4), BY_SIGNER, PolicyCode.PRODUCT, id="product"),
        pytest.param(replace(CLAIMS, isv_svn=3), BY_SIGNER, PolicyCode.SVN, id="older-version"),
        pytest.param(replace(CLAIMS, debug=True), BY_MEASUREMENT, PolicyCode.DEBUG, id="debug"),
        pytest.param(HARDENED, BY_MEASUREMENT, PolicyCode.TCB_STATUS, id="tcb-status"),
        pytest.param(
            HARDENED,
            BY_MEASUREMENT
            + '\ntcb_statuses = ["SWHardeningNeeded"]\nallowed_advisories = ["INTEL-SA-00615"]',
            PolicyCode.ADVISORIES,
            id="one-advisory-more",
        ),
        pytest.param(
            replace(CLAIMS, advisory_ids=("INTEL-SA-00615",)),
            BY_MEASUREMENT,
            PolicyCode.ADVISORIES,
            id="up-to-date-with-an-advisory",
        ),
        pytest.param(
            CLAIMS,
            BY_MEASUREMENT + '\ntcb_statuses = ["OutOfDate"]',
            PolicyCode.TCB_STATUS,
            id="status-that-is-better-than-listed",
        ),
        pytest.param(SIMULATED, BY_MEASUREMENT, PolicyCode.SIMULATED, id="simulated"),
    ],
)
def test_a_rule_grants_when_all_its_conditions_hold(
    claims: Claims, rule: str, code: PolicyCode
) -> None:
    result = appraise(claims, policy(rule), asked_for=None)
    assert result.code is code
    assert result.allowed == (code is PolicyCode.ALLOWED)
    assert (result.grant is not None) == result.allowed
    assert result.rule == "rule 0"


def test_nothing_is_granted_without_rules() -> None:
    result = appraise(CLAIMS, Policy(), asked_for=None)
    assert (result.allowed, result.code, result.rule, result.grant) == (
        False,
        PolicyCode.EMPTY,
        None,
        None,
    )
    assert "no rules" in " ".join(result.explanation)


def test_a_named_root_is_accepted_and_no_other() -> None:
    named = policy(BY_MEASUREMENT, trust_root="09" * 32)
    assert appraise(SIMULATED, named, asked_for=None).allowed
    other = replace(SIMULATED, trust_root_sha256=b"\x08" * 32)
    for claims in (other, CLAIMS):
        assert appraise(claims, named, asked_for=None).code is PolicyCode.TRUST_ROOT


def test_what_is_simulated_is_said_to_be() -> None:
    named = policy(BY_MEASUREMENT, trust_root="09" * 32)
    explanation = "\n".join(appraise(SIMULATED, named, asked_for=None).explanation)
    assert "SIMULATED" in explanation
    assert "SIMULATED" not in "\n".join(
        appraise(CLAIMS, policy(BY_MEASUREMENT), asked_for=None).explanation
    )


@pytest.mark.parametrize(
    ("asked_for", "allowed"),
    [
        ("models.example", True),
        ("MODELS.example", True),
        ("b.example", True),
        ("example", False),
        ("models.example.evil", False),
        ("", False),
        (None, False),
    ],
)
def test_a_rule_may_be_for_some_names_only(asked_for: str | None, allowed: bool) -> None:
    restricted = policy(BY_MEASUREMENT + '\nasked_for = ["Models.example", "b.example"]')
    result = appraise(CLAIMS, restricted, asked_for=asked_for)
    assert result.allowed is allowed
    assert result.code is (PolicyCode.ALLOWED if allowed else PolicyCode.ASKED_FOR)


def test_the_first_rule_that_holds_decides_the_secret() -> None:
    three = policy(
        BY_MEASUREMENT + '\nasked_for = ["a.example"]',
        BY_SIGNER + '\nencoding = "hex"',
        BY_MEASUREMENT,
    )
    assert appraise(CLAIMS, three, asked_for="a.example").grant == Grant("secret-0", "raw")
    assert appraise(CLAIMS, three, asked_for="b.example").grant == Grant("secret-1", "hex")


def test_conditions_of_two_rules_do_not_add_up() -> None:
    """Each rule lacks one thing that the other has."""
    two = policy(
        BY_MEASUREMENT,
        f'mr_enclave = ["{"07" * 32}"]\ndangerously_allow_debug_enclaves = true',
    )
    assert not appraise(replace(CLAIMS, debug=True), two, asked_for=None).allowed


def test_a_denial_names_the_rule_that_came_nearest() -> None:
    two = policy(
        f'mr_enclave = ["{"07" * 32}"]\nasked_for = ["x.example"]',
        f'mr_enclave = ["{"08" * 32}"]',
    )
    result = appraise(CLAIMS, two, asked_for=None)
    assert (result.rule, result.code) == ("rule 1", PolicyCode.MEASUREMENT)


def test_the_explanation_has_every_condition_with_found_and_expected() -> None:
    result = appraise(
        replace(CLAIMS, isv_svn=1, debug=True), policy(BY_SIGNER), asked_for="x.example"
    )
    explanation = "\n".join(result.explanation)
    assert "rule 'rule 0': minimum_isv_svn FAILS: found 1, expected 4 or more" in explanation
    assert "found a debug enclave, expected a production enclave" in explanation
    assert f"mr_signer holds: {SIGNED.hex()}" in explanation
    assert "TCB status UpToDate, advisories none" in explanation
    assert [condition.code for condition in result.outcomes[0].failed] == [
        PolicyCode.SVN,
        PolicyCode.DEBUG,
    ]


@pytest.mark.parametrize("status", list(TcbStatus))
def test_without_a_policy_the_status_is_reported_and_debug_is_denied(status: TcbStatus) -> None:
    claims = replace(CLAIMS, tcb_status=status)
    result = appraise_by_default(claims)
    assert result.allowed
    assert result.grant is None
    assert f"TCB status {status}" in "\n".join(result.explanation)
    denied = appraise_by_default(replace(claims, debug=True))
    assert (denied.allowed, denied.code) == (False, PolicyCode.DEBUG)
