"""What is said to be out of a rule's reach, it never grants, whatever is asked for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

import made_claims
from sealserve.appraisal import Policy, appraise
from sealserve.policies.reach import UNNAMED, Reach

BUILDS = {"a": bytes(32), "b": b"\x01" * 32}
PATTERNS = ["x", "y", "xx", "x*", "xx*", "*"]
ASKED = [UNNAMED, "x", "y", "xx", "xxx", "z"]


def some(values):
    return st.lists(st.sampled_from(values), min_size=1, max_size=3, unique=True)


rules = st.lists(
    st.tuples(
        some(["a", "b", "both"]),
        some(PATTERNS).map(lambda value: {"secrets": value})
        | st.sampled_from(["x", "y"]).map(lambda value: {"secret": value}),
        st.just({}) | some(["a.example", "b.example"]).map(lambda value: {"asked_for": value}),
    ).map(lambda parts: {"identities": parts[0], **parts[1], **parts[2]}),
    min_size=1,
    max_size=4,
)


def policy(tables):
    builds = {**{name: [value] for name, value in BUILDS.items()}, "both": BUILDS.values()}
    return Policy.model_validate(
        {
            "version": 2,
            "identities": [
                {"name": name, "mr_enclave": [each.hex() for each in values]}
                for name, values in builds.items()
            ],
            "rules": [{**each, "name": f"rule {place}"} for place, each in enumerate(tables)],
        }
    )


def granting(by, build, asked, host):
    """The rule that grants, and to which identity."""
    claims = made_claims.claims(made_claims.sgx_enclave(mr_enclave=build))
    found = appraise(claims, by, asked_for=host, now=made_claims.NOW, secret=asked)
    return (found.rule, found.identity) if found.allowed else None


@given(
    rules,
    st.sampled_from(list(BUILDS.values())),
    st.sampled_from(ASKED),
    st.sampled_from([None, "a.example"]),
)
def test_a_rule_grants_nothing_that_earlier_ones_take(tables, build, asked, host):
    by = policy(tables)
    reach, granted = Reach(by), granting(by, build, asked, host)
    for rule in by.rules:
        for identity, shadows in zip(rule.identities, reach.shadows(rule), strict=True):
            assert not shadows or granted != (rule.name, identity)
        if granted and granted[0] == rule.name:
            assert asked not in reach.taken(rule)


@given(rules)
def test_the_first_rule_is_never_out_of_reach(tables):
    first, *_ = (by := policy(tables)).rules
    assert not any(Reach(by).shadows(first))
    assert not Reach(by).taken(first)
