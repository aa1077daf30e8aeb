"""The only way to weaken a policy: what an exception may say, when it is in force, what it does."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest

from made_claims import NOW, claims, dcap_standing, sgx_enclave, trust_domain
from made_policies import REASON, SGX, TDX, exception, policy, policy_text
from sealserve.appraisal import AttestationResult, Policy, PolicyCode, appraise, parse_policy
from sealserve.errors import ConfigError
from sealserve.verifier.claims import TcbStatus

FMSPC = bytes.fromhex("00606a000000")
DEBUG = exception("dangerously_allow_debug = true")
EXCEPTABLE = [
    status for status in TcbStatus if status not in (TcbStatus.UP_TO_DATE, TcbStatus.REVOKED)
]


def outdated(status: TcbStatus = TcbStatus.OUT_OF_DATE, *advisories: str, **changes):
    return claims(
        standing=dcap_standing(
            tcb_status=status, platform_tcb_status=status, advisory_ids=advisories, **changes
        )
    )


def appraised(evidence, granting: Policy, now: datetime = NOW) -> AttestationResult:
    return appraise(evidence, granting, asked_for=None, now=now)


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        pytest.param("", "it excepts nothing", id="nothing"),
        pytest.param("dangerously_allow_debug = false", "it excepts nothing", id="debug-false"),
        pytest.param("tcb_statuses = []", "it excepts nothing", id="no-statuses"),
        pytest.param('tcb_statuses = ["Revoked"]', "found 'Revoked', expected one", id="revoked"),
        pytest.param('tcb_statuses = ["UpToDate"]', "found 'UpToDate', exp", id="up-to-date"),
        pytest.param('tcb_statuses = ["outofdate"]', "found 'outofdate'", id="status-case"),
        pytest.param("tcb_statuses = [1]", r"tcb_statuses\[0\]: found 1", id="status-number"),
        pytest.param('advisory_ids = ["00615"]', r"advisory_ids\[0\]", id="advisory"),
        pytest.param('advisory_ids = ["INTEL-SA-*"]', r"advisory_ids\[0\]", id="all-advisories"),
        pytest.param("dangerously_allow_debug = 1", "true or false", id="debug-number"),
        pytest.param('dangerously_allow_debug = "true"', "true or false", id="debug-text"),
        pytest.param(
            "dangerously_allow_debug_enclaves = true",
            r"unknown key exceptions\[0\]\.\S+; .* is dangerously_allow_debug",
            id="the-old-word-for-debug",
        ),
        pytest.param("collateral_grace_hours = 0", "at least 1", id="grace-0"),
        pytest.param("collateral_grace_hours = 721", "at most 720", id="grace-of-a-month"),
        pytest.param("collateral_grace_hours = 1.5", "a whole number", id="grace-float"),
        pytest.param('tcb_statuses = ["OutOfDate"]\nrules = []', "list is empty", id="no-rules"),
        pytest.param(
            'tcb_statuses = ["OutOfDate"]\nrules = ["rulez"]',
            r"exceptions\[0\]\.rules\[0\]: rules has no 'rulez'; .* 'rule'",
            id="rule-that-is-not-there",
        ),
        pytest.param(
            'tcb_statuses = ["OutOfDate"]\nfmspcs = ["606a"]', "expected 12 hex digits", id="fmspc"
        ),
    ],
)
def test_an_exception_that_is_wrong_is_refused_with_the_place_and_the_reason(
    entry: str, told: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        policy(more=exception(entry))
    assert "exceptions[0]" in caught.value.message
    assert re.search(told, caught.value.message)


@pytest.mark.parametrize("key", ["name", "reason", "expires"])
def test_an_exception_has_a_name_a_reason_and_an_end(key: str) -> None:
    with pytest.raises(ConfigError, match=rf"exceptions\[0\]\.{key} is missing"):
        policy(more=re.sub(rf"^{key} = .*\n", "", DEBUG, flags=re.MULTILINE))


@pytest.mark.parametrize("reason", ["", "todo", "because", "needed for now", "x " * 30, "y" * 40])
def test_a_reason_has_some_substance(reason: str) -> None:
    with pytest.raises(ConfigError, match=r"exceptions\[0\]\.reason"):
        policy(more=DEBUG.replace(REASON, reason))


@pytest.mark.parametrize(
    ("expires", "told"),
    [
        ('"2026-12-31"', "a date such as 2027-03-31, without quotes"),
        ("2026", "a date such as"),
        ("12:00:00", "a date such as"),
        ("2026-12-31T12:00:00", "names no zone: write 2026-12-31T12:00:00Z"),
        ("9999-12-31", "exceptions[0].expires: 9999-12-31 is no end"),
        ("9999-12-31T23:59:59-12:00", "exceptions[0].expires: 9999-12-31T23:59:59-12:00 is no end"),
        ("0001-01-01T00:00:00+12:00", "exceptions[0].expires: 0001-01-01T00:00:00+12:00 is no end"),
        ('"never"', "a date such as"),
    ],
)
def test_an_end_is_a_date_or_a_date_time_with_its_zone(expires: str, told: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)):
        policy(more=exception("dangerously_allow_debug = true", expires=expires))


def test_two_exceptions_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match="two exceptions have the name 'for a while'"):
        policy(more=DEBUG + DEBUG)


def test_an_exception_for_a_platform_that_the_policy_does_not_accept_is_a_contradiction() -> None:
    platform = f'[platform]\nfmspcs = ["{FMSPC.hex()}"]\n'
    scoped = exception('tcb_statuses = ["OutOfDate"]\nfmspcs = ["00906ed50000"]')
    with pytest.raises(ConfigError, match=r"exceptions\[0\]\.fmspcs names 00906ed50000, which"):
        parse_policy(policy_text(more=platform + scoped))


@pytest.mark.parametrize(
    ("expires", "last"),
    [
        ("2026-12-31", datetime(2026, 12, 31, 23, 59, 59, 999999, UTC)),
        ("2026-12-31T12:00:00Z", datetime(2026, 12, 31, 11, 59, 59, 999999, UTC)),
        ("2026-12-31T12:00:00+02:00", datetime(2026, 12, 31, 9, 59, 59, 999999, UTC)),
    ],
)
def test_an_exception_ends_with_its_day_or_at_its_moment(expires: str, last: datetime) -> None:
    granting = policy(more=exception('tcb_statuses = ["OutOfDate"]', expires=expires))
    evidence = outdated(collateral_valid_until=last + timedelta(days=1))
    assert appraised(evidence, granting, last).allowed
    elsewhere = last.astimezone(timezone(timedelta(hours=-8)))
    assert appraised(evidence, granting, elsewhere).allowed
    assert not appraised(evidence, granting, last + timedelta(microseconds=1)).allowed


@pytest.mark.parametrize("status", EXCEPTABLE)
def test_a_status_that_is_not_up_to_date_needs_an_exception_that_names_it(
    status: TcbStatus,
) -> None:
    others = [f'"{each}"' for each in EXCEPTABLE if each is not status]
    without = policy(more=exception(f"tcb_statuses = [{', '.join(others)}]"))
    denied = appraised(outdated(status), without)
    assert (denied.allowed, denied.code) == (False, PolicyCode.TCB_STATUS)
    (failed,) = denied.outcomes[0].failed
    assert str(status) in failed.found
    assert failed.fix

    result = appraised(outdated(status), policy(more=exception(f'tcb_statuses = ["{status}"]')))
    assert (result.allowed, result.exceptions) == (True, ("for a while",))


def test_a_revoked_platform_is_beyond_any_exception() -> None:
    every = ", ".join(f'"{status}"' for status in EXCEPTABLE)
    granting = policy(more=exception(f"tcb_statuses = [{every}]"))
    assert appraised(outdated(TcbStatus.REVOKED), granting).code is PolicyCode.TCB_STATUS


def test_every_advisory_needs_an_exception_that_names_it() -> None:
    status = exception('tcb_statuses = ["SWHardeningNeeded"]', name="status")
    one = exception('advisory_ids = ["INTEL-SA-00334"]', name="one")
    other = exception('advisory_ids = ["INTEL-SA-00615", "INTEL-SA-00001"]', name="other")
    evidence = outdated(TcbStatus.SW_HARDENING_NEEDED, "INTEL-SA-00334", "INTEL-SA-00615")

    denied = appraised(evidence, policy(more=status + one))
    assert denied.code is PolicyCode.ADVISORIES
    (failed,) = denied.outcomes[0].failed
    assert failed.found == "INTEL-SA-00615"
    assert "INTEL-SA-00615" in str(failed.fix)

    result = appraised(evidence, policy(more=status + one + other))
    assert (result.allowed, result.exceptions) == (True, ("status", "one", "other"))


def test_an_advisory_at_an_up_to_date_level_needs_its_exception_too() -> None:
    evidence = outdated(TcbStatus.UP_TO_DATE, "INTEL-SA-00615")
    assert appraised(evidence, policy()).code is PolicyCode.ADVISORIES


@pytest.mark.parametrize(
    ("target", "identity"),
    [
        pytest.param(sgx_enclave(debug=True), SGX, id="SGX"),
        pytest.param(trust_domain(td_attributes=bytes.fromhex("0100001000000000")), TDX, id="TDX"),
    ],
)
def test_debug_needs_the_exception_that_dangerously_allows_it(target, identity: str) -> None:
    evidence = claims(target)
    assert appraised(evidence, policy(identity)).code is PolicyCode.DEBUG
    result = appraised(evidence, policy(identity, more=DEBUG))
    assert (result.allowed, result.exceptions) == (True, ("for a while",))


def test_collateral_past_its_end_needs_a_grace_that_is_long_enough() -> None:
    granting = policy(more=exception("collateral_grace_hours = 24"))
    until = NOW - timedelta(hours=24)
    late = appraised(claims(standing=dcap_standing(collateral_valid_until=until)), granting)
    assert (late.allowed, late.exceptions) == (True, ("for a while",))
    assert late.collateral_overdue == timedelta(hours=24)

    later = dcap_standing(collateral_valid_until=until - timedelta(seconds=1))
    assert appraised(claims(standing=later), granting).code is PolicyCode.COLLATERAL_AGE
    assert appraised(claims(standing=later), policy()).code is PolicyCode.COLLATERAL_AGE


def test_the_grace_is_the_longest_of_those_in_force() -> None:
    graces = "".join(
        exception(f"collateral_grace_hours = {hours}", name=name, expires=expires)
        for name, hours, expires in [
            ("short", 2, "2026-12-31"),
            ("long", 24, "2026-07-31"),
            ("over", 72, "2026-05-31"),
        ]
    )
    granting = policy(more=graces + DEBUG)
    assert granting.collateral_grace(NOW) == timedelta(hours=24)
    assert granting.collateral_grace(datetime(2026, 8, 1, tzinfo=UTC)) == timedelta(hours=2)
    assert granting.collateral_grace(datetime(2027, 8, 1, tzinfo=UTC)) == timedelta(0)
    assert policy().collateral_grace(NOW) == timedelta(0)


@pytest.mark.parametrize(
    ("scope", "expires", "why"),
    [
        ("", "2026-05-31", "it ended on 2026-06-01T00:00:00+00:00"),
        ('rules = ["another"]', "2026-12-31", "it is not for this rule"),
        ('fmspcs = ["00906ed50000"]', "2026-12-31", "it is not for this platform's FMSPC"),
    ],
)
def test_an_exception_that_is_not_in_force_here_carries_nothing_and_the_fix_says_why(
    scope: str, expires: str, why: str
) -> None:
    another = '[[rules]]\nname = "another"\nidentities = ["target"]\nsecret = "s"\n'
    another += 'asked_for = ["elsewhere"]\n'
    entry = exception(f'tcb_statuses = ["OutOfDate"]\n{scope}', name="nearly", expires=expires)
    result = appraised(outdated(fmspc=FMSPC), policy(more=another + entry))
    assert not result.allowed
    (failed,) = result.outcomes[0].failed
    assert f"exception 'nearly' would do, but {why}" in str(failed.fix)


@pytest.mark.parametrize("scope", ['rules = ["rule"]', f'fmspcs = ["{FMSPC.hex()}"]'])
def test_an_exception_holds_within_its_scope(scope: str) -> None:
    granting = policy(more=exception(f'tcb_statuses = ["OutOfDate"]\n{scope}'))
    assert appraised(outdated(fmspc=FMSPC), granting).allowed


def test_an_exception_that_is_not_needed_is_not_named() -> None:
    result = appraised(claims(), policy(more=DEBUG))
    assert (result.allowed, result.exceptions) == (True, ())
    assert result.collateral_overdue == timedelta(0)


def test_the_first_exception_that_does_is_the_one_that_is_named() -> None:
    both = exception('tcb_statuses = ["OutOfDate"]', name="first") + exception(
        'tcb_statuses = ["OutOfDate"]', name="second"
    )
    assert appraised(outdated(), policy(more=both)).exceptions == ("first",)


def test_a_denial_needed_no_exception() -> None:
    evidence = claims(sgx_enclave(debug=True, mr_enclave=b"\x01" * 32))
    assert appraised(evidence, policy(more=DEBUG)).exceptions == ()
