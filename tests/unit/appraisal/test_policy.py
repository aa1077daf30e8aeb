"""What a policy may say, and what is told to the person whose policy says something else."""

from __future__ import annotations

import re

import pytest
from pydantic import ValidationError

from made_policies import SGX, TDX, policy, policy_text
from sealserve.appraisal import parse_policy
from sealserve.appraisal.policy import POLICY_LIMIT
from sealserve.errors import ConfigError
from sealserve.verifier import INTEL_SGX_ROOT_CA, load_trust_root

HASH = "aB" * 32
TEXT = policy_text()
MAA = '[maa]\nissuers = ["https://a.weu.attest.azure.net"]\npolicy_hashes = ["%s"]\n' % ("x" * 43)


def test_a_policy_of_a_version_alone_has_no_rules_rests_on_intel_and_allows_nothing_else() -> None:
    empty = parse_policy("version = 2")
    assert (empty.identities, empty.rules, empty.exceptions) == ((), (), ())
    assert empty.trust_root is None
    assert empty.maa is None
    assert set(empty.platform.model_dump().values()) == {None}


def test_a_rule_is_careful_where_it_says_nothing() -> None:
    (rule,) = policy().rules
    assert (rule.encoding, rule.asked_for) == ("raw", None)


def test_names_that_are_asked_for_are_compared_in_lower_case() -> None:
    (rule,) = policy(rule='asked_for = ["Models.Example"]').rules
    assert rule.asked_for == ("models.example",)


def test_a_trust_root_is_intels_or_a_fingerprint() -> None:
    assert policy(head='trust_root = "intel"').trust_root is None
    assert policy(head=f'trust_root = "{HASH}"').trust_root == b"\xab" * 32


def test_intels_root_may_be_named_by_its_fingerprint() -> None:
    fingerprint = load_trust_root(INTEL_SGX_ROOT_CA).sha256.hex()
    assert policy(head=f'trust_root = "{fingerprint}"').trust_root is None


def test_a_policy_hash_may_have_the_padding_of_base64() -> None:
    text = "version = 2\n" + MAA
    padded = parse_policy(text.replace("x" * 43, "x" * 43 + "="))
    assert padded == parse_policy(text)


@pytest.mark.parametrize(
    "issuer",
    [
        "https://sharedweu.weu.attest.azure.net",
        "https://attest.internal:8443",
        "http://127.0.0.1:8080",
        "http://localhost:8080",
        "http://[::1]:8080",
    ],
)
def test_an_issuer_is_an_instance_over_tls_or_a_test_on_this_machine(issuer: str) -> None:
    text = "version = 2\n" + MAA.replace("https://a.weu.attest.azure.net", issuer)
    maa = parse_policy(text).maa
    assert maa is not None
    assert maa.issuers == (issuer,)


def test_a_policy_does_not_change() -> None:
    frozen = policy()
    with pytest.raises(ValidationError):
        frozen.trust_root = bytes(32)
    with pytest.raises(ValidationError):
        frozen.rules[0].secret = "another"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param("rules = [", "not TOML", id="no-toml"),
        pytest.param("a = " + "[" * 5000, "not TOML", id="deep"),
        pytest.param("a." * 20 + "a = 1", "line 1 has more than 16 names", id="long-key"),
        pytest.param("[" + "'a' . " * 20 + "a]", "more than 16 names", id="long-key-in-quotes"),
        pytest.param("#" * (POLICY_LIMIT + 1), "characters", id="too-long"),
        pytest.param("version = 3", "version: found 3", id="version-3"),
        pytest.param("version = true", "version: found true", id="version-true"),
        pytest.param('version = "2"', "version: found '2'", id="version-text"),
        pytest.param(TEXT + "[ruules]\n", "unknown key ruules; .* is rules", id="unknown-key"),
        pytest.param(
            policy_text(rule="secrett = 1"),
            r"unknown key rules\[0\]\.secrett; .* is secret",
            id="unknown-key-in-a-rule",
        ),
        pytest.param(
            policy_text(SGX + f'\nmrenclave = ["{HASH}"]'),
            r"unknown key identities\[0\]\.mrenclave; .* is mr_enclave",
            id="unknown-key-in-an-enclave",
        ),
        pytest.param(
            policy_text(TDX + "\nrtmr4 = 1"),
            r"unknown key identities\[0\]\.rtmr4; .* is rtmr3",
            id="unknown-key-in-a-trust-domain",
        ),
        pytest.param(
            TEXT + '[platform]\nfmspc = "a"',
            r"unknown key platform\.fmspc; .* is fmspcs",
            id="unknown-key-in-the-platform",
        ),
        pytest.param(
            'version = 2\nrules = "all"', "rules: found 'all', expected a list", id="text"
        ),
        pytest.param("version = 2\nrules = [1]", r"rules\[0\]: found 1, .* a table", id="number"),
        pytest.param(
            "version = 2\nidentities = [1]",
            r"identities\[0\]: found 1, .* a table",
            id="identity-1",
        ),
        pytest.param("version = 2\nplatform = 1", "platform: found 1, .* table", id="platform-1"),
        pytest.param(
            policy_text(head='trust_root = "Intel"'),
            "found 'Intel', expected 64 hex digits, or .intel.",
            id="trust-root-word",
        ),
        pytest.param(
            policy_text(head="trust_root = []"), "trust_root: found", id="trust-root-list"
        ),
        pytest.param(
            TEXT.replace('name = "rule"', ""),
            r"rules\[0\]\.name is missing",
            id="rule-without-name",
        ),
        pytest.param(
            TEXT.replace('secret = "secret"', ""),
            r"rules\[0\]: found neither of secret and secrets, expected one",
            id="no-secret",
        ),
        pytest.param(
            TEXT.replace('secret = "secret"', 'secret = "secret"\nsecrets = ["other"]'),
            r"rules\[0\]: found both of secret and secrets, expected one",
            id="both-kinds-of-secrets",
        ),
        pytest.param(
            TEXT.replace('secret = "secret"', "secrets = []"),
            r"rules\[0\]\.secrets: the list is empty",
            id="no-pattern",
        ),
        pytest.param(
            TEXT.replace('secret = "secret"', 'secrets = "a-*"'),
            r"rules\[0\]\.secrets: found 'a-\*', expected a list",
            id="patterns-that-are-text",
        ),
        pytest.param(
            TEXT.replace('secret = "secret"', 'secrets = ["a", "a-*-b"]'),
            r"rules\[0\]\.secrets\[1\]: found 'a-\*-b', expected a secret's name, or the beginning",
            id="a-star-in-the-middle",
        ),
        pytest.param(
            TEXT.replace('identities = ["target"]', ""),
            r"rules\[0\]\.identities is missing",
            id="rule-without-identities",
        ),
        pytest.param(
            TEXT.replace('["target"]', "[]"), "the list is empty", id="no-identity-at-all"
        ),
        pytest.param(
            TEXT.replace('["target"]', '["targets"]'),
            r"rules\[0\]\.identities\[0\]: identities has no 'targets'; .* 'target'",
            id="identity-that-is-not-there",
        ),
        pytest.param(
            'version = 2\n[[rules]]\nname = "r"\nidentities = ["i"]\nsecret = "s"',
            r"rules\[0\]\.identities\[0\]: identities has no 'i'$",
            id="identities-that-are-not-there",
        ),
        pytest.param(
            TEXT + '[[rules]]\nname = "rule"\nidentities = ["target"]\nsecret = "s"',
            "two rules have the name 'rule'",
            id="rule-twice",
        ),
        pytest.param(
            TEXT + f'[[identities]]\nname = "target"\n{SGX}',
            "two identities have the name 'target'",
            id="identity-twice",
        ),
        pytest.param(policy_text(rule='encoding = "base64"'), "found 'base64'", id="encoding"),
        pytest.param(policy_text(rule='asked_for = ["a b"]'), r"asked_for\[0\]", id="host-space"),
        pytest.param(
            policy_text(rule='asked_for = ["*.b"]'), r"asked_for\[0\]", id="host-wildcard"
        ),
        pytest.param(policy_text(rule="asked_for = []"), "list is empty", id="host-none"),
        pytest.param(TEXT.replace('"secret"', '"../s"'), "secret: found '../s'", id="secret-path"),
        pytest.param(
            TEXT.replace('"rule"', '"rule\\n"'), "name: found 'rule", id="name-with-newline"
        ),
        pytest.param(TEXT + "[platform]\nfmspcs = []", "the list is empty", id="no-fmspcs"),
        pytest.param(
            TEXT + '[platform]\nfmspcs = ["00606a0000"]',
            r"platform\.fmspcs\[0\]: found 10 characters, expected 12 hex digits",
            id="short-fmspc",
        ),
        pytest.param(
            TEXT + '[platform]\nplatform_ids = ["ab"]',
            r"platform\.platform_ids\[0\]: found 2 characters, expected 32 hex",
            id="short-platform-id",
        ),
        pytest.param(
            TEXT + "[platform]\nminimum_tcb_evaluation_data_number = 0",
            "at least 1",
            id="evaluation-data-number-0",
        ),
        pytest.param(
            TEXT + "[maa]", r"maa\.issuers is missing.*policy_hashes is missing", id="maa"
        ),
        pytest.param(
            TEXT + MAA.replace("https:", "http:"), r"maa\.issuers\[0\]: found", id="issuer-no-tls"
        ),
        pytest.param(
            TEXT + MAA.replace(".net", ".net/"), r"maa\.issuers\[0\]: found", id="issuer-slash"
        ),
        pytest.param(
            TEXT + MAA.replace("xx", "x", 1), r"maa\.policy_hashes\[0\]: found", id="policy-hash"
        ),
    ],
)
def test_a_policy_that_is_wrong_is_refused_with_the_place_and_the_reason(
    text: str, told: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_policy(text)
    assert re.search(told, caught.value.message)


VERSION_1 = f"""
trust_root = "intel"
[[rules]]
name = "digits"
secret = "digits"
mr_enclave = ["{HASH}"]
tcb_statuses = ["UpToDate", "SWHardeningNeeded"]
"""


@pytest.mark.parametrize("text", ["", VERSION_1, "version = 1\n" + VERSION_1, "versoin = 2"])
def test_a_policy_of_the_first_version_is_told_in_one_error_what_to_write(text: str) -> None:
    with pytest.raises(ConfigError, match="only version 2 is read") as caught:
        parse_policy(text)
    assert ";" not in caught.value.message
    for told in ("`version = 2`", "[[identities]]", "[[exceptions]]", "docs/policy-reference.md"):
        assert told in str(caught.value.hint)


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_policy('version = 2\n[[rules]]\nnam = "r"\nsecret = 1\n')
    for told in ("rules[0].nam;", "rules[0].name is missing", "rules[0].secret: found 1"):
        assert told in caught.value.message


def test_a_policy_of_many_faults_is_told_in_a_few_lines() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_policy("version = 2\n" + "\n".join(f"x{n} = 1" for n in range(1000)))
    assert len(caught.value.message) < 2000
    assert "and 980 more" in caught.value.message
