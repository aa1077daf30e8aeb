"""A new enclave beside the old one, then without it: nothing else of the text changes."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealserve.appraisal.policy import parse_policy
from sealserve.errors import ConfigError, UsageError
from sealserve.policies.editing import Reference
from sealserve.policies.succession import Successor, admit, measurements, retire

OLD, NEW, OTHER, SIGNER = "0a" * 32, "1b" * 32, "2c" * 32, "3d" * 32
BOTH = f'"{OLD}", "{NEW}"'


def successor(measurement=NEW, signer=None, svn=5):
    value = bytes.fromhex(measurement)
    reference = None
    if signer is not None:
        reference = Reference(value, bytes.fromhex(signer), 3, svn, "x")
    return Successor(value, "x", reference)


def policy(*identities):
    rules = "\n".join(
        f'[[identities]]  # number {number}\nname = "i{number}"\n{body}'
        for number, body in enumerate(identities)
    )
    return f"# mine\nversion = 2\n{rules}\n# the end\n"


def admitted(text, new=None):
    return admit(text, bytes.fromhex(OLD), new or successor())


def retired(text):
    return retire(text, bytes.fromhex(OLD), bytes.fromhex(NEW))


def test_the_new_one_stands_beside_the_old_in_each_identity_that_has_it():
    text = policy(f'mr_enclave = ["{OLD}"]', f'mr_enclave = ["{OTHER}"]', f"mr_enclave = ['{OLD}']")
    found = [each.mr_enclave for each in parse_policy(admitted(text).text).identities]
    old, new, other = map(bytes.fromhex, (OLD, NEW, OTHER))
    assert found == [(old, new), (other,), (old, new)]


def test_admitting_again_changes_nothing():
    once = admitted(policy(f'mr_enclave = ["{OLD}"]'))
    again = admitted(once.text)
    assert once.changed
    assert (again.changed, again.text) == (False, once.text)


def test_what_is_admitted_without_the_old_one_is_left_alone():
    text = policy(f'mr_enclave = ["{NEW}"]')
    assert admitted(text).text == text


def signed(least, most=None):
    above = "" if most is None else f"\nmaximum_isv_svn = {most}"
    return policy(f'mr_signer = "{SIGNER}"\nisv_prod_id = 3\nminimum_isv_svn = {least}{above}')


def test_a_signer_that_is_taken_takes_its_builds():
    assert not admitted(signed(5, 5), successor(signer=SIGNER)).changed


UNKNOWN = {
    "another enclave": (policy(f'mr_enclave = ["{OTHER}"]'), successor()),
    "a signer, and no SIGSTRUCT": (signed(5), successor()),
    "another signer": (signed(5), successor(signer=OTHER)),
    "too old a version": (signed(6), successor(signer=SIGNER)),
    "too new a version": (signed(1, 4), successor(signer=SIGNER)),
    "nobody": ("version = 2\n", successor()),
}


@pytest.mark.parametrize(("text", "new"), UNKNOWN.values(), ids=UNKNOWN)
def test_a_policy_that_knows_neither_is_not_guessed_at(text, new):
    with pytest.raises(ConfigError, match="no identity of the policy"):
        admitted(text, new)


def test_a_signer_that_the_identity_does_not_take_is_refused():
    body = f'mr_enclave = ["{OLD}"]\nmr_signer = "{SIGNER}"\nisv_prod_id = 3\nminimum_isv_svn = 4'
    with pytest.raises(UsageError, match="mr_signer"):
        admitted(policy(body), successor(signer=OTHER))


LAYOUTS = {
    "first of two": (f"[{BOTH}]", f'["{NEW}"]'),
    "last of two": (f'["{NEW}", "{OLD}"]', f'["{NEW}"]'),
    "last, with a comma": (f'[ "{NEW}", "{OLD}", ]', f'[ "{NEW}", ]'),
    "in capitals": (f'["{OLD.upper()}", "{NEW}"]', f'["{NEW}"]'),
    "twice": (f'["{OLD}", "{NEW}", "{OLD}"]', f'["{NEW}"]'),
    "a line of its own, with its comment": (
        f'[\n  # ours\n  "{OLD}",  # release 1\n  "{NEW}",  # release 2\n  # the end\n]',
        f'[\n  # ours\n  "{NEW}",  # release 2\n  # the end\n]',
    ),
    "the last line, without a comma": (
        f'[\n  "{NEW}",  # a\n  "{OLD}"  # b, c\n]',
        f'[\n  "{NEW}",  # a\n]',
    ),
    "between two on one line": (
        f'[\n  "{OTHER}", "{OLD}", "{NEW}",\n]',
        f'[\n  "{OTHER}", "{NEW}",\n]',
    ),
    "behind the bracket": (f'["{OLD}",\n  "{NEW}",\n]', f'[\n  "{NEW}",\n]'),
    "before the bracket": (f'[\n  "{NEW}",\n  "{OLD}"]', f'[\n  "{NEW}"\n  ]'),
}


@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["LF", "CR LF"])
@pytest.mark.parametrize(("before", "after"), LAYOUTS.values(), ids=LAYOUTS)
def test_the_old_one_goes_with_what_its_line_said_of_it(before, after, newline):
    text, expected = (
        policy(f"mr_enclave = {each}", f'mr_enclave = ["{OTHER}"]').replace("\n", newline)
        for each in (before, after)
    )
    assert retired(text).text == expected


def test_an_identity_that_has_the_old_one_alone_keeps_it():
    text = policy(f'mr_enclave = ["{OLD}"]', f"mr_enclave = [{BOTH}]")
    old, new = bytes.fromhex(OLD), bytes.fromhex(NEW)
    assert [each.mr_enclave for each in parse_policy(retired(text).text).identities] == [
        (old,),
        (new,),
    ]


def test_an_enclave_is_never_retired_for_itself():
    text = policy(f"mr_enclave = [{BOTH}]")
    assert retire(text, bytes.fromhex(OLD), bytes.fromhex(OLD)).text == text


values = st.lists(st.sampled_from([OLD, OTHER, "4e" * 32, "5f" * 32]), min_size=1, unique=True)
gaps = st.sampled_from(["", " ", "\n  ", '  # a, "b" ]\n  ', "\n\n  # c\n  "])


@st.composite
def arrays(draw):
    listed = draw(values)
    text = draw(gaps)
    for number, value in enumerate(listed):
        text += f'"{value}"' + draw(gaps)
        if number < len(listed) - 1 or draw(st.booleans()):
            text += "," + draw(gaps)
    return f"[{text}]"


@settings(deadline=None)  # a loaded machine is no failure
@given(st.lists(arrays(), min_size=1, max_size=3), st.sampled_from(["\n", "\r\n"]))
def test_there_and_back_says_the_same_in_every_layout(bodies, newline):
    text = policy(*(f"mr_enclave = {body}" for body in bodies)).replace("\n", newline)
    old, new = bytes.fromhex(OLD), bytes.fromhex(NEW)
    if old not in measurements(text):
        return
    both = admitted(text)
    assert set(measurements(both.text)) == {*measurements(text), new}
    back = retire(both.text, new, old)
    assert parse_policy(back.text) == parse_policy(text)
    forth = retire(both.text, old, new)
    assert old not in measurements(forth.text)
    assert set(measurements(forth.text)) == {*measurements(text), new} - {old}
    assert standing_comments(text) <= standing_comments(back.text)


def standing_comments(text):
    """Comments that have a line to themselves."""
    return Counter(line for line in text.splitlines() if line.lstrip().startswith("#"))
