"""What is foreseen: each refusal on its day and for its reason, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sealserve.appraisal.policy import parse_policy
from sealserve.collateral.examination import examine
from sealserve.collateral.forecast import EARLY_TO_STANDARD, Reason, forecast
from sealserve.collateral.sightings import PlatformTcb
from sealserve.lab import levels
from sealserve.lab.authorities import FMSPC
from sealserve.lab.faults import Faults
from sealserve.verifier import Platform

SGX, TDX = Platform("SGX", FMSPC, "platform"), Platform("TDX", FMSPC, "platform")
UP_TO_DATE = PlatformTcb(SGX, levels.UP_TO_DATE.component_svns, 13, 8, ())
HARDENING = replace(UP_TO_DATE, component_svns=levels.SW_HARDENING_NEEDED.component_svns)
OLD_QE = replace(UP_TO_DATE, qe_isv_svn=6)
REVOKED = replace(UP_TO_DATE, component_svns=levels.REVOKED.component_svns, pce_svn=7)
TD = PlatformTcb(
    TDX,
    levels.UP_TO_DATE.component_svns,
    13,
    8,
    (bytes((5, levels.TDX_MODULE_VERSION)).ljust(16, b"\x03"),),
)
DAY = timedelta(days=1)
# What the lab's early data is about was disclosed on this day.
DISCLOSED = datetime(2026, 5, 13, tzinfo=UTC)
HARDENED = """
[[exceptions]]
name = "hardened"
reason = "LVI hardening is compiled in"
expires = 2026-06-10
tcb_statuses = ["SWHardeningNeeded"]
advisory_ids = ["INTEL-SA-00615"]
"""


@pytest.fixture
def policy(root):
    """A policy for enclaves of the world, with `exceptions`."""

    def make(exceptions="", platform=""):
        return parse_policy(
            f'version = 2\ntrust_root = "{root.sha256.hex()}"\n{platform}\n'
            f'[[identities]]\nname = "server"\nmr_enclave = ["{"11" * 32}"]\n'
            f'[[identities]]\nname = "other"\nmr_enclave = ["{"22" * 32}"]\n'
            '[[rules]]\nname = "digits"\nidentities = ["server"]\nsecret = "digits"\n'
            '[[rules]]\nname = "letters"\nidentities = ["other"]\nsecret = "letters"\n' + exceptions
        )

    return make


@pytest.fixture
def foresee(world, root, now, policy):
    """The forecast at `now`, of the world's collateral or of `collateral`."""

    def run(*seen, exceptions="", platform="", early=False, at=now, collateral=None, tee="SGX"):
        kind = Platform(tee, FMSPC, "platform")
        judged = policy(exceptions, platform)
        grace = judged.collateral_grace(at)
        served = collateral or world.collateral(tee)
        present = {kind: examine(served, root, at, grace)}
        coming = {kind: examine(world.collateral(tee, "early"), root, at)} if early else {}
        return forecast(present, coming, seen, judged, at)

    return run


def only(refusals, reason):
    return [each for each in refusals if each.reason is reason]


def test_collateral_ends_for_every_rule_at_its_next_update(foresee, world, root, now):
    (found,) = only(foresee(), Reason.COLLATERAL)
    end = examine(world.collateral(), root, now).parts[0].valid_until
    assert (found.begins, found.rules) == (end + timedelta(seconds=1), ("digits", "letters"))
    assert (found.tcb, found.is_estimate, found.code) == (None, False, "policy.collateral-age")


def test_a_grace_moves_the_end_for_the_rules_that_it_is_for(foresee):
    exception = """
[[exceptions]]
name = "slow fetches"
reason = "the proxy is down on Sundays"
expires = 2026-12-31
collateral_grace_hours = 48
rules = ["letters"]
"""
    (plain,) = only(foresee(), Reason.COLLATERAL)
    first, second = only(foresee(exceptions=exception), Reason.COLLATERAL)
    assert (first.begins, first.rules) == (plain.begins, ("digits",))
    assert (second.begins, second.rules) == (plain.begins + 2 * DAY, ("letters",))


def test_a_grace_ends_with_its_exception(foresee):
    exception = """
[[exceptions]]
name = "until the proxy is mended"
reason = "the proxy is down on Sundays"
expires = 2026-07-01T20:00:00Z
collateral_grace_hours = 48
"""
    (found,) = only(foresee(exceptions=exception), Reason.COLLATERAL)
    assert found.begins == datetime(2026, 7, 1, 20, tzinfo=UTC)


def test_the_first_certificate_to_end_ends_it_whatever_the_grace(foresee, world):
    exception = HARDENED.replace("tcb_statuses", "collateral_grace_hours = 720\ntcb_statuses")
    (found,) = only(foresee(exceptions=exception), Reason.CERTIFICATE)
    signer = world.authorities.tcb_signer.certificate
    assert found.begins == signer.not_valid_after_utc + timedelta(seconds=1)
    assert "Intel SGX TCB Signing" in found.message


def test_collateral_that_does_not_verify_is_refused_today_for_its_code(foresee, world, now):
    expired = replace(world, faults=Faults.EXPIRED_CRLS).renew(now=now).collateral()
    (found,) = foresee(UP_TO_DATE, collateral=expired)
    assert (found.reason, found.code, found.begins) == (Reason.UNUSABLE, "CRL_VALIDITY", now)


@pytest.mark.parametrize(
    ("tcb", "code"),
    [
        pytest.param(HARDENING, "policy.tcb-status", id="a status that is not accepted"),
        pytest.param(OLD_QE, "policy.tcb-status", id="an outdated quoting enclave"),
        pytest.param(REVOKED, "TCB_REVOKED", id="a revoked level"),
        pytest.param(replace(UP_TO_DATE, pce_svn=0), "TCB_NOT_SUPPORTED", id="no level"),
        pytest.param(replace(UP_TO_DATE, qe_isv_svn=1), "QE_TCB_NOT_SUPPORTED", id="no QE level"),
    ],
)
def test_what_is_refused_today_is_said_once(foresee, now, tcb, code):
    found = only(foresee(tcb, early=True), Reason.REFUSED_ALREADY)
    assert {each.code for each in found} == {code}
    assert sorted(rule for each in found for rule in each.rules) == ["digits", "letters"]
    assert {each.begins for each in found} == {now}


def test_an_up_to_date_platform_is_not_refused_for_its_standing(foresee):
    reasons = {each.reason for each in foresee(UP_TO_DATE)}
    assert reasons == {Reason.COLLATERAL, Reason.CERTIFICATE}


def test_platform_rules_are_asked_too_but_for_what_one_machine_alone_is(foresee):
    rules = '[platform]\nfmspcs = ["00606a000000"]\nplatform_ids = ["' + "00" * 16 + '"]\n'
    found = only(foresee(UP_TO_DATE, platform=rules), Reason.REFUSED_ALREADY)
    assert {each.code for each in found} == {"policy.fmspc"}
    lone = '[platform]\nplatform_ids = ["' + "ff" * 16 + '"]\n'
    lone += "dynamic_platform = false\ncached_keys = false\nsmt_enabled = false\n"
    assert only(foresee(UP_TO_DATE, platform=lone), Reason.REFUSED_ALREADY) == []


def test_an_exception_carries_a_platform_until_it_expires(foresee):
    found = only(foresee(HARDENING, UP_TO_DATE, exceptions=HARDENED), Reason.EXCEPTION)
    assert [each.tcb for each in found] == [HARDENING, HARDENING]
    assert {each.begins for each in found} == {datetime(2026, 6, 11, tzinfo=UTC)}
    assert all("exception 'hardened' expires" in each.message for each in found)


def test_another_exception_that_still_covers_it_hides_the_end_of_the_first(foresee):
    longer = HARDENED.replace("hardened", "still hardened").replace("2026-06-10", "2026-08-01")
    found = only(foresee(HARDENING, exceptions=HARDENED + longer), Reason.EXCEPTION)
    assert {each.begins for each in found} == {datetime(2026, 8, 2, tzinfo=UTC)}


def test_early_data_is_foreseen_as_the_standard_six_weeks_after_its_disclosure(foresee):
    found = only(foresee(UP_TO_DATE, early=True), Reason.EARLY)
    assert {each.begins for each in found} == {DISCLOSED + EARLY_TO_STANDARD}
    assert all(each.is_estimate for each in found)
    assert {each.code for each in found} == {"policy.tcb-status"}
    assert "OutOfDate" in found[0].message


def test_early_data_that_is_overdue_is_foreseen_for_today(foresee, now):
    late = DISCLOSED + EARLY_TO_STANDARD + timedelta(hours=1)
    found = only(foresee(UP_TO_DATE, early=True, at=late), Reason.EARLY)
    assert {(each.begins, each.is_estimate) for each in found} == {(late, False)}


def test_an_exception_covers_early_data_too_until_it_expires(foresee):
    exception = HARDENED.replace('"INTEL-SA-00615"', '"INTEL-SA-01313"').replace(
        '"SWHardeningNeeded"', '"OutOfDate"'
    )
    covered = exception.replace("2026-06-10", "2026-09-01")
    found = only(foresee(UP_TO_DATE, early=True, exceptions=covered), Reason.EARLY)
    assert {(each.begins, each.is_estimate) for each in found} == {
        (datetime(2026, 9, 2, tzinfo=UTC), False)
    }


def test_what_expires_before_the_early_data_comes_is_not_blamed_on_it(foresee):
    found = foresee(HARDENING, early=True, exceptions=HARDENED)
    assert {each.begins for each in only(found, Reason.EXCEPTION)} == {
        datetime(2026, 6, 11, tzinfo=UTC)
    }
    assert only(found, Reason.EARLY) == []


def test_where_no_rule_is_for_a_kind_of_tee_it_is_refused_today(foresee, now):
    (found,) = foresee(TD, tee="TDX", early=True)
    assert (found.begins, found.code, found.rules) == (now, "policy.tee", ())


def test_trust_domains_are_judged_by_rules_for_them(policy, world, root, now):
    judged = policy(
        exceptions=(
            f'[[identities]]\nname = "domain"\ntee = "TDX"\nmr_td = ["{"33" * 48}"]\n'
            'rtmr0 = "any"\nrtmr1 = "any"\nrtmr2 = "any"\nrtmr3 = "any"\n'
            '[[rules]]\nname = "domains"\nidentities = ["domain"]\nsecret = "domain"\n'
        )
    )
    present = {TDX: examine(world.collateral("TDX"), root, now)}
    early = {TDX: examine(world.collateral("TDX", "early"), root, now)}
    found = forecast(present, early, [TD, replace(TD, tee_tcb_svns=(bytes(16),))], judged, now)
    assert {each.rules for each in found} == {("domains",)}
    (already,) = only(found, Reason.REFUSED_ALREADY)
    assert already.tcb != TD
    (soon,) = only(found, Reason.EARLY)
    assert soon.tcb == TD


def test_refusals_come_in_the_order_in_which_they_begin(foresee):
    found = foresee(HARDENING, UP_TO_DATE, REVOKED, early=True, exceptions=HARDENED)
    assert [each.begins for each in found] == sorted(each.begins for each in found)
    assert len({each.reason for each in found}) == 5
