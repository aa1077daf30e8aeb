"""Which verifier is believed, and what its platform must be."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from made_claims import INTEL, NOW, claims, dcap_standing, trust_domain
from made_policies import SGX, TDX, exception, policy
from sealserve.appraisal import PolicyCode, appraise, appraise_by_default
from sealserve.errors import ConfigError
from sealserve.verifier.claims import AzureStanding, DcapStanding, TcbStatus

FMSPC = bytes.fromhex("00606a000000")
PPID, INSTANCE = b"\x05" * 16, b"\x06" * 16
DCAP = dcap_standing(fmspc=FMSPC, ppid=PPID, platform_instance_id=INSTANCE)
LAB = replace(DCAP, trust_root_sha256=b"\x09" * 32, simulated=True)
ISSUER = "https://sharedweu.weu.attest.azure.net"
AZURE = AzureStanding(
    issuer=ISSUER,
    token_id="t",
    policy_hash="x" * 43,
    tcb_status=None,
    token_valid_from=NOW,
    token_valid_until=NOW + timedelta(hours=8),
    simulated=False,
)
MAA = f'[maa]\nissuers = ["{ISSUER}"]\npolicy_hashes = ["{"x" * 43}"]\n'
SETUP = {
    "dynamic_platform": PolicyCode.DYNAMIC_PLATFORM,
    "cached_keys": PolicyCode.CACHED_KEYS,
    "smt_enabled": PolicyCode.SMT_ENABLED,
}
LAB_ROOT = f'trust_root = "{"09" * 32}"\n'


def codes(standing: DcapStanding | AzureStanding, head: str = "") -> list[PolicyCode]:
    """The codes of all conditions that fail under a policy with `head`."""
    root, _, tables = head.partition("[")
    text = policy(head=root, more=f"[{tables}" if tables else "")
    result = appraise(claims(standing=standing), text, asked_for=None, now=NOW)
    return [condition.code for condition in result.outcomes[0].failed]


@pytest.mark.parametrize(
    ("standing", "head", "failed"),
    [
        pytest.param(DCAP, "", [], id="Intel's root"),
        pytest.param(LAB, LAB_ROOT, [], id="the root that is named"),
        pytest.param(DCAP, f'trust_root = "{INTEL.hex()}"\n', [], id="Intel's by its fingerprint"),
        pytest.param(LAB, "", [PolicyCode.SIMULATED], id="the lab where nothing is named"),
        pytest.param(
            replace(LAB, trust_root_sha256=b"\x08" * 32),
            LAB_ROOT,
            [PolicyCode.TRUST_ROOT],
            id="another lab than the one named",
        ),
        pytest.param(
            replace(LAB, simulated=False),
            "",
            [PolicyCode.SIMULATED],
            id="a lab that does not say so",
        ),
        pytest.param(
            replace(AZURE, simulated=True),
            f'trust_root = "{INTEL.hex()}"\n{MAA}',
            [PolicyCode.SIMULATED],
            id="a test issuer under Intel's root by its fingerprint",
        ),
        pytest.param(DCAP, LAB_ROOT, [PolicyCode.TRUST_ROOT], id="Intel's where a lab is named"),
        pytest.param(
            replace(DCAP, revocation_checked=False), "", [PolicyCode.REVOCATION], id="no CRLs"
        ),
        pytest.param(
            replace(DCAP, collateral_valid_until=NOW - timedelta(seconds=1)),
            "",
            [PolicyCode.COLLATERAL_AGE],
            id="collateral past its end",
        ),
        pytest.param(DCAP, f'[platform]\nfmspcs = ["{FMSPC.hex()}"]', [], id="FMSPC"),
        pytest.param(
            DCAP, '[platform]\nfmspcs = ["00906ed50000"]', [PolicyCode.FMSPC], id="another FMSPC"
        ),
        pytest.param(DCAP, f'[platform]\nplatform_ids = ["{PPID.hex()}"]', [], id="PPID"),
        pytest.param(
            DCAP, f'[platform]\nplatform_ids = ["{INSTANCE.hex()}"]', [], id="platform instance"
        ),
        pytest.param(
            DCAP,
            f'[platform]\nplatform_ids = ["{"00" * 16}"]',
            [PolicyCode.PLATFORM_ID],
            id="another machine",
        ),
        pytest.param(
            replace(DCAP, platform_instance_id=None),
            f'[platform]\nplatform_ids = ["{INSTANCE.hex()}"]',
            [PolicyCode.PLATFORM_ID],
            id="a machine without an instance id",
        ),
        pytest.param(
            DCAP, "[platform]\nminimum_tcb_evaluation_data_number = 17", [], id="evaluation 17"
        ),
        pytest.param(
            DCAP,
            "[platform]\nminimum_tcb_evaluation_data_number = 18",
            [PolicyCode.EVALUATION_DATA_NUMBER],
            id="an older evaluation",
        ),
        *[
            pytest.param(
                replace(DCAP, **{key: found}),
                f"[platform]\n{key} = {str(wanted).lower()}",
                [] if found is wanted else [code],
                id=f"{key} {found} where {wanted} is named",
            )
            for key, code in SETUP.items()
            for found in (None, False, True)
            for wanted in (False, True)
        ],
        pytest.param(DCAP, MAA, [], id="our own verifier, whatever [maa] says"),
        pytest.param(AZURE, MAA, [], id="a token of the named instance and policy"),
        pytest.param(AZURE, "", [PolicyCode.MAA], id="a token where none is accepted"),
        pytest.param(
            replace(AZURE, issuer="https://evil.weu.attest.azure.net"),
            MAA,
            [PolicyCode.MAA_ISSUER],
            id="a token of another instance",
        ),
        pytest.param(
            replace(AZURE, policy_hash="y" * 43),
            MAA,
            [PolicyCode.MAA_POLICY],
            id="a token under another policy",
        ),
        pytest.param(
            replace(AZURE, token_valid_until=NOW), MAA, [PolicyCode.MAA_AGE], id="an old token"
        ),
        pytest.param(
            replace(AZURE, simulated=True), MAA, [PolicyCode.SIMULATED], id="not Microsoft's issuer"
        ),
        pytest.param(
            replace(AZURE, simulated=True), LAB_ROOT + MAA, [], id="a test issuer in a lab's policy"
        ),
        *[
            pytest.param(AZURE, f"{MAA}[platform]\n{rule}", [code], id=f"{code} of a token")
            for rule, code in (
                (f'fmspcs = ["{FMSPC.hex()}"]', PolicyCode.FMSPC),
                (f'platform_ids = ["{PPID.hex()}"]', PolicyCode.PLATFORM_ID),
                ("minimum_tcb_evaluation_data_number = 1", PolicyCode.EVALUATION_DATA_NUMBER),
                *((f"{key} = false", code) for key, code in SETUP.items()),
            )
        ],
    ],
)
def test_a_platform_is_accepted_on_the_word_of_a_named_verifier_alone(
    standing: DcapStanding | AzureStanding, head: str, failed: list[PolicyCode]
) -> None:
    assert codes(standing, head) == failed


def test_no_exception_accepts_evidence_that_was_not_checked_for_revocation() -> None:
    every = ", ".join(f'"{each}"' for each in TcbStatus if each not in ("UpToDate", "Revoked"))
    weak = exception(
        f"tcb_statuses = [{every}]\ncollateral_grace_hours = 720\ndangerously_allow_debug = true"
    )
    evidence = claims(standing=replace(DCAP, revocation_checked=False))
    result = appraise(evidence, policy(more=weak), asked_for=None, now=NOW)
    assert result.code is PolicyCode.REVOCATION


@pytest.mark.parametrize("key", SETUP)
@pytest.mark.parametrize("found", [None, False, True])
def test_how_a_platform_is_set_up_counts_only_where_it_is_named(key: str, found: bool) -> None:
    assert codes(replace(DCAP, **{key: found})) == []


@pytest.mark.parametrize("value", ['"false"', "0", "[false]"])
def test_how_a_platform_is_set_up_is_named_as_true_or_false(value: str) -> None:
    with pytest.raises(ConfigError, match=r"platform\.smt_enabled: .* expected true or false"):
        policy(head=f"[platform]\nsmt_enabled = {value}")


def test_a_status_that_a_token_states_is_judged() -> None:
    standing = replace(AZURE, tcb_status=TcbStatus.OUT_OF_DATE)
    evidence = claims(trust_domain(), standing)
    denied = appraise(evidence, policy(TDX, more=MAA), asked_for=None, now=NOW)
    assert denied.code is PolicyCode.TCB_STATUS
    weak = exception('tcb_statuses = ["OutOfDate"]')
    result = appraise(evidence, policy(TDX, more=MAA + weak), asked_for=None, now=NOW)
    assert result.exceptions == ("for a while",)


def test_an_exception_for_some_platforms_does_not_cover_a_token() -> None:
    scoped = exception(f'dangerously_allow_debug = true\nfmspcs = ["{FMSPC.hex()}"]')
    debug = trust_domain(td_attributes=bytes.fromhex("0100001000000000"))
    granting = policy(TDX, more=MAA + scoped)
    result = appraise(claims(debug, AZURE), granting, asked_for=None, now=NOW)
    assert result.code is PolicyCode.DEBUG


def test_the_result_says_which_verifier_spoke() -> None:
    result = appraise(claims(standing=AZURE), policy(SGX, more=MAA), asked_for=None, now=NOW)
    assert f"verified by Azure Attestation, {ISSUER}" in result.explanation


def test_without_a_policy_a_token_is_taken_from_the_instance_that_the_caller_asked() -> None:
    assert appraise_by_default(claims(standing=AZURE)).allowed


def test_a_bad_status_names_the_part_that_is_to_blame_and_what_would_fix_it() -> None:
    standing = replace(
        DCAP,
        tcb_status=TcbStatus.OUT_OF_DATE,
        qe_tcb_status=TcbStatus.OUT_OF_DATE,
        tdx_module_tcb_status=None,
    )
    result = appraise(claims(standing=standing), policy(), asked_for=None, now=NOW)
    (failed,) = result.outcomes[0].failed
    assert failed.found == "OutOfDate (platform UpToDate, quoting enclave OutOfDate)"
    assert failed.fix is not None
    assert failed.fix.startswith("update the platform's firmware and microcode")
