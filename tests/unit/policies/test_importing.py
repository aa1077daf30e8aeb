"""From ra_config.json to a policy that lets in what its author named, and nothing else."""

from __future__ import annotations

import json
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

import made_claims
from sealserve.appraisal import appraise, parse_policy
from sealserve.errors import ConfigError, UsageError
from sealserve.policies.checking import check_policy
from sealserve.policies.finding import errors
from sealserve.policies.importing import Answer, Script, Wish, import_ra_config
from sealserve.policies.ra_config import SWITCHES
from sealserve.verifier.claims import TcbStatus

NOW = made_claims.NOW
ENCLAVE = "9f3c1a7be04d2568f1e0b3c7a9d5428610fe2dc3b4a59687786950a4b3c2d1e0"
SIGNER = "d4c3b2a1908f7e6d5c4b3a29180706f5e4d3c2b1a0918273645546372819aabb"
ENTRY = {"mr_enclave": ENCLAVE, "mr_signer": SIGNER, "isv_prod_id": 3, "isv_svn": 4}
WISH = Wish("wrap-key", "raw")
ANSWER = Answer(
    "the firmware update of our fleet is due in March",
    (NOW + timedelta(days=90)).date(),
    ("INTEL-SA-00615",),
)


def ra_config(*entries, **changes):
    document = dict.fromkeys(SWITCHES, "on") | {"mrs": list(entries) or [ENTRY]} | changes
    return json.dumps(document, indent=1)


def imported(text, wish=WISH, script=None):
    made = import_ra_config(text, wish, NOW, script)
    assert made.text is not None, made.findings
    return parse_policy(made.text)


def allowed(policy, *, asked_for=None, **changes):
    enclave = {
        "mr_enclave": bytes.fromhex(ENCLAVE),
        "mr_signer": bytes.fromhex(SIGNER),
        "isv_prod_id": 3,
        "isv_svn": 4,
    } | {key: value for key, value in changes.items() if key not in STANDING}
    standing = {key: value for key, value in changes.items() if key in STANDING}
    claims = made_claims.claims(
        made_claims.sgx_enclave(**enclave), made_claims.dcap_standing(**standing)
    )
    return appraise(claims, policy, asked_for=asked_for, now=NOW).allowed


STANDING = {"tcb_status", "advisory_ids"}


def test_the_enclave_that_is_named_gets_the_secret():
    policy = imported(ra_config())
    assert allowed(policy)
    (rule,) = policy.rules
    assert (rule.secret, rule.encoding, policy.trust_root) == ("wrap-key", "raw", None)


@pytest.mark.parametrize(
    "change",
    [
        {"mr_enclave": bytes.fromhex(SIGNER)},
        {"mr_signer": bytes.fromhex(ENCLAVE)},
        {"isv_prod_id": 0},
        {"isv_svn": 3},
        {"isv_svn": 5},
        {"debug": True},
        {"tcb_status": TcbStatus.OUT_OF_DATE},
        {"tcb_status": TcbStatus.SW_HARDENING_NEEDED},
        {"advisory_ids": ("INTEL-SA-00615",)},
        {"config_id": b"\x01" * 64},
    ],
    ids=str,
)
@pytest.mark.parametrize("off", [(), SWITCHES[:1], SWITCHES[1:]], ids=["on", "one off", "one on"])
def test_another_enclave_does_not_whatever_the_switches_say(change, off):
    policy = imported(ra_config(**dict.fromkeys(off, "off")))
    assert allowed(policy)
    assert not allowed(policy, **change)


def test_a_check_that_is_off_is_a_warning_with_its_line():
    made = import_ra_config(ra_config(verify_isv_svn="off"), WISH, NOW, None)
    (warning,) = made.findings
    assert (warning.line, warning.code) == (5, "ra-config.off")


def test_the_policy_says_where_each_enclave_came_from_and_has_no_findings():
    other = {**ENTRY, "mr_enclave": SIGNER[::-1], "isv_svn": 5}
    text = import_ra_config(ra_config(ENTRY, other), WISH, NOW, None).text
    assert f'  "{ENCLAVE}",  # line 7\n' in text
    assert f'  "{SIGNER[::-1]}",  # line 13\n' in text
    assert check_policy(text, NOW).findings == ()


def test_enclaves_of_one_signer_and_version_are_one_identity():
    entries = [{**ENTRY, "mr_enclave": f"{number:064x}"} for number in range(1, 101)]
    (identity,) = imported(ra_config(*entries)).identities
    assert len(identity.mr_enclave) == 100


def test_a_fault_leaves_no_policy():
    made = import_ra_config(ra_config(verify_isv_svn="ON"), WISH, NOW, None)
    assert made.text is None
    assert [each.code for each in errors(made.findings)] == ["ra-config.switch"]


def test_a_text_that_is_not_json_is_refused():
    with pytest.raises(ConfigError, match="line 1"):
        import_ra_config("mrs", WISH, NOW, None)


LENIENT = ra_config(allow_outdated_tcb="on", allow_debug_enclave="on")
SCRIPT = Script("start.sh", "set -e\nexport RA_TLS_ALLOW_SW_HARDENING_NEEDED=1\n")


@pytest.mark.parametrize(
    ("text", "script", "lines"),
    [(LENIENT, None, [14, 15]), (ra_config(), SCRIPT, [2]), (LENIENT, SCRIPT, [14, 15, 2])],
    ids=["in the file", "in the script", "in both"],
)
def test_insecure_switches_are_refused(text, script, lines):
    made = import_ra_config(text, WISH, NOW, script)
    assert made.text is None
    assert [(each.line, each.code) for each in made.findings] == [
        (line, "ra-config.insecure") for line in lines
    ]
    assert {each.file for each in made.findings if each.line == 2} <= {"start.sh"}


def test_who_answers_for_an_insecure_switch_gets_an_exception_that_ends():
    policy = imported(ra_config(), Wish("wrap-key", "raw", ANSWER), SCRIPT)
    (exception,) = policy.exceptions
    assert (exception.reason, exception.rules) == (ANSWER.reason, (policy.rules[0].name,))
    assert not exception.dangerously_allow_debug
    hardened = {"tcb_status": TcbStatus.SW_HARDENING_NEEDED, "advisory_ids": ("INTEL-SA-00615",)}
    assert allowed(policy, **hardened)
    assert not allowed(policy, **hardened, debug=True)
    assert not allowed(policy, **hardened | {"advisory_ids": ("INTEL-SA-00334",)})
    assert not allowed(policy, **hardened | {"tcb_status": TcbStatus.OUT_OF_DATE})


def test_all_four_switches_become_one_exception_that_a_check_lets_pass():
    script = "\n".join(
        f"export RA_TLS_ALLOW_{name}=1"
        for name in (
            "DEBUG_ENCLAVE_INSECURE",
            "OUTDATED_TCB_INSECURE",
            "HW_CONFIG_NEEDED",
            "SW_HARDENING_NEEDED",
        )
    )
    made = import_ra_config(
        ra_config(), Wish("wrap-key", "raw", ANSWER), NOW, Script("a\nb", script)
    )
    assert errors(check_policy(made.text, NOW).findings) == ()
    (exception,) = parse_policy(made.text).exceptions
    assert len(exception.tcb_statuses) == 5
    assert exception.dangerously_allow_debug


@pytest.mark.parametrize(
    ("answer", "text", "said"),
    [
        (ANSWER, ra_config(), "no insecure switch is on"),
        (Answer(ANSWER.reason, date(2026, 5, 31)), LENIENT, "ended already"),
        (Answer(ANSWER.reason, date(2028, 5, 31)), LENIENT, "lasts for"),
        (Answer("because", ANSWER.expires), LENIENT, "no reason"),
        (Answer(ANSWER.reason, ANSWER.expires, ("615",)), LENIENT, "advisory_ids"),
    ],
    ids=["for nothing", "in the past", "too long", "without a reason", "no advisory id"],
)
def test_an_answer_that_does_not_stand_is_refused(answer, text, said):
    with pytest.raises(UsageError, match=said):
        import_ra_config(text, Wish("wrap-key", "raw", answer), NOW, None)


@pytest.mark.parametrize("secret", ["x" * 128, "wrap-key", "a.b_c-1"])
def test_any_secret_can_be_named(secret):
    assert imported(ra_config(), Wish(secret, "hex")).rules[0].secret == secret


def test_a_name_that_no_secret_can_have_is_refused():
    with pytest.raises(UsageError, match="secret"):
        import_ra_config(ra_config(), Wish('x"\nversion = 1', "raw"), NOW, None)


hashes = st.sampled_from([ENCLAVE, SIGNER, ENCLAVE[::-1]])


def entries_of(numbers):
    return st.fixed_dictionaries(
        {"mr_enclave": hashes, "mr_signer": hashes, "isv_prod_id": numbers, "isv_svn": numbers}
    )


entries = entries_of(st.sampled_from([0, 1, 2, "0"]))
odd = st.sampled_from(["off", "ON", "", True, None, 0]) | hashes
documents = st.builds(
    lambda switches, entries, changes: {**switches, "mrs": entries, **changes},
    st.fixed_dictionaries({name: st.sampled_from(["on", "on", "off"]) for name in SWITCHES}),
    st.lists(entries | st.dictionaries(st.sampled_from(sorted(ENTRY)), odd), max_size=4),
    st.dictionaries(st.sampled_from([*SWITCHES, "mrs", "allow_hw_config_needed"]), odd, max_size=1),
)


@given(documents, entries_of(st.integers(0, 2)), st.booleans(), st.sampled_from(TcbStatus))
def test_no_policy_lets_in_what_the_file_with_every_check_on_would_not(
    document, found, debug, status
):
    made = None
    try:
        made = import_ra_config(json.dumps(document), WISH, NOW, None).text
    except UsageError:  # what a check of the policy would call an error
        return
    if made is None:
        return
    target = {
        name: bytes.fromhex(value) if isinstance(value, str) else value
        for name, value in found.items()
    }
    named = found in [
        {
            name: 0 if value == "0" else value.lower() if isinstance(value, str) else value
            for name, value in entry.items()
        }
        for entry in document["mrs"]
    ]
    plain = named and not debug and status is TcbStatus.UP_TO_DATE
    assert allowed(parse_policy(made), debug=debug, tcb_status=status, **target) == plain
