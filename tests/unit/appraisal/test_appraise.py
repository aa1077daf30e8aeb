"""Who gets which secret, and what the result says about it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from made_claims import NOW, claims, dcap_standing, sgx_enclave, trust_domain
from made_policies import SGX, TDX, policy
from sealserve.appraisal import (
    AttestationResult,
    Grant,
    Policy,
    PolicyCode,
    appraise,
    appraise_by_default,
    parse_policy,
)
from sealserve.verifier.claims import Claims, TcbStatus

SIGNED = b"\x02" * 32
ENCLAVE = claims(sgx_enclave(mr_signer=SIGNED, isv_prod_id=3, isv_svn=4))
DOMAIN = claims(trust_domain())
ELSE = f'mr_enclave = ["{"07" * 32}"]'
SIGNER = f'mr_signer = "{SIGNED.hex()}"\nisv_prod_id = 3\nminimum_isv_svn = 4'
LAB = dcap_standing(trust_root_sha256=b"\x09" * 32, simulated=True)


def several(identities: dict[str, str], *rules: tuple[str, str]) -> Policy:
    """A policy of named identities, and of rules: the list that each names, and what else."""
    text = "version = 2\n"
    for name, identity in identities.items():
        text += f'[[identities]]\nname = "{name}"\n{identity}\n'
    for number, (named, rule) in enumerate(rules):
        text += f'[[rules]]\nname = "rule {number}"\nidentities = [{named}]\n'
        text += f'secret = "secret-{number}"\n{rule}\n'
    return parse_policy(text)


def appraised(
    evidence: Claims, granting: Policy, asked_for: str | None = None
) -> AttestationResult:
    return appraise(evidence, granting, asked_for=asked_for, now=NOW)


def test_nothing_is_granted_without_rules() -> None:
    result = appraised(ENCLAVE, several({"a": SGX}))
    assert (result.allowed, result.code, result.grant) == (False, PolicyCode.EMPTY, None)
    assert (result.decisive, result.rule, result.identity) == (None, None, None)
    assert "no rules" in " ".join(result.explanation)


def test_a_rule_is_for_any_of_its_identities() -> None:
    granting = several({"else": ELSE, "td": TDX, "enclave": SGX}, ('"else", "td", "enclave"', ""))
    result = appraised(ENCLAVE, granting)
    assert (result.allowed, result.rule, result.identity) == (True, "rule 0", "enclave")
    assert result.grant == Grant("secret-0", "raw")
    assert appraised(DOMAIN, granting).identity == "td"
    tried = [(outcome.rule, outcome.identity) for outcome in result.outcomes]
    assert tried == [("rule 0", "else"), ("rule 0", "td"), ("rule 0", "enclave")]


def test_the_first_rule_that_holds_decides_the_secret() -> None:
    three = several(
        {"a": SGX, "b": SIGNER},
        ('"a"', 'asked_for = ["a.example"]'),
        ('"b"', 'encoding = "hex"'),
        ('"a"', ""),
    )
    assert appraised(ENCLAVE, three, "a.example").grant == Grant("secret-0", "raw")
    assert appraised(ENCLAVE, three, "b.example").grant == Grant("secret-1", "hex")


def test_conditions_of_two_rules_do_not_add_up() -> None:
    """Each rule lacks one thing that the other has."""
    two = several({"a": SGX, "b": ELSE}, ('"a"', 'asked_for = ["a.example"]'), ('"b"', ""))
    assert not appraised(ENCLAVE, two, "b.example").allowed


def test_conditions_of_two_identities_do_not_add_up() -> None:
    other = SIGNER.replace("02" * 32, "03" * 32)
    named = several({"a": f"{SGX}\n{other}", "b": f"{ELSE}\n{SIGNER}"}, ('"a", "b"', ""))
    assert not appraised(ENCLAVE, named).allowed


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
    restricted = policy(rule='asked_for = ["Models.example", "b.example"]')
    result = appraised(ENCLAVE, restricted, asked_for)
    assert result.allowed is allowed
    assert result.code is (PolicyCode.ALLOWED if allowed else PolicyCode.ASKED_FOR)


@pytest.mark.parametrize(
    ("identities", "rules", "nearest"),
    [
        pytest.param(
            {"a": ELSE, "b": ELSE},
            [('"a"', 'asked_for = ["x.example"]'), ('"b"', "")],
            ("rule 1", "b", PolicyCode.MEASUREMENT),
            id="fewest failures",
        ),
        pytest.param(
            {"a": ELSE, "b": SGX},
            [('"a"', ""), ('"b"', 'asked_for = ["x.example"]')],
            ("rule 1", "b", PolicyCode.ASKED_FOR),
            id="the same target before another one",
        ),
        pytest.param(
            {"td": TDX, "a": f"{ELSE}\n{SIGNER}".replace("02" * 32, "03" * 32)},
            [('"td", "a"', "")],
            ("rule 0", "a", PolicyCode.MEASUREMENT),
            id="another target before another kind of TEE",
        ),
        pytest.param(
            {"a": ELSE, "b": ELSE},
            [('"a", "b"', ""), ('"b"', "")],
            ("rule 0", "a", PolicyCode.MEASUREMENT),
            id="of equals the first",
        ),
    ],
)
def test_a_denial_names_the_rule_and_identity_that_came_nearest(
    identities: dict[str, str], rules: list[tuple[str, str]], nearest: tuple[str, str, PolicyCode]
) -> None:
    result = appraised(ENCLAVE, several(identities, *rules))
    assert (result.rule, result.identity, result.code) == nearest


def test_the_explanation_has_every_condition_with_found_and_expected() -> None:
    evidence = claims(sgx_enclave(mr_signer=SIGNED, isv_prod_id=3, isv_svn=1, debug=True))
    result = appraised(evidence, policy(SIGNER), "x.example")
    explanation = "\n".join(result.explanation)
    assert (
        "rule 'rule', identity 'target': minimum_isv_svn FAILS: found 1, expected 4 or more"
    ) in explanation
    assert "found a debug enclave, expected a production enclave" in explanation
    assert f"mr_signer holds: {SIGNED.hex()}" in explanation
    assert "TCB status UpToDate, advisories none" in explanation
    assert result.decisive is not None
    failed = [condition.code for condition in result.decisive.failed]
    assert failed == [PolicyCode.SVN, PolicyCode.DEBUG]


def test_what_failed_says_what_would_fix_it_and_what_held_does_not() -> None:
    result = appraised(
        claims(sgx_enclave(debug=True, config_svn=7)), several({"a": ELSE}, ('"a"', ""))
    )
    for condition in result.outcomes[0].conditions:
        assert bool(condition.fix) is not condition.held
    assert len(result.outcomes[0].failed) == 3


def test_what_is_simulated_is_said_to_be() -> None:
    lab = policy(head=f'trust_root = "{"09" * 32}"')
    assert "SIMULATED" in "\n".join(appraised(claims(standing=LAB), lab).explanation)
    assert "SIMULATED" not in "\n".join(appraised(claims(), policy()).explanation)


def test_a_long_list_is_told_in_a_few_entries() -> None:
    many = ", ".join(f'"{number:064x}"' for number in range(1, 1001))
    (failed,) = appraised(claims(), policy(f"mr_enclave = [{many}]")).outcomes[0].failed
    assert "and 992 more" in failed.expected
    assert len(failed.expected) < 1000


@pytest.mark.parametrize("target", [sgx_enclave(), trust_domain()], ids=["SGX", "TDX"])
@pytest.mark.parametrize("status", [*TcbStatus])
def test_without_a_policy_the_status_is_reported_and_nothing_is_granted(
    target, status: TcbStatus
) -> None:
    standing = dcap_standing(tcb_status=status, collateral_valid_until=NOW - timedelta(days=9))
    result = appraise_by_default(claims(target, standing))
    assert (result.allowed, result.grant, result.exceptions) == (True, None, ())
    assert f"TCB status {status}" in "\n".join(result.explanation)


@pytest.mark.parametrize(
    "target",
    [sgx_enclave(debug=True), trust_domain(td_attributes=bytes.fromhex("2000001000000000"))],
    ids=["SGX", "TDX"],
)
def test_without_a_policy_nothing_under_debug_is_accepted(target) -> None:
    assert appraise_by_default(claims(target)).code is PolicyCode.DEBUG


def test_without_a_policy_what_the_caller_skipped_by_name_is_the_callers_to_answer_for() -> None:
    evidence = claims(standing=dcap_standing(revocation_checked=False))
    assert appraise_by_default(evidence).allowed
