"""What changed between two policies: in words, and true of whatever claims come."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import made_claims
from sealserve.appraisal import Policy, appraise
from sealserve.appraisal.identities import SgxIdentity, TdxIdentity
from sealserve.appraisal.policy import AzureAttestation, PlatformRules, PolicyException, Rule
from sealserve.policies.diff import diff
from sealserve.policies.extent import Change
from sealserve.verifier.claims import AzureStanding, TcbStatus

A, B, SIGNER, PINNED = "aa" * 32, "bb" * 32, "cc" * 32, "0100000000000000" * 2
ENCLAVE = {"name": "server", "mr_enclave": [A]}
BY_SIGNER = {"name": "server", "mr_signer": SIGNER, "isv_prod_id": 1, "minimum_isv_svn": 2}
GUEST = {
    "name": "server",
    "tee": "TDX",
    "mr_td": ["aa" * 48],
    **{f"rtmr{number}": "any" for number in range(4)},
}
RULE = {"name": "digits", "identities": ["server"], "secret": "digits"}
EXCEPTION = {
    "name": "fleet",
    "reason": "the firmware update of our fleet is due in March",
    "expires": made_claims.NOW,
    "tcb_statuses": ["SWHardeningNeeded"],
}
BASE = {"version": 2, "identities": [ENCLAVE], "rules": [RULE], "exceptions": [EXCEPTION]}


def policy(**changes):
    return Policy.model_validate({**BASE, **changes})


def identity(base=ENCLAVE, **changes):
    return {"identities": [{**base, **changes}]}


def rule(**changes):
    return {"rules": [{**RULE, **changes}]}


def granting(*secrets):
    return {"rules": [{"name": "digits", "identities": ["server"], "secrets": secrets}]}


def exception(**changes):
    return {"exceptions": [{**EXCEPTION, **changes}]}


LATER = made_claims.NOW.replace(year=2027)
OLDER, NEWER = {"svn": 2}, {"svn": 3}

STEPS = {
    "a measurement more": ({}, identity(mr_enclave=[A, B]), f"mr_enclave: added {B}"),
    "any measurement of a signer": (
        identity({**BY_SIGNER, "mr_enclave": [A]}),
        identity(BY_SIGNER),
        f"mr_enclave: was {A}, is any",
    ),
    "an older version": (
        identity(BY_SIGNER),
        identity(BY_SIGNER, minimum_isv_svn=1),
        "isv_svn: was 2 or more, is 1 or more",
    ),
    "no highest version any more": (
        identity(BY_SIGNER, maximum_isv_svn=2),
        identity(BY_SIGNER),
        "isv_svn: was 2, is 2 or more",
    ),
    "fewer bits": (
        identity(attributes=PINNED, attributes_mask="ff" * 16),
        identity(attributes=PINNED, attributes_mask="ff" * 9 + "00" * 7),
        "attributes: was ",
    ),
    "a configuration that nobody states": (
        identity(config_id="00" * 64),
        {},
        "config_id: added not stated",
    ),
    "a version of the configuration": (
        identity(minimum_config_svn=2),
        identity(minimum_config_svn=1),
        "config_svn: was 2 or more, is 1 or more",
    ),
    "any module": (
        identity(GUEST, mr_seam=["dd" * 48]),
        identity(GUEST),
        "mr_seam: was",
    ),
    "any register": (identity(GUEST, rtmr2=["dd" * 48]), identity(GUEST), "rtmr2: was"),
    "another name": (
        rule(asked_for=["a.example"]),
        rule(asked_for=["a.example", "b.example"]),
        "asked_for: added b.example",
    ),
    "every name": (rule(asked_for=["a.example"]), {}, "asked_for: was a.example, is any"),
    "a secret more": (
        granting("a", "b-*"),
        granting("a", "b-*", "c"),
        "secrets: added c",
    ),
    "more of a team's secrets": (
        granting("b-x-*", "b-y"),
        granting("b-*"),
        "secrets: added b-*, removed b-x-*, b-y",
    ),
    "every secret": (granting("a", "b-*"), granting("*"), "secrets: added *, removed a, b-*"),
    "one secret, also for who names none": (
        granting("digits"),
        {},
        "secrets: was digits, is digits or no name",
    ),
    "a rule for many secrets": (
        {"rules": [], "exceptions": []},
        {**granting("a", "b-*"), "exceptions": []},
        "added: server may have a, b-* by name (raw)",
    ),
    "a rule": (
        {"rules": [], "exceptions": []},
        {"exceptions": []},
        "added: server may have 'digits' (raw)",
    ),
    "a platform": (
        {"platform": {"fmspcs": ["00606a000000"]}},
        {"platform": {"fmspcs": ["00606a000000", "00906ed50000"]}},
        "fmspcs: added 00906ed50000",
    ),
    "any machine": ({"platform": {"platform_ids": ["aa" * 16]}}, {}, "platform_ids: was"),
    "older collateral": (
        {"platform": {"minimum_tcb_evaluation_data_number": 17}},
        {},
        "minimum_tcb_evaluation_data_number: was 17 or more, is 0 or more",
    ),
    **{
        f"whatever {key}": ({"platform": {key: False}}, {}, f"{key}: was false, is any")
        for key in ("dynamic_platform", "cached_keys", "smt_enabled")
    },
    "Azure Attestation": (
        {},
        {"maa": {"issuers": ["https://a.example"], "policy_hashes": ["A" * 43]}},
        "issuers: added https://a.example",
    ),
    "an exception": (
        {"exceptions": []},
        {},
        "added: tcb_statuses SWHardeningNeeded, until 2026-06-01T12:00:00+00:00",
    ),
    "a later end": (
        {},
        exception(expires=LATER),
        "expires was 2026-06-01T12:00:00+00:00, is 2027-06-01T12:00:00+00:00",
    ),
    "a status": (
        {},
        exception(tcb_statuses=["SWHardeningNeeded", "OutOfDate"]),
        "tcb_statuses: added OutOfDate",
    ),
    "an advisory": (
        {},
        exception(advisory_ids=["INTEL-SA-00615"]),
        "advisory_ids: added INTEL-SA-00615",
    ),
    "a grace": (
        exception(collateral_grace_hours=1),
        exception(collateral_grace_hours=24),
        "collateral_grace_hours: was 0 to 1, is 0 to 24",
    ),
    "debug": ({}, exception(dangerously_allow_debug=True), "dangerously_allow_debug: added debug"),
    "every rule": (exception(rules=["digits"]), {}, "rules: was digits, is any"),
    "every platform": (exception(fmspcs=["00606a000000"]), {}, "fmspcs: was"),
}


@pytest.mark.parametrize(("old", "new", "said"), STEPS.values(), ids=STEPS)
def test_more_is_wider_and_the_way_back_narrower(old, new, said):
    there = diff(policy(**old), policy(**new))
    back = diff(policy(**new), policy(**old))
    assert {each.change for each in there} == {Change.WIDER}
    assert {each.change for each in back} == {Change.NARROWER}
    assert any(each.text.startswith(said) for each in there), there


OTHERS = {
    "another measurement": (
        {},
        identity(mr_enclave=[B]),
        "identity 'server'",
        f"mr_enclave: added {B}, removed {A}",
    ),
    "another kind of TEE": ({}, identity(GUEST), "identity 'server'", "was SGX, is TDX"),
    "another secret": ({}, rule(secret="x"), "rule 'digits'", "secret was digits, is x"),
    "other secrets": (
        granting("a", "b-*"),
        granting("a", "c-*"),
        "rule 'digits'",
        "secrets: added c-*, removed b-*",
    ),
    "many secrets in place of one": (
        {},
        granting("a-*", "digits"),
        "rule 'digits'",
        "secrets: was digits or no name, is a-*, digits",
    ),
    "another encoding": ({}, rule(encoding="hex"), "rule 'digits'", "encoding was raw, is hex"),
    "another root": ({}, {"trust_root": A}, "trust_root", f"was Intel's, is {A}"),
    "another reason": (
        {},
        exception(reason="we wait for the new machines until April"),
        "exception 'fleet'",
        "reason was 'the firmware",
    ),
    "an identity that no rule uses": (
        {},
        {"identities": [ENCLAVE, {**ENCLAVE, "name": "new", "mr_enclave": [B]}]},
        "identity 'new'",
        f"added: mr_enclave {B}; no rule uses it",
    ),
    "an identity of another name": (
        {},
        {"identities": [{**ENCLAVE, "name": "x"}], "rules": [{**RULE, "identities": ["x"]}]},
        "identity 'x'",
        "renamed: was 'server'",
    ),
    "a rule of another name": (
        exception(rules=["digits"]),
        {**rule(name="x"), **exception(rules=["x"])},
        "rule 'x'",
        "renamed: was 'digits'",
    ),
    "another way of setting platforms up": (
        {"platform": {"smt_enabled": True}},
        {"platform": {"smt_enabled": False}},
        "platform",
        "smt_enabled: added false, removed true",
    ),
    "another order": (
        {"rules": [RULE, {**RULE, "name": "more", "secret": "more"}]},
        {"rules": [{**RULE, "name": "more", "secret": "more"}, RULE]},
        "rules",
        "the order was digits, more, is more, digits",
    ),
}


@pytest.mark.parametrize(("old", "new", "place", "said"), OTHERS.values(), ids=OTHERS)
def test_what_is_neither_more_nor_less_is_another(old, new, place, said):
    (only,) = diff(policy(**old), policy(**new))
    assert (only.change, only.place) == (Change.OTHER, place)
    assert only.text.startswith(said)


def test_the_order_within_lists_and_the_way_of_writing_are_no_difference():
    old = policy(**identity(mr_enclave=[A, B]), **rule(asked_for=["a.example", "b.example"]))
    new = policy(
        **identity(mr_enclave=[B.upper(), A], tee="SGX"),
        **rule(asked_for=["B.example", "a.example"], encoding="raw"),
    )
    assert diff(old, new) == ()


def test_patterns_that_stand_for_the_same_names_are_no_difference():
    old, new = granting("b-*", "a", "b-x-*", "b-y"), granting("a", "b-*", "a")
    assert diff(policy(**old), policy(**new)) == ()


def test_service_tds_of_a_td_that_may_migrate_are_zero_by_silence_as_by_name():
    named = identity(GUEST, **MIGRATABLE, mr_service_td="00" * 48)
    assert diff(policy(**identity(GUEST, **MIGRATABLE)), policy(**named)) == ()


def test_long_lists_are_cut_short():
    many = [f"{number:064x}" for number in range(1, 21)]
    (only,) = diff(policy(), policy(**identity(mr_enclave=[A, *many])))
    assert only.text.endswith(" and 12 more")


# Few values, so that policies and claims often meet.
HASHES = ["00" * 32, A, B]
MIGRATABLE = {"td_attributes": "0000002000000000", "td_attributes_mask": "0000002000000000"}


def optional(name, strategy):
    return st.just({}) | strategy.map(lambda value: {name: value})


def table(*parts, **fixed):
    def joined(values):
        return {**fixed, **{key: value for part in values for key, value in part.items()}}

    return st.tuples(*parts).map(joined)


def some(values):
    return st.lists(st.sampled_from(values), min_size=1, max_size=3, unique=True)


signer = st.builds(
    lambda value, low: {"mr_signer": value, "isv_prod_id": 0, "minimum_isv_svn": low},
    st.sampled_from(HASHES),
    st.integers(0, 2),
)
sgx = table(
    some(HASHES).map(lambda value: {"mr_enclave": value}) | signer,
    optional("config_id", st.sampled_from(["00" * 64, "01" * 64])),
    optional("minimum_config_svn", st.integers(0, 2)),
    st.sampled_from(
        [
            {},
            {"attributes": "00" * 16, "attributes_mask": "80" + "00" * 15},
            {"misc_select": 1, "misc_select_mask": 3},
        ]
    ),
)
tdx = table(
    some(["00" * 48, "aa" * 48]).map(lambda value: {"mr_td": value}),
    *[(some(["00" * 48]) | st.just("any")).map(lambda v, n=n: {f"rtmr{n}": v}) for n in range(4)],
    optional("mr_service_td", st.sampled_from(["00" * 48, "aa" * 48])),
    optional("mr_owner", st.sampled_from(["00" * 48, "aa" * 48])),
    st.sampled_from([{}, MIGRATABLE]),
    tee="TDX",
)
rules = st.lists(
    table(
        some(["one", "two"]).map(lambda value: {"identities": value}),
        optional("asked_for", some(["a.example", "b.example"])),
        st.sampled_from(["x", "y"]).map(lambda value: {"secret": value})
        | some(["x", "y", "x*", "*"]).map(lambda value: {"secrets": value}),
    ),
    max_size=2,
).map(lambda tables: [{**each, "name": f"rule {n}"} for n, each in enumerate(tables)])
exceptions = st.lists(
    table(
        st.sampled_from([made_claims.NOW, LATER]).map(lambda value: {"expires": value}),
        some(["SWHardeningNeeded", "OutOfDate"]).map(lambda value: {"tcb_statuses": value}),
        optional("dangerously_allow_debug", st.booleans()),
        optional("collateral_grace_hours", st.integers(1, 3)),
        optional("fmspcs", some(["00" * 6, "01" * 6])),
        reason=EXCEPTION["reason"],
    ),
    max_size=2,
).map(lambda tables: [{**each, "name": f"exception {n}"} for n, each in enumerate(tables)])
policies = table(
    st.tuples(sgx | tdx, sgx | tdx).map(
        lambda pair: {"identities": [{**pair[0], "name": "one"}, {**pair[1], "name": "two"}]}
    ),
    rules.map(lambda value: {"rules": value}),
    exceptions.map(lambda value: {"exceptions": value}),
    optional("maa", st.just({"issuers": ["https://a.example"], "policy_hashes": ["A" * 43]})),
    optional(
        "platform",
        some(["00" * 6, "01" * 6]).map(lambda value: {"fmspcs": value})
        | st.booleans().map(lambda value: {"smt_enabled": value}),
    ),
    version=2,
)
enclaves = st.builds(
    made_claims.sgx_enclave,
    mr_enclave=st.sampled_from(HASHES).map(bytes.fromhex),
    mr_signer=st.sampled_from(HASHES).map(bytes.fromhex),
    isv_svn=st.integers(0, 2),
    debug=st.booleans(),
    config_id=st.sampled_from([None, bytes(64), b"\x01" * 64]),
    config_svn=st.sampled_from([None, 0, 1]),
    misc_select=st.sampled_from([None, 0, 1]),
    attributes=st.sampled_from([None, bytes(16), b"\x80" + bytes(15)]),
)
guests = st.builds(
    made_claims.trust_domain,
    mr_td=st.sampled_from([bytes(48), b"\xaa" * 48]),
    mr_service_td=st.sampled_from([None, bytes(48), b"\xaa" * 48]),
    td_attributes=st.sampled_from([bytes.fromhex(f"000000{byte}00000000") for byte in (10, 30)]),
)
standings = st.builds(
    made_claims.dcap_standing,
    tcb_status=st.sampled_from([TcbStatus.UP_TO_DATE, TcbStatus.OUT_OF_DATE]),
    fmspc=st.sampled_from([bytes(6), b"\x01" * 6]),
    smt_enabled=st.sampled_from([None, False, True]),
)
tokens = made_claims.any_of(AzureStanding).map(
    lambda each: AzureStanding(
        issuer="https://a.example",
        token_id="",
        policy_hash="A" * 43,
        tcb_status=each.tcb_status,
        token_valid_from=made_claims.NOW,
        token_valid_until=made_claims.NOW,
        simulated=False,
    )
)


@given(
    policies,
    st.lists(policies, max_size=1),
    enclaves | guests,
    standings | tokens,
    st.sampled_from([None, "a.example"]),
    st.sampled_from([None, "x", "y", "xx"]),
    st.data(),
)
def test_what_only_widens_or_only_narrows_does_so_for_every_claim(
    base, others, target, standing, asked_for, secret, data
):
    """The second policy is the first with some of its tables taken from another."""
    mixed = dict(base)
    for other in others:
        for key in data.draw(st.sets(st.sampled_from(sorted(other)))):
            mixed[key] = other[key]
    old, new = (_valid(each) for each in (base, mixed))
    claims = made_claims.claims(target, standing)
    before, after = (
        appraise(claims, each, asked_for=asked_for, secret=secret, now=made_claims.NOW)
        for each in (old, new)
    )
    changes = {each.change for each in diff(old, new)}
    if not changes:
        assert (before.allowed, before.grant) == (after.allowed, after.grant)
    if changes == {Change.WIDER}:
        assert after.allowed or not before.allowed
    if changes == {Change.NARROWER}:
        assert before.allowed or not after.allowed


def _valid(tables):
    try:
        return Policy.model_validate(tables)
    except ValueError:
        assume(False)


@given(policies)
def test_a_policy_does_not_differ_from_itself(tables):
    assert diff(_valid(tables), _valid(tables)) == ()


COMPARED = {
    Policy: {"trust_root", "platform", "maa", "identities", "rules", "exceptions"},
    PlatformRules: {
        *("fmspcs", "platform_ids", "minimum_tcb_evaluation_data_number"),
        *("dynamic_platform", "cached_keys", "smt_enabled"),
    },
    AzureAttestation: {"issuers", "policy_hashes"},
    Rule: {"name", "identities", "secret", "secrets", "encoding", "asked_for"},
    PolicyException: set(EXCEPTION)
    | {"advisory_ids", "collateral_grace_hours", "dangerously_allow_debug", "rules", "fmspcs"},
    SgxIdentity: {
        *BY_SIGNER,
        *("tee", "mr_enclave", "maximum_isv_svn", "attributes", "attributes_mask"),
        *("misc_select", "misc_select_mask", "config_id", "minimum_config_svn"),
        *("isv_ext_prod_id", "isv_family_id"),
    },
    TdxIdentity: {
        *GUEST,
        *("mr_seam", "mr_signer_seam", "mr_config_id", "mr_owner", "mr_owner_config"),
        *("mr_service_td", "td_attributes", "td_attributes_mask", "xfam"),
    },
}


@pytest.mark.parametrize("model", COMPARED, ids=lambda model: model.__name__)
def test_no_key_is_forgotten(model):
    assert set(model.model_fields) - {"version"} == COMPARED[model]
