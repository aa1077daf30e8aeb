"""Which secret is granted to whom, where a target asks by name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from made_claims import NOW, claims, sgx_enclave
from made_policies import SGX
from sealserve.appraisal import Grant, Policy, PolicyCode, appraise, parse_policy
from sealserve.appraisal.secret_names import SecretNames, is_pattern, is_secret_name

NAMES = "abAB09-_."
names = st.text(NAMES, min_size=1, max_size=6).filter(is_secret_name)
patterns = st.text(NAMES, max_size=4).map(lambda text: f"{text}*").filter(is_pattern) | names


def granting(*rules: str) -> Policy:
    """A policy of one enclave, whose rules say of secrets what is given."""
    text = f'version = 2\n[[identities]]\nname = "target"\n{SGX}\n'
    for number, rule in enumerate(rules):
        text += f'[[rules]]\nname = "rule {number}"\nidentities = ["target"]\n{rule}\n'
    return parse_policy(text)


def granted(by: Policy, secret: str | None, target=None) -> Grant | None:
    return appraise(claims(target), by, asked_for=None, now=NOW, secret=secret).grant


ONE = 'secret = "digits"'
TABLE = {
    "one secret, for who asks for none": (ONE, None, "digits"),
    "one secret, by its name": (ONE, "digits", "digits"),
    "one secret, by another name": (ONE, "resnet50", None),
    "one secret, in capitals": (ONE, "Digits", None),
    "one secret, by an empty name": (ONE, "", None),
    "a list, for who asks for none": ('secrets = ["digits"]', None, None),
    "a list, by a name of it": ('secrets = ["a", "digits"]', "digits", "digits"),
    "a list, by a name that is longer": ('secrets = ["digits"]', "digits2", None),
    "a beginning": ('secrets = ["team-a-*"]', "team-a-resnet50", "team-a-resnet50"),
    "a beginning and nothing more": ('secrets = ["team-a-*"]', "team-a-", "team-a-"),
    "a shorter beginning": ('secrets = ["team-a-*"]', "team-a", None),
    "another team": ('secrets = ["team-a-*"]', "team-b-resnet50", None),
    "a beginning elsewhere in the name": ('secrets = ["team-a-*"]', "x-team-a-1", None),
    "every secret": ('secrets = ["*"]', "anything", "anything"),
    "every secret, for who asks for none": ('secrets = ["*"]', None, None),
    "what is no name, of every secret": ('secrets = ["*"]', "a/../b", None),
    "a name with a line of its own": ('secrets = ["team-*"]', "team-a\nb", None),
    "a name that is too long": ('secrets = ["a*"]', "a" * 129, None),
    "the star itself": ('secrets = ["*"]', "*", None),
}


@pytest.mark.parametrize(("rule", "asked", "expected"), TABLE.values(), ids=TABLE)
def test_a_rule_grants_the_secret_that_is_asked_for(rule, asked, expected) -> None:
    result = appraise(claims(), granting(rule), asked_for=None, now=NOW, secret=asked)
    assert (result.grant and result.grant.secret) == expected
    assert result.allowed is (expected is not None)
    assert result.code is (PolicyCode.ALLOWED if expected else PolicyCode.SECRET)


def test_a_denial_says_which_secrets_the_rule_is_for() -> None:
    result = appraise(claims(), granting('secrets = ["a", "b-*"]'), asked_for=None, now=NOW)
    (failed,) = result.decisive.failed
    assert (failed.subject, failed.found, failed.expected) == (
        "secrets",
        "no name",
        "one of a, b-*",
    )
    assert "ask for one of a, b-* by name" in failed.fix


def test_the_name_that_was_asked_for_is_shown_and_cut() -> None:
    result = appraise(claims(), granting(ONE), asked_for=None, now=NOW, secret="x" * 10_000)
    assert result.decisive.failed[0].found == "x" * 255


def test_the_first_rule_that_has_the_secret_says_how_it_is_encoded() -> None:
    by = granting(
        ONE,
        'secrets = ["team-a-*"]\nencoding = "hex"',
        'secrets = ["*"]\nencoding = "raw"',
    )
    assert granted(by, None) == Grant("digits", "raw")
    assert granted(by, "team-a-1") == Grant("team-a-1", "hex")
    assert granted(by, "other") == Grant("other", "raw")


def test_a_secret_by_name_is_for_the_identities_of_its_rule_alone() -> None:
    other = sgx_enclave(mr_enclave=b"\x07" * 32)
    assert granted(granting('secrets = ["*"]'), "digits", other) is None


def test_host_name_and_secret_are_two_conditions() -> None:
    by = granting('secrets = ["digits"]\nasked_for = ["keys.example"]')
    for host, secret, codes in (
        ("keys.example", "digits", []),
        ("other.example", "digits", [PolicyCode.ASKED_FOR]),
        ("keys.example", "other", [PolicyCode.SECRET]),
        (None, None, [PolicyCode.ASKED_FOR, PolicyCode.SECRET]),
    ):
        result = appraise(claims(), by, asked_for=host, now=NOW, secret=secret)
        assert [each.code for each in result.decisive.failed] == codes


def test_what_rules_have_in_common_is_judged_as_if_it_were_judged_for_each() -> None:
    """An exception for one rule counts for that one, though rules share what is judged."""
    text = f'version = 2\n[[identities]]\nname = "target"\n{SGX}\n'
    for name in ("a", "b", "c"):
        text += f'[[rules]]\nname = "{name}"\nidentities = ["target"]\nsecret = "{name}"\n'
    text += (
        '[[exceptions]]\nname = "b alone"\nreason = "the firmware is updated in the spring"\n'
        'expires = 2026-12-31\ndangerously_allow_debug = true\nrules = ["b"]\n'
    )
    debug = claims(sgx_enclave(debug=True))
    result = appraise(debug, parse_policy(text), asked_for=None, now=NOW)
    assert (result.rule, result.exceptions) == ("b", ("b alone",))
    assert [len(each.failed) for each in result.outcomes] == [1, 0, 1]


BAD_PATTERNS = ["", "**", "a**", "*a", "a*b", "a b", "-a", "-*", ".", "a/*", "a\n", "é*", "a" * 129]


@pytest.mark.parametrize("text", BAD_PATTERNS, ids=repr)
def test_what_is_no_pattern(text: str) -> None:
    assert not is_pattern(text)


@given(st.lists(patterns, min_size=1, max_size=4), st.text(NAMES, max_size=6))
def test_a_name_is_among_patterns_when_it_is_one_or_begins_like_one(written, name) -> None:
    expected = is_secret_name(name) and any(
        name.startswith(each[:-1]) if each.endswith("*") else name == each for each in written
    )
    assert (name in SecretNames.of(written)) is expected


@given(
    st.lists(patterns, min_size=1, max_size=3),
    st.lists(patterns, min_size=1, max_size=3),
    names,
)
def test_what_is_within_other_names_is_among_them(inner, outer, name) -> None:
    first, second = SecretNames.of(inner), SecretNames.of(outer)
    assert first.within(first)
    if first.within(second) and name in first:
        assert name in second
