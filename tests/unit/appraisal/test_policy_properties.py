"""What holds of every policy and all claims: weakening is never silent, and never outlives itself.

Values come from small sets, so that policies and claims meet often enough to say something.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from made_claims import any_claims, claims, dcap_standing, sgx_enclave, trust_domain
from sealserve.appraisal import AttestationResult, Policy, appraise
from sealserve.verifier.claims import Claims, DcapStanding, SgxEnclave, TcbStatus

FMSPCS = ("00606a000000", "00906ed50000")
HASHES = ("00" * 32, "01" * 32)
LONG_HASHES = ("00" * 48, "01" * 48)
ADVISORIES = ("INTEL-SA-00334", "INTEL-SA-00615")
NAMES = ("a", "b")
STATUSES = [TcbStatus.UP_TO_DATE, TcbStatus.OUT_OF_DATE]
DAYS = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=30 * number) for number in range(6)]
UNDER_DEBUG = [bytes.fromhex(f"{bits:02x}00001000000000") for bits in (0, 0, 1, 0x20)]


def some(values: Any) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=2, unique=True)


def table(required: dict[str, Any], **optional: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required, optional=optional)


enclaves = table({"mr_enclave": some(HASHES)})
signed = table(
    {
        "mr_signer": st.just("00" * 32),
        "isv_prod_id": st.just(0),
        "minimum_isv_svn": st.integers(0, 2),
    }
)
domains = table(
    {
        "tee": st.just("TDX"),
        "mr_td": some(LONG_HASHES),
        "rtmr0": st.just("any") | some(LONG_HASHES),
        **{f"rtmr{number}": st.just("any") for number in range(1, 4)},
    }
)
rules = table(
    {"identities": some(NAMES), "secret": st.sampled_from(["one", "two"])},
    asked_for=some(["here.example", "there.example"]),
)
exceptions = st.sampled_from(
    [{"collateral_grace_hours": 24}, {"tcb_statuses": ["OutOfDate"]}]
).flatmap(
    lambda weakening: table(
        {
            "reason": st.just("the firmware is updated soon"),
            "expires": st.sampled_from(DAYS[2:]),
            **{key: st.just(value) for key, value in weakening.items()},
        },
        advisory_ids=some(ADVISORIES),
        dangerously_allow_debug=st.booleans(),
        rules=some(["0", "1"]),
        fmspcs=some(FMSPCS),
    )
)


def named(entries: list[dict[str, Any]], names: tuple[str, ...]) -> list[dict[str, Any]]:
    return [{"name": name, **entry} for name, entry in zip(names, entries, strict=True)]


documents = st.builds(
    lambda identities, granting, weak: {
        "version": 2,
        "identities": named(identities, NAMES),
        "rules": named(granting, ("0", "1")),
        "exceptions": named(weak, ("e0", "e1")),
    },
    st.tuples(enclaves | signed, enclaves | domains),
    st.tuples(rules, rules),
    st.tuples(exceptions, exceptions),
)
standings = st.builds(
    dcap_standing,
    fmspc=st.sampled_from(FMSPCS).map(bytes.fromhex),
    tcb_status=st.sampled_from(STATUSES),
    advisory_ids=st.lists(st.sampled_from(ADVISORIES), unique=True).map(tuple),
    collateral_valid_until=st.sampled_from([DAYS[2] - timedelta(days=1), *DAYS[4:], DAYS[5]]),
    revocation_checked=st.sampled_from([True, True, True, True, False]),
)
targets = st.builds(
    sgx_enclave,
    mr_enclave=st.sampled_from(HASHES).map(bytes.fromhex),
    isv_svn=st.integers(0, 2),
    debug=st.sampled_from([False, False, True]),
) | st.builds(
    trust_domain,
    mr_td=st.sampled_from(LONG_HASHES).map(bytes.fromhex),
    td_attributes=st.sampled_from(UNDER_DEBUG),
)
likely_claims = st.builds(claims, targets, standings)
moments = st.sampled_from(DAYS[2:]).map(lambda day: day - timedelta(seconds=1))
names = st.sampled_from([None, "here.example", "here.example"])

examples = settings(max_examples=60, deadline=None)


def decided(
    document: dict[str, Any], evidence: Claims, asked_for: str | None, now: datetime
) -> AttestationResult:
    result = appraise(evidence, Policy.model_validate(document), asked_for=asked_for, now=now)
    event(str(result.code))
    return result


def is_debug(evidence: Claims) -> bool:
    return evidence.target.debug or (
        evidence.target.tee == "TDX" and evidence.target.td_attributes[0] != 0
    )


@examples
@given(documents, likely_claims, names, moments)
def test_nothing_weak_is_allowed_without_the_named_exception_in_force(
    document: dict[str, Any], evidence: Claims, asked_for: str | None, now: datetime
) -> None:
    result = decided(document, evidence, asked_for, now)
    if not result.allowed:
        assert result.grant is None
        assert result.exceptions == ()
        return
    policy = Policy.model_validate(document)
    needed = [each for each in policy.exceptions if each.name in result.exceptions]
    standing = evidence.standing
    assert result.grant is not None
    assert isinstance(standing, DcapStanding)
    assert len(needed) == len(result.exceptions)
    assert all(now < each.expires for each in needed)
    assert all(each.rules is None or result.rule in each.rules for each in needed)
    assert all(each.fmspcs is None or standing.fmspc in each.fmspcs for each in needed)
    assert standing.revocation_checked
    if is_debug(evidence):
        assert any(each.dangerously_allow_debug for each in needed)
    if standing.tcb_status is not TcbStatus.UP_TO_DATE:
        assert any(standing.tcb_status in each.tcb_statuses for each in needed)
    for advisory in standing.advisory_ids:
        assert any(advisory in each.advisory_ids for each in needed)
    overdue = now - standing.collateral_valid_until
    if overdue > timedelta(0):
        assert any(overdue <= each.collateral_grace for each in needed)
        assert result.collateral_overdue == overdue


@examples
@given(documents, likely_claims, names, moments)
def test_nothing_under_debug_is_allowed_without_an_exception_that_says_dangerously(
    document: dict[str, Any], evidence: Claims, asked_for: str | None, now: datetime
) -> None:
    for each in document["exceptions"]:
        each.pop("dangerously_allow_debug", None)
    if not decided(document, evidence, asked_for, now).allowed:
        return
    under_debug = (
        {"debug": True}
        if isinstance(evidence.target, SgxEnclave)
        else {"td_attributes": UNDER_DEBUG[-1]}
    )
    evidence = replace(evidence, target=replace(evidence.target, **under_debug))
    assert not decided(document, evidence, asked_for, now).allowed


@examples
@given(documents, likely_claims, names, moments, st.integers(0, 1))
def test_removing_an_exception_never_turns_a_denial_into_a_grant(
    document: dict[str, Any], evidence: Claims, asked_for: str | None, now: datetime, number: int
) -> None:
    before = decided(document, evidence, asked_for, now)
    del document["exceptions"][number]
    after = decided(document, evidence, asked_for, now)
    assert before.allowed or not after.allowed


@examples
@given(documents, likely_claims, names, moments, rules)
def test_adding_a_rule_at_the_end_never_changes_a_grant_of_an_earlier_one(
    document: dict[str, Any],
    evidence: Claims,
    asked_for: str | None,
    now: datetime,
    rule: dict[str, Any],
) -> None:
    before = decided(document, evidence, asked_for, now)
    document["rules"].append({"name": "2", **rule})
    after = decided(document, evidence, asked_for, now)
    if before.allowed:
        assert (after.grant, after.rule, after.exceptions) == (
            before.grant,
            before.rule,
            before.exceptions,
        )


@examples
@given(documents, likely_claims, names, moments, moments)
def test_what_is_allowed_later_was_allowed_before(
    document: dict[str, Any],
    evidence: Claims,
    asked_for: str | None,
    first: datetime,
    second: datetime,
) -> None:
    early, late = sorted((first, second))
    if decided(document, evidence, asked_for, late).allowed:
        assert decided(document, evidence, asked_for, early).allowed


@examples
@given(
    documents,
    likely_claims,
    moments,
    table(
        {},
        fmspcs=st.just(list(FMSPCS)) | some(FMSPCS),
        platform_ids=some(["00" * 16, "01" * 16]),
        minimum_tcb_evaluation_data_number=st.integers(16, 18),
    ),
)
def test_a_rule_for_platforms_never_turns_a_denial_into_a_grant(
    document: dict[str, Any], evidence: Claims, now: datetime, platform: dict[str, Any]
) -> None:
    before = decided(document, evidence, None, now)
    document["exceptions"] = [
        each
        for each in document["exceptions"]
        if set(each.get("fmspcs", ())) <= set(platform.get("fmspcs", FMSPCS))
    ]
    after = decided({**document, "platform": platform}, evidence, None, now)
    assert before.allowed or not after.allowed


@examples
@given(documents, any_claims | likely_claims, names, moments)
def test_every_result_explains_itself(
    document: dict[str, Any], evidence: Claims, asked_for: str | None, now: datetime
) -> None:
    result = decided(document, evidence, asked_for, now)
    assert result.decisive in result.outcomes
    assert result.allowed == (result.grant is not None) == (not result.decisive.failed)
    for outcome in result.outcomes:
        codes = [condition.code for condition in outcome.conditions]
        assert outcome.failed or result.allowed
        assert len(codes) == len(set(codes)) + max(0, codes.count("policy.advisories") - 1)
        for condition in outcome.conditions:
            assert condition.found
            assert condition.expected
            assert bool(condition.fix) is not condition.held
            assert condition.held or condition.exception is None
