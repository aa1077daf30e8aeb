"""What a policy may say, and what is told to the person whose policy says something else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from sealserve.appraisal import Policy, Rule, parse_policy
from sealserve.appraisal.policy import POLICY_LIMIT
from sealserve.errors import ConfigError
from sealserve.verifier.claims import TcbStatus

HASH = "aB" * 32
RULE = f'[[rules]]\nname = "r"\nsecret = "s"\nmr_enclave = ["{HASH}"]\n'
SIGNER = (
    '[[rules]]\nname = "r"\nsecret = "s"\n'
    f'mr_signer = "{HASH}"\nisv_prod_id = 1\nminimum_isv_svn = 2\n'
)
REFERENCE = Path(__file__).parents[3] / "docs" / "policy-reference.md"


def test_an_empty_policy_has_no_rules_and_rests_on_intel() -> None:
    assert parse_policy("") == Policy()
    assert Policy().rules == ()
    assert Policy().trust_root is None


def test_a_rule_by_measurement_is_careful_where_it_says_nothing() -> None:
    (rule,) = parse_policy(RULE).rules
    assert rule.mr_enclave == (b"\xab" * 32,)
    assert rule.tcb_statuses == (TcbStatus.UP_TO_DATE,)
    assert rule.allowed_advisories == ()
    assert rule.encoding == "raw"
    assert rule.asked_for is None
    assert not rule.dangerously_allow_debug_enclaves


def test_a_rule_by_signer_names_product_and_version() -> None:
    (rule,) = parse_policy(SIGNER).rules
    assert (rule.mr_signer, rule.isv_prod_id, rule.minimum_isv_svn) == (b"\xab" * 32, 1, 2)


def test_names_that_are_asked_for_are_compared_in_lower_case() -> None:
    (rule,) = parse_policy(RULE + 'asked_for = ["Models.Example"]').rules
    assert rule.asked_for == ("models.example",)


def test_a_trust_root_is_intels_or_a_fingerprint() -> None:
    assert parse_policy('trust_root = "intel"').trust_root is None
    assert parse_policy(f'trust_root = "{HASH}"').trust_root == b"\xab" * 32


def test_a_policy_does_not_change() -> None:
    policy = parse_policy(RULE)
    with pytest.raises(ValidationError):
        policy.trust_root = bytes(32)
    with pytest.raises(ValidationError):
        policy.rules[0].dangerously_allow_debug_enclaves = True


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param("rules = [", "not TOML", id="no-toml"),
        pytest.param("a = " + "[" * 5000, "not TOML", id="deep"),
        pytest.param("#" * (POLICY_LIMIT + 1), "characters", id="too-long"),
        pytest.param("rulez = []", "unknown key rulez; .* is rules", id="unknown-key"),
        pytest.param(
            RULE + f'mrenclave = ["{HASH}"]',
            r"unknown key rules\[0\]\.mrenclave; .* is mr_enclave",
            id="unknown-key-in-a-rule",
        ),
        pytest.param(
            RULE + "allow_debug = true",
            "unknown key .* is dangerously_allow_debug_enclaves",
            id="unknown-debug-key",
        ),
        pytest.param("version = 2", "version: found 2", id="version-2"),
        pytest.param("version = true", "version: found True", id="version-true"),
        pytest.param('rules = "all"', "rules: found 'all', expected a list", id="rules-text"),
        pytest.param("rules = [1]", r"rules\[0\]: found 1, expected a table", id="rule-number"),
        pytest.param(
            'trust_root = "Intel"',
            "found 'Intel', expected 64 hex digits, or .intel.",
            id="trust-root-word",
        ),
        pytest.param("trust_root = []", "trust_root: found", id="trust-root-list"),
        pytest.param(
            f'[[rules]]\nsecret = "s"\nmr_enclave = ["{HASH}"]',
            r"rules\[0\]\.name is missing",
            id="no-name",
        ),
        pytest.param(
            f'[[rules]]\nname = "r"\nmr_enclave = ["{HASH}"]',
            r"rules\[0\]\.secret is missing",
            id="no-secret",
        ),
        pytest.param('[[rules]]\nname = "r"\nsecret = "s"', "no enclave is named", id="no-enclave"),
        pytest.param(RULE + RULE, "two rules have the name 'r'", id="name-twice"),
        pytest.param(RULE.replace(HASH, "ab"), "found 2 characters", id="short-hash"),
        pytest.param(RULE.replace(HASH, HASH + "ab"), "found 66 characters", id="long-hash"),
        pytest.param(RULE.replace(HASH, "xy" * 32), "expected 64 hex digits", id="hash-no-hex"),
        pytest.param(
            RULE.replace(HASH, "ab " * 32), "expected 64 hex digits", id="hash-with-spaces"
        ),
        pytest.param(
            RULE.replace(f'["{HASH}"]', f'"{HASH}"'), "expected a list", id="hash-no-list"
        ),
        pytest.param(RULE.replace(f'["{HASH}"]', "[]"), "the list is empty", id="no-hashes"),
        pytest.param(RULE.replace(f'["{HASH}"]', "[1]"), "expected 64 hex", id="hash-number"),
        pytest.param(
            SIGNER.replace("isv_prod_id = 1\n", ""), "go together", id="signer-without-product"
        ),
        pytest.param(
            SIGNER.replace("minimum_isv_svn = 2\n", ""), "go together", id="signer-without-svn"
        ),
        pytest.param(RULE + "minimum_isv_svn = 2", "go together", id="svn-without-signer"),
        pytest.param(
            SIGNER.replace("= 1", "= 65536"), "isv_prod_id: found 65536", id="product-too-large"
        ),
        pytest.param(SIGNER.replace("= 2", "= -1"), "found -1", id="svn-negative"),
        pytest.param(SIGNER.replace("= 2", "= 2.0"), "a whole number", id="svn-float"),
        pytest.param(SIGNER.replace("= 2", '= "2"'), "a whole number", id="svn-text"),
        pytest.param(SIGNER.replace("= 2", "= true"), "a whole number", id="svn-true"),
        pytest.param(RULE + 'encoding = "base64"', "encoding: found 'base64'", id="encoding"),
        pytest.param(
            RULE + 'tcb_statuses = ["Revoked"]', "found 'Revoked', expected one of", id="revoked"
        ),
        pytest.param(
            RULE + 'tcb_statuses = ["uptodate"]', "expected one of UpToDate", id="status-case"
        ),
        pytest.param(RULE + "tcb_statuses = []", "the list is empty", id="no-statuses"),
        pytest.param(
            RULE + 'allowed_advisories = ["00615"]', r"allowed_advisories\[0\]", id="advisory"
        ),
        pytest.param(RULE + 'asked_for = ["a b"]', r"asked_for\[0\]", id="host-with-space"),
        pytest.param(RULE + 'asked_for = ["*.example"]', r"asked_for\[0\]", id="host-wildcard"),
        pytest.param(
            RULE + "dangerously_allow_debug_enclaves = 1", "true or false", id="debug-number"
        ),
        pytest.param(
            RULE + 'dangerously_allow_debug_enclaves = "true"', "true or false", id="debug-text"
        ),
        pytest.param(RULE.replace('"s"', '"../s"'), "secret: found '../s'", id="secret-path"),
        pytest.param(RULE.replace('"r"', '"r\\n"'), "name: found", id="name-with-newline"),
    ],
)
def test_a_policy_that_is_wrong_is_refused_with_the_place_and_the_reason(
    text: str, told: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_policy(text)
    assert re.search(told, caught.value.message)


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_policy('[[rules]]\nnam = "r"\nsecret = 1\n')
    for told in ("rules[0].nam;", "rules[0].name is missing", "rules[0].secret: found 1"):
        assert told in caught.value.message


def test_a_policy_of_many_faults_is_told_in_a_few_lines() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_policy("\n".join(f"x{n} = 1" for n in range(1000)))
    assert len(caught.value.message) < 2000
    assert "and 980 more" in caught.value.message


def toml_blocks() -> list[str]:
    return re.findall(r"```toml\n(.*?)```", REFERENCE.read_text(), re.DOTALL)


def test_the_examples_of_the_reference_are_policies() -> None:
    assert toml_blocks()
    for block in toml_blocks():
        parse_policy(block)


def test_the_reference_names_every_key_and_shows_it_in_an_example() -> None:
    text = REFERENCE.read_text()
    examples = "\n".join(toml_blocks())
    for key in (*Policy.model_fields, *Rule.model_fields):
        assert f"`{key}`" in text or f"`[[{key}]]`" in text, key
        assert re.search(rf"^\s*(\[\[)?{key}\b", examples, re.MULTILINE), key
