"""Adding reference values: the one change that was asked for, and every other byte as it was."""

from __future__ import annotations

import difflib
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealserve.appraisal.policy import parse_policy
from sealserve.errors import ConfigError, UsageError
from sealserve.policies.editing import Reference, add_measurement, add_signer
from sealserve.policies.toml_text import basic_string

OLD, NEW, SIGNER = "0a" * 32, "1b" * 32, "2c" * 32
REFERENCE = Reference(bytes.fromhex(NEW), bytes.fromhex(SIGNER), 3, 5, "server.sig of 2026-06-01")

POLICY = f"""\
# Our servers.
version = 2

[[rules]]   # first, on purpose
name = "digits"
identities = ["server"]  # one
secret = "digits"

[[identities]]
name = "server"
mr_enclave = [
    "{OLD}",  # release 1
]  # all of them
# the signer is told, too
mr_signer = "{SIGNER}"
isv_prod_id = 3
minimum_isv_svn = 4

[[exceptions]]
name = "march"
reason = "the firmware update of our fleet is due in March"
expires = 2027-03-31
tcb_statuses = ["SWHardeningNeeded"]
"""


def lines_added(old, new):
    changes = list(difflib.ndiff(old.splitlines(), new.splitlines()))
    assert not [line for line in changes if line.startswith("- ")]
    return [line[2:] for line in changes if line.startswith("+ ")]


def test_a_measurement_is_a_new_line_below_the_last_one():
    edited = add_measurement(POLICY, "server", REFERENCE, create=False)
    assert edited.changed
    assert lines_added(POLICY, edited.text) == [f'    "{NEW}",  # server.sig of 2026-06-01']
    assert parse_policy(edited.text).identities[0].mr_enclave[-1] == REFERENCE.mr_enclave


def test_a_measurement_that_is_there_changes_nothing():
    text = POLICY.replace(OLD, NEW)
    assert add_measurement(text, "server", REFERENCE, create=False).text == text


LAYOUTS = {
    "on one line": (f'["{OLD}"]', f'["{OLD}", "{NEW}"]'),
    "on one line with a comma": (f'[ "{OLD}", ]', f'[ "{OLD}", "{NEW}", ]'),
    "in single quotes": (f"['{OLD}']", f"['{OLD}', \"{NEW}\"]"),
    "the bracket behind the last": (f'[\n  "{OLD}"]', f'[\n  "{OLD}", "{NEW}"]'),
    "no comma at the end": (
        f'[\n  "{OLD}"  # a, b\n]',
        f'[\n  "{OLD}",  # a, b\n  "{NEW}",  # x\n]',
    ),
    "a comma on the next line": (
        f'[\n  "{OLD}" # [\n  , # ]\n]',
        f'[\n  "{OLD}" # [\n  , # ]\n  "{NEW}",  # x\n]',
    ),
    "the first behind the bracket": (f'["{OLD}",\n]', f'["{OLD}", "{NEW}",\n]'),
    "a comment below": (
        f'[\n\t"{OLD}",\n\t# the end\n]',
        f'[\n\t"{OLD}",\n\t"{NEW}",  # x\n\t# the end\n]',
    ),
}  # fmt: skip


@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["LF", "CR LF"])
@pytest.mark.parametrize(("before", "after"), LAYOUTS.values(), ids=LAYOUTS)
def test_every_layout_of_a_list_is_kept(before, after, newline):
    frame = 'version = 2\n[[identities]]\nmr_enclave = {}\nname = "server"\n'
    reference = Reference(REFERENCE.mr_enclave, REFERENCE.mr_signer, 3, 5, "x")
    text, expected = (frame.format(each).replace("\n", newline) for each in (before, after))
    assert add_measurement(text, "server", reference, create=False).text == expected


def test_a_policy_of_inline_tables_can_be_edited_too():
    text = f'version = 2\nidentities = [{{ name = "server", mr_enclave = ["{OLD}"] }}]'
    edited = add_measurement(text, "server", REFERENCE, create=False)
    assert edited.text == text.replace(f'"{OLD}"', f'"{OLD}", "{NEW}"')


def test_a_form_that_cannot_be_edited_is_refused_and_left_alone():
    text = f'version = 2\nidentities = [{{ name = "server", mr_enclave = ["{OLD}"] }}]\n'
    with pytest.raises(ConfigError, match="cannot be edited"):
        add_measurement(text, "other", REFERENCE, create=True)


def test_a_new_identity_follows_the_last_one():
    edited = add_measurement(POLICY, "client", REFERENCE, create=True)
    assert [line for line in lines_added(POLICY, edited.text) if line] == [
        "[[identities]]  # server.sig of 2026-06-01",
        'name = "client"',
        f'mr_enclave = ["{NEW}"]',
    ]
    assert edited.text.index('"client"') < edited.text.index("[[exceptions]]")
    assert [each.name for each in parse_policy(edited.text).identities] == ["server", "client"]


@pytest.mark.parametrize("text", ["version = 2", "version = 2\n", "version = 2 # last"])
def test_the_first_identity_stands_at_the_end(text):
    edited = add_measurement(text, "client", REFERENCE, create=True)
    assert edited.text.startswith(text)
    assert parse_policy(edited.text).identity("client").mr_enclave == (REFERENCE.mr_enclave,)


def test_an_identity_by_signer_takes_the_product_from_this_version_on():
    edited = add_signer(POLICY, "every build", REFERENCE, create=True)
    identity = parse_policy(edited.text).identity("every build")
    assert identity.mr_enclave is None
    assert (identity.mr_signer, identity.isv_prod_id) == (REFERENCE.mr_signer, 3)
    assert identity.minimum_isv_svn == 5


def by_signer(svn):
    return (
        f'version = 2\n[[identities]]\nname = "server"\nmr_signer = "{SIGNER}"\n'
        f"isv_prod_id = 3\nminimum_isv_svn = {svn}\n"
    )


@pytest.mark.parametrize("svn", [0, 5])
def test_an_identity_by_signer_that_takes_the_build_is_left_alone(svn):
    edited = add_signer(by_signer(svn), "server", REFERENCE, create=False)
    assert (edited.text, edited.changed) == (by_signer(svn), False)


TDX = f"""
version = 2
[[identities]]
name = "server"
tee = "TDX"
mr_td = ["{"00" * 48}"]
rtmr0 = "any"
rtmr1 = "any"
rtmr2 = "any"
rtmr3 = "any"
"""

REFUSED = {
    "no such identity": (add_measurement, POLICY.replace('"server"', '"servers"'), "'servers'"),
    "a trust domain": (add_measurement, TDX, "trust domain"),
    "a measurement for an identity by signer": (add_measurement, by_signer(5), "narrow"),
    "a signer for an identity by measurement": (add_signer, POLICY, "one by one"),
    "another signer": (add_measurement, POLICY.replace(SIGNER, OLD), "mr_signer"),
    "another product": (add_measurement, POLICY.replace("id = 3", "id = 4"), "isv_prod_id"),
    "an older version": (add_measurement, POLICY.replace("svn = 4", "svn = 6"), "6 or more"),
    "an older version by signer": (add_signer, by_signer(6), "6 or more"),
    "another signer by signer": (add_signer, by_signer(5).replace(SIGNER, OLD), "mr_signer"),
}


@pytest.mark.parametrize(("add", "text", "said"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_belong_to_the_identity_is_refused(add, text, said):
    with pytest.raises(UsageError, match=said):
        add(text, "server", REFERENCE, create=False)


def test_a_file_that_is_no_policy_is_refused():
    with pytest.raises(ConfigError):
        add_measurement(POLICY + "x = 1\n", "server", REFERENCE, create=False)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=100))
def test_any_name_that_a_policy_may_have_can_be_given(name):
    edited = add_measurement(POLICY, name, REFERENCE, create=True)
    assert tomllib.loads(edited.text)["identities"][-1]["name"] == name


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_any_text_can_be_written_as_toml(value):
    assert tomllib.loads(f"v = {basic_string(value)}")["v"] == value


@pytest.mark.parametrize("remark", ["", "a\nb = 1", "\x1b[31m", "é" * 300])
def test_a_remark_stays_a_comment(remark):
    reference = Reference(REFERENCE.mr_enclave, REFERENCE.mr_signer, 3, 5, remark)
    edited = add_measurement(POLICY, "server", reference, create=False)
    assert len(lines_added(POLICY, edited.text)) == 1
    assert max(map(len, edited.text.splitlines())) < 200
