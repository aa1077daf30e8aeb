"""An appraisal in AR4SI's words: each row of the table in docs/results.md, and the tiers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from made_claims import (
    NOW,
    any_claims,
    azure_standing,
    claims,
    dcap_standing,
    sgx_enclave,
    trust_domain,
)
from made_policies import SGX, TDX, exception, policy
from sealserve.appraisal import (
    Policy,
    Revocations,
    appraise,
    appraise_by_default,
    parse_policy,
)
from sealserve.appraisal.trustworthiness import VECTOR, Tier, status, tier_of, vector_of, worst
from sealserve.verifier.claims import Claims, TcbStatus

unhurried = settings(deadline=None)  # a loaded machine is no failure
PAGE = Path(__file__).parents[3] / "docs" / "results.md"
FOREIGN = b"\x07" * 32
ROOT = f'trust_root = "{FOREIGN.hex()}"'
LAB = dcap_standing(trust_root_sha256=FOREIGN, simulated=True)
DEBUG_TD = trust_domain(td_attributes=(1 << 28 | 1).to_bytes(8, "little"))
FIRMWARE_TO_KERNEL = f'tee = "TDX"\nmr_td = ["{bytes(48).hex()}"]\nrtmr3 = "any"\n' + "".join(
    f'rtmr{n} = ["{bytes(48).hex()}"]\n' for n in range(3)
)
AZURE = f'[maa]\nissuers = ["https://a.weu.attest.azure.net"]\npolicy_hashes = ["{"A" * 43}"]'


def token(**changes):
    stated = {"issuer": "https://a.weu.attest.azure.net", "policy_hash": "A" * 43}
    ends = {"token_valid_until": NOW.replace(year=2027)}
    return claims(standing=azure_standing(**{**stated, **ends, **changes}))


@pytest.mark.parametrize(
    ("tier", "values"),
    [
        (Tier.NONE, range(-1, 2)),
        (Tier.AFFIRMING, [*range(2, 32), *range(-32, -1)]),
        (Tier.WARNING, [*range(32, 96), *range(-96, -32)]),
        (Tier.CONTRAINDICATED, [*range(96, 128), *range(-128, -96)]),
    ],
)
def test_every_number_is_in_one_tier(tier: Tier, values) -> None:
    assert {tier_of(value) for value in values} == {tier}


@unhurried
@given(st.lists(st.integers(-128, 127)))
def test_the_worst_tier_stands_whatever_else_is_claimed(values: list[int]) -> None:
    order = [Tier.NONE, Tier.AFFIRMING, Tier.WARNING, Tier.CONTRAINDICATED]
    expected = max((order.index(tier_of(value)) for value in values), default=0)
    assert worst(values) is order[expected]


GOOD = {"configuration": 3, "executables": 3, "hardware": 2, "runtime-opaque": 2}


def stated(status: TcbStatus, *advisories: str) -> Claims:
    return claims(standing=dcap_standing(tcb_status=status, advisory_ids=advisories))


def excepting(*statuses: str, advisories: tuple[str, ...] = ()) -> Policy:
    text = f"tcb_statuses = {list(statuses)}\nadvisory_ids = {list(advisories)}"
    return policy(more=exception(text))


def platform(text: str) -> Policy:
    return policy(head=f"[platform]\n{text}")


ROWS = {
    "nothing against it": (claims(), policy(), {}, Tier.AFFIRMING),
    "hardening, excepted": (
        stated(TcbStatus.SW_HARDENING_NEEDED, "INTEL-SA-00334"),
        excepting("SWHardeningNeeded", advisories=("INTEL-SA-00334",)),
        {"hardware": 32},
        Tier.WARNING,
    ),
    "an advisory, excepted": (
        stated(TcbStatus.UP_TO_DATE, "INTEL-SA-00334"),
        excepting(advisories=("INTEL-SA-00334",)),
        {"hardware": 32},
        Tier.WARNING,
    ),
    "an advisory": (
        stated(TcbStatus.UP_TO_DATE, "INTEL-SA-00334"),
        policy(),
        {"hardware": 96},
        Tier.CONTRAINDICATED,
    ),
    "configuration, excepted": (
        stated(TcbStatus.CONFIGURATION_NEEDED),
        excepting("ConfigurationNeeded"),
        {"configuration": 32},
        Tier.WARNING,
    ),
    "configuration": (
        stated(TcbStatus.CONFIGURATION_NEEDED),
        policy(),
        {"configuration": 96},
        Tier.CONTRAINDICATED,
    ),
    "out of date": (
        stated(TcbStatus.OUT_OF_DATE),
        policy(),
        {"hardware": 96},
        Tier.CONTRAINDICATED,
    ),
    "out of date and configuration, excepted": (
        stated(TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED),
        excepting("OutOfDateConfigurationNeeded"),
        {"configuration": 32, "hardware": 32},
        Tier.WARNING,
    ),
    "a relaunch, excepted": (
        stated(TcbStatus.TD_RELAUNCH_ADVISED),
        excepting("TDRelaunchAdvised"),
        {"hardware": 32},
        Tier.WARNING,
    ),
    "another enclave": (
        claims(sgx_enclave(mr_enclave=b"\x01" * 32)),
        policy(),
        {"executables": 33},
        Tier.CONTRAINDICATED,
    ),
    "another kind of TEE": (
        claims(trust_domain()),
        policy(),
        {"executables": 33},
        Tier.CONTRAINDICATED,
    ),
    "a debug enclave": (
        claims(sgx_enclave(debug=True)),
        policy(),
        {"runtime-opaque": 96},
        Tier.CONTRAINDICATED,
    ),
    "a debug enclave, excepted": (
        claims(sgx_enclave(debug=True)),
        policy(more=exception("dangerously_allow_debug = true")),
        {"runtime-opaque": 96},
        Tier.CONTRAINDICATED,
    ),
    "a debug TD": (
        claims(DEBUG_TD),
        policy(FIRMWARE_TO_KERNEL),
        {"runtime-opaque": 96},
        Tier.CONTRAINDICATED,
    ),
    "a TD by firmware, loader and kernel": (
        claims(trust_domain()),
        policy(FIRMWARE_TO_KERNEL),
        {},
        Tier.AFFIRMING,
    ),
    "a TD by its firmware alone": (
        claims(trust_domain()),
        policy(TDX),
        {"executables": None},
        Tier.AFFIRMING,
    ),
    "another root that the policy names": (
        claims(standing=LAB),
        policy(head=ROOT),
        {"hardware": -33},
        Tier.WARNING,
    ),
    "another root than the policy names": (
        claims(standing=LAB),
        policy(),
        {"configuration": None, "hardware": 97},
        Tier.CONTRAINDICATED,
    ),
    "a lab with an advisory": (
        claims(
            standing=dcap_standing(
                trust_root_sha256=FOREIGN, simulated=True, advisory_ids=("INTEL-SA-00334",)
            )
        ),
        policy(head=ROOT, more=exception('advisory_ids = ["INTEL-SA-00334"]')),
        {"hardware": 32},
        Tier.WARNING,
    ),
    "a kind of platform that is accepted": (
        claims(),
        platform(f'fmspcs = ["{bytes(6).hex()}"]'),
        {},
        Tier.AFFIRMING,
    ),
    "another kind of platform": (
        claims(),
        platform('fmspcs = ["00606a000000"]'),
        {"hardware": 97},
        Tier.CONTRAINDICATED,
    ),
    "a machine that is known": (
        claims(),
        platform(f'platform_ids = ["{bytes(16).hex()}"]'),
        {"instance-identity": 2},
        Tier.AFFIRMING,
    ),
    "a machine that is not": (
        claims(),
        platform(f'platform_ids = ["{"01" * 16}"]'),
        {"instance-identity": 97},
        Tier.CONTRAINDICATED,
    ),
    "Intel's numbers are too old": (
        claims(),
        platform("minimum_tcb_evaluation_data_number = 18"),
        {"hardware": 96},
        Tier.CONTRAINDICATED,
    ),
    "hyper-threading where none is wanted": (
        claims(standing=dcap_standing(smt_enabled=True)),
        platform("smt_enabled = false"),
        {"configuration": 96},
        Tier.CONTRAINDICATED,
    ),
    "Azure's token": (token(), policy(head=AZURE), {"configuration": None}, Tier.AFFIRMING),
    "Azure's token that nobody asked for": (
        token(),
        policy(),
        {"configuration": None, "hardware": None},
        Tier.CONTRAINDICATED,
    ),
    "a name that the rule is not for": (
        claims(),
        policy(rule='asked_for = ["a.example"]'),
        {},
        Tier.CONTRAINDICATED,
    ),
}


@pytest.mark.parametrize(("found", "by", "changes", "tier"), ROWS.values(), ids=ROWS)
def test_a_row_of_the_table(found: Claims, by: Policy, changes: dict, tier: Tier) -> None:
    result = appraise(found, by, asked_for=None, now=NOW)
    expected = {name: value for name, value in (GOOD | changes).items() if value is not None}
    vector = vector_of(result, found)
    assert vector == expected
    assert status(result, vector) is tier


REVOKED_ROWS = {
    "a build": (claims(), Revocations(measurements=frozenset({bytes(32)})), {"executables": 96}),
    "a signer": (claims(), Revocations(signers=frozenset({bytes(32)})), {"executables": 96}),
    "a machine": (claims(), Revocations(platforms=frozenset({bytes(16)})), {"hardware": 96}),
    "some machine, and nobody says which": (
        token(),
        Revocations(platforms=frozenset({bytes(16)})),
        {"configuration": None},
    ),
}


@pytest.mark.parametrize(
    ("found", "revoked", "changes"), REVOKED_ROWS.values(), ids=list(REVOKED_ROWS)
)
def test_what_is_revoked_is_contraindicated(
    found: Claims, revoked: Revocations, changes: dict
) -> None:
    result = appraise(found, policy(head=AZURE), asked_for=None, now=NOW, revoked=revoked)
    expected = {name: value for name, value in (GOOD | changes).items() if value is not None}
    vector = vector_of(result, found)
    assert vector == expected
    assert status(result, vector) is Tier.CONTRAINDICATED


def test_a_policy_without_rules_says_nothing_of_executables() -> None:
    result = appraise(claims(), parse_policy("version = 2"), asked_for=None, now=NOW)
    vector = vector_of(result, claims())
    assert vector == {name: GOOD[name] for name in GOOD if name != "executables"}
    assert status(result, vector) is Tier.CONTRAINDICATED


def test_without_a_policy_nothing_is_said_of_executables() -> None:
    result = appraise_by_default(claims())
    vector = vector_of(result, claims())
    assert vector == {name: GOOD[name] for name in GOOD if name != "executables"}
    assert status(result, vector) is Tier.AFFIRMING


def test_nothing_is_affirmed_of_platforms_whose_revocation_nobody_checked() -> None:
    found = claims(standing=dcap_standing(revocation_checked=False))
    by_default = appraise_by_default(found)
    vector = vector_of(by_default, found)
    assert vector == {"configuration": 36, "runtime-opaque": 2}
    assert status(by_default, vector) is Tier.WARNING
    by_policy = appraise(found, policy(), asked_for=None, now=NOW)
    vector = vector_of(by_policy, found)
    assert vector == {"executables": 3, "runtime-opaque": 2}
    assert status(by_policy, vector) is Tier.CONTRAINDICATED


@unhurried
@given(any_claims)
def test_whatever_is_claimed_is_in_range_and_no_status_is_better_than_its_vector(
    found: Claims,
) -> None:
    for by in (policy(SGX), policy(TDX)):
        result = appraise(found, by, asked_for=None, now=NOW)
        vector = vector_of(result, found)
        assert set(vector) <= set(VECTOR)
        assert all(-128 <= value <= 127 for value in vector.values())
        assert status(result, vector) is (
            worst(vector.values()) if result.allowed else Tier.CONTRAINDICATED
        )


def test_the_page_has_every_row_that_was_seen_here_and_no_other() -> None:
    text = PAGE.read_text().partition("## The trustworthiness vector")[2].partition("\n## ")[0]
    entry, stated = "", set()
    for name, value in re.findall(r"^\| (?:`([a-z-]+)`)? ?\| ([−0-9]+) \|", text, re.MULTILINE):
        entry = name or entry
        stated.add((entry, int(value.replace("−", "-"))))
    seen = {*GOOD.items(), ("configuration", 36)}  # which takes no policy
    rows = [changes for _, _, changes, _ in ROWS.values()]
    for changes in (*rows, *(changes for _, _, changes in REVOKED_ROWS.values())):
        seen |= {(name, value) for name, value in changes.items() if value is not None}
    assert stated == seen
