"""Another policy on the decisions on record: who would be let in now, and who shut out."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

import made_claims
from sealserve.appraisal import NOTHING_REVOKED, Revocations, parse_policy
from sealserve.policies.replay import Effect, replay
from sealserve.verifier.claims import AzureStanding, TcbStatus

NOW = made_claims.NOW
KNOWN = b"\x01" * 32
CLAIMS = made_claims.claims(made_claims.sgx_enclave(mr_enclave=KNOWN))
HARDENED = made_claims.claims(
    made_claims.sgx_enclave(mr_enclave=KNOWN),
    made_claims.dcap_standing(tcb_status=TcbStatus.SW_HARDENING_NEEDED),
)
POLICY = f"""
version = 2
[[identities]]
name = "server"
mr_enclave = ["{KNOWN.hex()}"]
[[rules]]
name = "digits"
identities = ["server"]
secret = "digits"
asked_for = ["models.example"]
[[exceptions]]
name = "fleet"
reason = "the firmware update of our fleet is due in March"
expires = 2026-07-01
tcb_statuses = ["SWHardeningNeeded"]
"""


def record(claims=CLAIMS, **changes):
    return {
        "kind": "decision",
        "time": NOW.isoformat(),
        "asked_for": "models.example",
        "claims": claims and claims.as_dict(),
        "outcome": "released",
        "code": "policy.allowed",
        "secret": "digits",
        **changes,
    }


def replayed(entry, at=None, policy=POLICY, revoked=None):
    (only,) = replay([(7, entry)], parse_policy(policy), at=at, revoked=revoked)
    return only


DENIED = {"outcome": "denied", "code": "policy.measurement", "secret": None}
UNKNOWN = made_claims.claims(made_claims.sgx_enclave(mr_enclave=b"\x02" * 32))
EFFECTS = {
    "released, and still": (record(), Effect.SAME),
    "denied, and still": (record(UNKNOWN, **DENIED), Effect.SAME),
    "denied for another reason, and still": (
        record(UNKNOWN, **DENIED | {"code": "policy.svn"}),
        Effect.SAME,
    ),
    "denied then": (record(**DENIED), Effect.NOW_ALLOWED),
    "released to another": (record(UNKNOWN), Effect.NOW_DENIED),
    "released under another name": (record(asked_for="other.example"), Effect.NOW_DENIED),
    "released under no name": (record(asked_for=None), Effect.NOW_DENIED),
    "another secret": (record(secret="digits-2025"), Effect.OTHER_SECRET),
    "released by its name": (record(asked_secret="digits"), Effect.SAME),
    "released by a name that the rule is not for": (record(asked_secret="x"), Effect.NOW_DENIED),
    "granted, and the secret was not to be had": (
        record(**DENIED | {"code": "secret.unknown"}),
        Effect.SAME,
    ),
    "not granted now, and not to be had then": (
        record(UNKNOWN, **DENIED | {"code": "secret.unknown"}),
        Effect.NOW_DENIED,
    ),
    "released by the exception": (record(HARDENED), Effect.SAME),
}


@pytest.mark.parametrize(("entry", "effect"), EFFECTS.values(), ids=EFFECTS)
def test_each_decision_is_compared_with_what_it_was(entry, effect):
    result = replayed(entry)
    assert (result.index, result.effect) == (7, effect)
    assert result.before == f"{entry['outcome']} [{entry['code']}]"


def test_a_denial_names_the_conditions_that_fail_now():
    result = replayed(record(UNKNOWN))
    assert (result.after, result.rule) == ("policy.measurement", "digits")
    assert "mr_enclave FAILS" in result.reasons[0]


def test_a_policy_without_rules_denies_everything():
    result = replayed(record(), policy="version = 2")
    assert (result.effect, result.after, result.rule) == (Effect.NOW_DENIED, "policy.empty", None)
    assert result.reasons == ("the policy has no rules, and what no rule allows is denied",)


UNDECIDABLE = {
    "rejected before any policy": (record(None, outcome="rejected", code="binding"), "no policy"),
    "rejected with claims": (record(outcome="rejected", code="binding"), "no policy"),
    "failed": (record(None, outcome="failed", code="collateral"), "no policy"),
    "an outcome that there is not": (record(outcome="granted"), "no policy"),
    "without claims": (record(None), "no claims"),
    "claims that are a text": (record(claims=None) | {"claims": "all good"}, "no claims"),
    "claims in another form": (record() | {"claims": {"tee": "SGX"}}, "'verifier' is"),
    "a name that is a number": (record(asked_for=4), "asked_for is no name"),
    "a secret that is a number": (record(asked_secret=4), "asked_secret is no name"),
    "what was revoked": (record(**DENIED | {"code": "policy.revoked"}), "it was revoked"),
    "a time that is none": (record(time="yesterday"), "time is none"),
    "a time without its zone": (record(time="2026-06-01T12:00:00"), "no zone"),
    "no time": (record(time=None), "time is none"),
}


@pytest.mark.parametrize(("entry", "reason"), UNDECIDABLE.values(), ids=UNDECIDABLE)
def test_what_no_policy_was_asked_about_or_cannot_be_read_is_not_decidable(entry, reason):
    result = replayed(entry)
    assert (result.effect, result.after) == (Effect.NOT_DECIDABLE, None)
    assert reason in result.reasons[0]


@pytest.mark.parametrize("entry", [{}, {"kind": "secret"}, record() | {"kind": 1}], ids=str)
def test_records_that_are_no_decision_are_passed_over(entry):
    records = [(0, record()), (1, entry), (2, record())]
    assert [each.index for each in replay(records, parse_policy(POLICY), at=None)] == [0, 2]


def test_records_are_read_one_by_one():
    def records():
        yield 0, record()
        raise AssertionError("nobody asked for this one yet")

    assert next(replay(records(), parse_policy(POLICY), at=None)).index == 0


def test_a_secret_is_granted_by_the_name_that_was_asked_for():
    many = POLICY.replace('secret = "digits"', 'secrets = ["team-a-*"]')
    entry = record(asked_secret="team-a-1", secret="team-a-1")
    assert replayed(entry, policy=many).effect is Effect.SAME
    assert replayed(entry, policy=many).reasons == ("grants 'team-a-1'",)
    assert replayed(record(), policy=many).after == "policy.secret"


def test_what_is_revoked_now_is_judged_where_it_is_told():
    revoked = Revocations(measurements=frozenset({KNOWN}))
    assert replayed(record(), revoked=revoked).after == "policy.revoked"
    lifted = record(**DENIED | {"code": "policy.revoked"})
    assert replayed(lifted, revoked=NOTHING_REVOKED).effect is Effect.NOW_ALLOWED
    assert replayed(lifted, revoked=revoked).effect is Effect.SAME


def test_at_a_later_time_the_exception_has_ended_and_nothing_else_has():
    later = NOW + timedelta(days=60)
    assert replayed(record(HARDENED), at=later).after == "policy.tcb-status"
    assert replayed(record(), at=later).effect is Effect.SAME


def test_at_an_earlier_time_collateral_is_as_old_as_it_was():
    overdue = made_claims.claims(
        CLAIMS.target,
        made_claims.dcap_standing(collateral_valid_until=NOW - timedelta(hours=1)),
    )
    for at in (None, NOW - timedelta(days=400), NOW + timedelta(days=400)):
        assert replayed(record(overdue), at=at).after == "policy.collateral-age"


def test_a_token_of_azure_attestation_is_replayed_as_one():
    standing = AzureStanding(
        issuer="https://a.example",
        token_id="1",
        policy_hash="A" * 43,
        tcb_status=None,
        token_valid_from=NOW,
        token_valid_until=NOW + timedelta(hours=8),
        simulated=False,
    )
    entry = record(made_claims.claims(CLAIMS.target, standing))
    trusted = POLICY + f'[maa]\nissuers = ["https://a.example"]\npolicy_hashes = ["{"A" * 43}"]\n'
    later = NOW + timedelta(days=9)
    assert replayed(entry, at=later).after == "policy.maa"
    assert replayed(entry, at=later, policy=trusted).effect is Effect.SAME


def test_a_time_beyond_any_calendar_is_told():
    at = datetime.max.replace(tzinfo=NOW.tzinfo)
    entry = record(
        made_claims.claims(
            CLAIMS.target, made_claims.dcap_standing(collateral_valid_until=NOW + timedelta(1))
        )
    )
    assert replayed(entry, at=at).effect is Effect.NOT_DECIDABLE
