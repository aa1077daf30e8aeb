"""What a check finds in a policy: faults with their lines, and doubts about what is valid."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sealserve.policies.checking import check_policy
from sealserve.policies.finding import Severity

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
FIRST = "9f3c1a7be04d2568f1e0b3c7a9d5428610fe2dc3b4a59687786950a4b3c2d1e0"
SECOND = "1c0ffee4b2d39a8756e4f01b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f"
SIGNER = "d4c3b2a1908f7e6d5c4b3a29180706f5e4d3c2b1a0918273645546372819aabb"
REASON = "the firmware update of our fleet is due in March"


def identity(name="server", *lines):
    return [
        "[[identities]]",
        f'name = "{name}"',
        *(lines or [f'mr_enclave = ["{FIRST}"]']),
    ]


def rule(name="digits", *lines, identities='["server"]', secret="digits"):
    return [
        "[[rules]]",
        f'name = "{name}"',
        f"identities = {identities}",
        f'secret = "{secret}"',
        *lines,
    ]


def granting(name, *lines):
    return ["[[rules]]", f'name = "{name}"', 'identities = ["server"]', *lines]


def exception(*lines, expires="2026-09-01", name="fleet"):
    return [
        "[[exceptions]]",
        f'name = "{name}"',
        f'reason = "{REASON}"',
        f"expires = {expires}",
        *lines,
    ]


HARDENED = ('tcb_statuses = ["SWHardeningNeeded"]', 'advisory_ids = ["INTEL-SA-00615"]')


def found(*parts, now=NOW):
    text = "\n".join(["version = 2", *(line for part in parts for line in part)])
    checked = check_policy(text, now)
    return [
        (each.line, each.severity.value, each.code.removeprefix("policy."))
        for each in checked.findings
    ]


def test_a_sound_policy_has_no_findings():
    assert found(identity(), rule(), exception(*HARDENED)) == []


BY_SIGNER = (f'mr_signer = "{SIGNER}"', "isv_prod_id = 1", "minimum_isv_svn = 2")

INVALID = {
    "an unknown key": ([*identity(), 'x = "y"'], [5]),
    "a bad measurement": (identity("server", 'mr_enclave = ["ab"]'), [4]),
    "the second of two measurements": (
        identity("server", "mr_enclave = [", f'  "{FIRST}",', '  "ab",', "]"),
        [6],
    ),
    "a missing key": ([*identity(), "[[rules]]", 'name = "r"'], [5]),
    "no secret": ([*identity(), *rule()[:3]], [5]),
    "two kinds of secrets": ([*identity(), *rule("r", 'secrets = ["a"]')], [5]),
    "a star in the middle": (
        [*identity(), *granting("r", 'secrets = ["a-*",', '"a-*-b"]')],
        [9],
    ),
    "a rule for an identity that is not there": ([*identity(), *rule(identities='["x"]')], [7]),
    "two identities of one name, and a rule for a third": (
        [*identity(), *identity(), *rule(identities='["x"]')],
        [1, 10],
    ),
    "an exception without an end": ([*exception(*HARDENED)[:3], HARDENED[0]], [2]),
    "an end in quotes": (exception(*HARDENED, expires='"2026-09-01"'), [5]),
    "an end after the last year": (exception(*HARDENED, expires="9999-12-31T23:59:59-12:00"), [5]),
    "an end before the first": (exception(*HARDENED, expires="0001-01-01T00:00:00+12:00"), [5]),
    "half a signer": (identity("server", *BY_SIGNER[:2]), [2]),
    "no TOML": (["a = "], [2]),
    "a key twice": (["a = 1", "a = 2"], [3]),
    "version 2 in quotes": (['version = "2"'], [2]),
}


@pytest.mark.parametrize(("lines", "where"), INVALID.values(), ids=INVALID)
def test_what_is_not_valid_is_an_error_on_its_line(lines, where):
    assert found(lines) == [(line, "error", "invalid") for line in where]


def test_a_policy_of_version_1_is_told_what_to_change():
    checked = check_policy("# ours\nversion = 1\n", NOW)
    (finding,) = checked.findings
    assert (checked.policy, finding.line) == (None, 2)
    assert "[[identities]]" in finding.hint


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("version = 2\n" + "a." * 50 + "b = 1", 2),
        ("version = 2\nrules = " + "[" * 60 + "]" * 60, 1),
        ("version = 2\n" + "#" * (1 << 20), 1),
    ],
    ids=["a key of many parts", "deep nesting", "too long"],
)
def test_what_is_refused_before_it_is_read_is_one_error(text, line):
    (finding,) = check_policy(text, NOW).findings
    assert (finding.line, finding.code) == (line, "policy.invalid")


RULES = {
    "no rules": ([identity()], [(1, "warning", "no-rules"), (3, "warning", "unused-identity")]),
    "an identity that no rule uses": (
        [identity(), identity("old", f'mr_enclave = ["{SECOND}"]'), rule()],
        [(6, "warning", "unused-identity")],
    ),
    "the same rule again": (
        [identity(), rule(), rule("again")],
        [(9, "error", "unreachable-rule")],
    ),
    "a rule for another secret": (
        [identity(), rule(), rule("again", secret="other")],
        [(12, "warning", "only-by-name")],
    ),
    "a rule for another secret by its name": (
        [identity(), rule(), granting("more", 'secrets = ["other"]')],
        [],
    ),
    "every secret": (
        [identity(), granting("all", 'secrets = ["a",', '"*"]')],
        [(9, "warning", "every-secret")],
    ),
    "some secrets behind every secret": (
        [
            identity(),
            granting("all", 'secrets = ["*"]'),
            granting("some", 'secrets = ["a-*", "b"]'),
        ],
        [(8, "warning", "every-secret"), (9, "error", "unreachable-rule")],
    ),
    "every secret behind some secrets": (
        [
            identity(),
            granting("some", 'secrets = ["a-*", "b"]'),
            granting("all", 'secrets = ["*"]'),
        ],
        [(12, "warning", "every-secret")],
    ),
    "some of the secrets are taken": (
        [
            identity(),
            granting("a", 'secrets = ["a-*"]'),
            granting("more", 'secrets = ["b",', '"a-x",', '"a-y-*"]'),
        ],
        [(13, "warning", "unreachable-secret"), (14, "warning", "unreachable-secret")],
    ),
    "all secrets are taken, by two rules": (
        [
            identity(),
            granting("a", 'secrets = ["a-*"]'),
            granting("b", 'secrets = ["b-*"]'),
            granting("both", 'secrets = ["a-x", "b-x"]'),
        ],
        [(13, "error", "unreachable-rule")],
    ),
    "one secret is taken by its name and by none": (
        [
            identity(),
            rule(),
            granting("all", 'secrets = ["*"]'),
            rule("other", secret="other"),
        ],
        [(12, "warning", "every-secret"), (13, "error", "unreachable-rule")],
    ),
    "one secret is taken by its name alone": (
        [identity(), granting("d", 'secrets = ["d*"]'), rule()],
        [],
    ),
    "a secret twice": (
        [identity(), granting("d", 'secrets = ["a-*",', '"a-*"]')],
        [(9, "warning", "twice")],
    ),
    "a narrow rule behind a wide one": (
        [identity("server", *BY_SIGNER), rule(), rule("one name", 'asked_for = ["a.example"]')],
        [(11, "error", "unreachable-rule")],
    ),
    "a rule for a build behind one for every build": (
        [
            identity("server", *BY_SIGNER),
            identity("build", f'mr_enclave = ["{FIRST}"]', *BY_SIGNER),
            rule(),
            rule("build", identities='["build"]'),
        ],
        [(17, "error", "unreachable-rule")],
    ),
    "a wide rule behind narrow ones": (
        [
            identity("server", *BY_SIGNER),
            identity("build", f'mr_enclave = ["{FIRST}"]', *BY_SIGNER),
            rule("build", identities='["build"]'),
            rule(),
        ],
        [],
    ),
    "names that are only partly the same": (
        [
            identity(),
            rule("one", 'asked_for = ["a.example", "b.example"]'),
            rule("two", 'asked_for = ["b.example", "c.example"]'),
        ],
        [],
    ),
    "one identity of two is taken": (
        [
            identity(),
            identity("other", f'mr_enclave = ["{SECOND}"]'),
            rule(),
            rule("both", identities='["other", "server"]'),
        ],
        [(14, "warning", "unreachable-identity")],
    ),
    "an exception for the later rule alone": (
        [identity(), rule(), rule("old fleet"), exception(*HARDENED, 'rules = ["old fleet"]')],
        [],
    ),
    "an exception for both": (
        [
            identity(),
            rule(),
            rule("old fleet"),
            exception(*HARDENED, 'rules = ["old fleet", "digits"]'),
        ],
        [(9, "error", "unreachable-rule")],
    ),
}


@pytest.mark.parametrize(("parts", "expected"), RULES.values(), ids=RULES)
def test_rules_that_can_never_grant_are_errors(parts, expected):
    assert found(*parts) == expected


def excepted(*lines, expires="2026-09-01"):
    """Findings about one exception in a policy that is sound without it; it begins on line 9."""
    return found(identity(), rule(), exception(*lines, expires=expires))


EXCEPTIONS = {
    "ended yesterday": (excepted(*HARDENED, expires="2026-05-31"), [(12, "error", "expired")]),
    "ends today": (excepted(*HARDENED, expires="2026-06-01"), [(12, "warning", "expires-soon")]),
    "ends in thirty days": (
        excepted(*HARDENED, expires="2026-07-01T12:00:00Z"),
        [(12, "warning", "expires-soon")],
    ),
    "ends in thirty-one days": (excepted(*HARDENED, expires="2026-07-02T12:00:00Z"), []),
    "lasts a year": (excepted(*HARDENED, expires="2027-06-01"), []),
    "lasts longer": (excepted(*HARDENED, expires="2027-06-03"), [(12, "error", "too-long")]),
    "every status": (
        excepted(
            "tcb_statuses = ["
            '"SWHardeningNeeded", "ConfigurationNeeded", "ConfigurationAndSWHardeningNeeded", '
            '"OutOfDate", "OutOfDateConfigurationNeeded"]',
            HARDENED[1],
        ),
        [(13, "warning", "every-status")],
    ),
    "out of date": (
        excepted('tcb_statuses = ["OutOfDate"]', HARDENED[1]),
        [(13, "warning", "out-of-date")],
    ),
    "debug": (excepted("dangerously_allow_debug = true"), [(13, "warning", "debug")]),
    "a status of trust domains for enclaves": (
        excepted('tcb_statuses = ["TDRelaunchAdvised"]'),
        [(13, "warning", "useless-status")],
    ),
    "hardening without any advisory": (
        excepted(HARDENED[0]),
        [(13, "warning", "no-advisories")],
    ),
    "the advisories in another exception": (
        found(
            identity(),
            rule(),
            exception(HARDENED[0]),
            exception(HARDENED[1], name="read"),
        ),
        [],
    ),
    "the advisories in an exception for other platforms": (
        found(
            identity(),
            rule(),
            exception(HARDENED[0], 'fmspcs = ["00606a000000"]'),
            exception(HARDENED[1], 'fmspcs = ["00906ed50000"]', name="read"),
        ),
        [(13, "warning", "no-advisories")],
    ),
    "no scope where there are two rules": (
        found(
            identity(),
            identity("other", f'mr_enclave = ["{SECOND}"]'),
            rule(),
            rule("more", identities='["other"]'),
            exception(*HARDENED),
        ),
        [(17, "warning", "no-scope")],
    ),
    "for no rule that can grant": (
        found(
            identity(),
            rule(),
            rule("again"),
            exception(*HARDENED),
            exception(*HARDENED, 'rules = ["again", "digits"]', name="second"),
        ),
        [
            (9, "error", "unreachable-rule"),
            (14, "warning", "no-scope"),
            (20, "warning", "covered"),
        ],
    ),
    "no rules at all": (
        found(exception(*HARDENED)),
        [(1, "warning", "no-rules"), (3, "warning", "useless")],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("got", "expected"), EXCEPTIONS.values(), ids=EXCEPTIONS)
def test_exceptions_are_looked_at_one_by_one(got, expected):
    assert got == expected


def measured(*lines):
    return found(identity("server", *lines), rule())


DIGIT = FIRST[:-1] + "1"
VALUES = {
    "zeros": (measured(f'mr_enclave = ["{"0" * 64}"]'), [(4, "error", "zeros")]),
    "one byte over and over": (
        measured(f'mr_enclave = ["{"ab" * 32}"]'),
        [(4, "warning", "pattern")],
    ),
    "eight bytes over and over": (
        measured(f'mr_enclave = ["{"0123456789abcdef" * 4}"]'),
        [(4, "warning", "pattern")],
    ),
    "enclave and signer the same": (
        measured(
            f'mr_enclave = ["{SIGNER}"]', *BY_SIGNER
        ),
        [(5, "error", "two-meanings")],
    ),
    "one digit apart": (
        measured(f'mr_enclave = ["{FIRST}",', f'"{DIGIT}"]'),
        [(5, "warning", "one-digit")],
    ),
    "one digit apart from the signer": (
        measured(f'mr_enclave = ["{SIGNER[:-1]}0"]', *BY_SIGNER),
        [(5, "warning", "one-digit")],
    ),
    "two digits apart": (
        measured(f'mr_enclave = ["{FIRST}", "{FIRST[:-2]}11"]'),
        [],
    ),
    "twice in a list": (
        measured(f'mr_enclave = ["{FIRST}",', f'"{FIRST.upper()}"]'),
        [(5, "warning", "twice")],
    ),
    "in two identities": (
        found(identity(), identity("too"), rule(identities='["server", "too"]')),
        [(7, "warning", "twice")],
    ),
    "the guide's example": (
        measured(
            'mr_enclave = ["39b02dbf3cd6d6c68eb227a5da019c3721162085116a614ab4be0d1f81199d8f"]'
        ),
        [(4, "warning", "example")],
    ),
    "a trust root of zeros": (
        found([f'trust_root = "{"0" * 64}"'], identity(), rule()),
        [(2, "error", "zeros")],
    ),
    "an FMSPC of zeros": (
        found(identity(), rule(), ["[platform]", 'fmspcs = ["00606a000000",', '"000000000000"]']),
        [(11, "error", "zeros")],
    ),
    "a platform twice": (
        found(
            identity(),
            rule(),
            ["[platform]", f'platform_ids = ["{SIGNER[:32]}",', f'"{SIGNER[:32]}"]'],
        ),
        [(11, "warning", "twice")],
    ),
    "an advisory twice": (
        excepted(HARDENED[0], 'advisory_ids = ["INTEL-SA-00615",', '"INTEL-SA-00615"]'),
        [(15, "warning", "twice")],
    ),
    "an address where names are": (
        found(identity(), rule("r", 'asked_for = ["10.0.0.1"]')),
        [(9, "warning", "address")],
    ),
    "registers and configurations that are zero": (
        found(
            identity(
                "server",
                'tee = "TDX"',
                f'mr_td = ["{FIRST + FIRST[:32]}"]',
                *[f'rtmr{number} = ["{"0" * 96}"]' for number in range(4)],
                f'mr_config_id = "{"0" * 96}"',
            ),
            rule(),
        ),
        [],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("got", "expected"), VALUES.values(), ids=VALUES)
def test_values_that_look_like_slips_of_the_pen_are_found(got, expected):
    assert got == expected


def test_findings_say_what_to_do():
    checked = check_policy("version = 2\n", NOW)
    assert all(each.hint for each in checked.findings)
    assert [each.severity for each in checked.findings] == [Severity.WARNING]


@pytest.mark.parametrize("days", [-1, 1, 40])
def test_what_has_ended_depends_on_the_time_that_is_named(days):
    text = "\n".join(["version = 2", *identity(), *rule(), *exception(*HARDENED)])
    end = datetime(2026, 9, 2, tzinfo=UTC)  # the first of September ends with its day
    codes = [each.code for each in check_policy(text, end - timedelta(days=days)).findings]
    assert codes == {-1: ["policy.expired"], 1: ["policy.expires-soon"], 40: []}[days]
