"""Adding trust domains: one value at most to what there is, and only where it admits no other."""

from __future__ import annotations

import difflib
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealserve.appraisal.identities import TdxIdentity
from sealserve.appraisal.policy import parse_policy
from sealserve.appraisal.target import of_identity
from sealserve.errors import ConfigError, UsageError
from sealserve.policies.editing_domains import add_trust_domain
from sealserve.verifier.claims import TrustDomain

MR_TD, OTHER = b"\xa1\xa2" * 24, b"\xe1\xe2" * 24
RTMRS = (b"\xb0\x1b" * 24, b"\xb1\x1b" * 24, b"\xb2\x1b" * 24, bytes(48))
GUEST = TrustDomain(
    mr_td=MR_TD,
    rtmrs=RTMRS,
    mr_config_id=bytes(48),
    mr_owner=bytes(48),
    mr_owner_config=bytes(48),
    td_attributes=(1 << 28).to_bytes(8, "little"),
    xfam=bytes.fromhex("e702060000000000"),
    mr_seam=b"\x0d" * 48,
    mr_signer_seam=bytes(48),
    seam_attributes=bytes(8),
    tee_tcb_svn=bytes(16),
    tee_tcb_svn_2=None,
    mr_service_td=None,
    report_data=bytes(64),
)
ENCLAVE = f'[[identities]]\nname = "server"\nmr_enclave = ["{"0a" * 32}"]\n'


def policy(**registers: str) -> str:
    values = {"mr_td": MR_TD, **{f"rtmr{n}": value for n, value in enumerate(RTMRS)}}
    written = {key: f'["{value.hex()}"]' for key, value in values.items()} | registers
    lines = "\n".join(f"{key} = {value}  # {key}" for key, value in written.items())
    return (
        f'# Guests.\nversion = 2\n\n{ENCLAVE}\n[[identities]]\nname = "guest"\ntee = "TDX"\n'
        f'{lines}\n\n[[rules]]\nname = "digits"\nidentities = ["guest"]\nsecret = "digits"\n'
    )


def add(
    text: str, name: str = "guest", target: TrustDomain = GUEST, *, create: bool = False
) -> Any:
    return add_trust_domain(text, name, target, "td.quote", create=create)


def changed(text: str, target: TrustDomain = GUEST) -> list[str]:
    """The lines that are other afterwards."""
    edited = add(text, target=target)
    found = difflib.ndiff(text.splitlines(), edited.text.splitlines())
    return [line for line in found if line[0] in "+-"]


def takes(text: str, name: str, target: TrustDomain) -> bool:
    return all(each.held for each in of_identity(target, parse_policy(text).identity(name)))


def test_a_new_identity_names_all_registers_and_takes_this_guest_alone() -> None:
    before = policy()
    edited = add(before, "new", create=True)
    added = edited.text.replace(before[: before.index("\n[[rules]]")], "").split("\n[[rules]]")[0]
    assert added.splitlines() == [
        "",
        "[[identities]]  # td.quote",
        'name = "new"',
        'tee = "TDX"',
        f'mr_td = ["{MR_TD.hex()}"]',
        *(f'rtmr{n} = ["{value.hex()}"]' for n, value in enumerate(RTMRS)),
    ]
    assert takes(edited.text, "new", GUEST)
    assert not takes(edited.text, "new", replace(GUEST, mr_td=OTHER))


def test_what_the_host_chose_is_named_where_it_is_not_zero() -> None:
    target = replace(GUEST, mr_owner=OTHER, mr_service_td=OTHER, tee_tcb_svn_2=bytes(16))
    text = add("version = 2", "new", target, create=True).text
    made = parse_policy(text).identity("new")
    assert isinstance(made, TdxIdentity)
    assert (made.mr_owner, made.mr_service_td, made.mr_config_id) == (OTHER, OTHER, None)


@pytest.mark.parametrize("register", ["mr_td", "rtmr0", "rtmr1", "rtmr2", "rtmr3"])
def test_one_new_value_is_one_changed_line(register: str) -> None:
    text = policy(**{register: f'["{OTHER.hex()}"]'})
    old = f'["{OTHER.hex()}"]'
    wanted = MR_TD if register == "mr_td" else RTMRS[int(register[-1])]
    assert changed(text) == [
        f"- {register} = {old}  # {register}",
        f'+ {register} = ["{OTHER.hex()}", "{wanted.hex()}"]  # {register}',
    ]


def test_a_list_of_lines_gets_one_more() -> None:
    text = policy(rtmr2=f'[\n  "{OTHER.hex()}",  # before\n]')
    assert changed(text) == [f'+   "{RTMRS[2].hex()}",  # td.quote']


def test_any_stays_any_beside_a_new_value() -> None:
    text = policy(rtmr1='"any"', rtmr2=f'["{OTHER.hex()}"]')
    edited = add(text)
    assert 'rtmr1 = "any"' in edited.text
    assert takes(edited.text, "guest", GUEST)


def test_a_guest_that_is_taken_changes_nothing() -> None:
    text = policy(rtmr1='"any"')
    edited = add(text)
    assert (edited.changed, edited.text) == (False, text)


OTHERS = f'["{OTHER.hex()}"]'
REFUSED = {
    "two new registers": (policy(rtmr1=OTHERS, rtmr2=OTHERS), GUEST, "rtmr1, rtmr2 are all new"),
    "another list with several values": (
        policy(rtmr2=OTHERS, mr_td=f'["{MR_TD.hex()}", "{OTHER.hex()}"]'),
        GUEST,
        "several values for mr_td",
    ),
    "another owner": (policy(), replace(GUEST, mr_owner=OTHER), "mr_owner FAILS"),
    "another module": (policy(mr_seam=OTHERS), GUEST, "mr_seam FAILS"),
    "attributes that silence denies": (
        policy(),
        replace(GUEST, td_attributes=bytes(8)),
        "td_attributes FAILS",
    ),
    "an enclave of that name": (
        policy().replace('"guest"', '"x"').replace('"server"', '"guest"'),
        GUEST,
        "is an SGX enclave",
    ),
    "no such identity": (
        policy().replace('"guest"', '"guests"'),
        GUEST,
        "nearest name is 'guests'",
    ),
}


@pytest.mark.parametrize(("text", "target", "says"), REFUSED.values(), ids=REFUSED)
def test_what_would_let_in_more_or_nothing_is_refused(
    text: str, target: TrustDomain, says: str
) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        add(text, target=target)
    assert caught.value.hint


def test_a_new_identity_that_would_not_take_the_guest_is_not_written() -> None:
    with pytest.raises(UsageError, match="td_attributes FAILS"):
        add(policy(), "new", replace(GUEST, td_attributes=bytes(8)), create=True)


def test_a_form_that_cannot_be_edited_is_refused() -> None:
    with pytest.raises(ConfigError, match="cannot be edited"):
        add("version = 2\nidentities = []\n", "new", create=True)


KEYS = ("mr_td", "rtmr0", "rtmr1", "rtmr2", "rtmr3")
VALUES = (b"\xa1\xa2" * 24, b"\xb0\x1b" * 24, b"\xe1\xe2" * 24)
lists = st.lists(st.sampled_from(VALUES), min_size=1, max_size=2, unique=True)
registers = st.one_of(st.just("any"), lists)


def guest(values: tuple[bytes, ...]) -> TrustDomain:
    mr_td, rtmr0, rtmr1, rtmr2, rtmr3 = values
    return replace(GUEST, mr_td=mr_td, rtmrs=(rtmr0, rtmr1, rtmr2, rtmr3))


def admitted(text: str) -> set[tuple[bytes, ...]]:
    identity = parse_policy(text).identity("guest")
    return {
        values
        for values in product(VALUES, repeat=5)
        if all(each.held for each in of_identity(guest(values), identity))
    }


@settings(max_examples=30, deadline=None)
@given(
    named=st.tuples(lists, registers, registers, registers, registers),
    wanted=st.tuples(*[st.sampled_from(VALUES)] * 5),
)
def test_an_identity_is_widened_by_the_one_guest_alone_or_not_at_all(
    named: tuple[Any, ...], wanted: tuple[bytes, ...]
) -> None:
    written = {
        key: '"any"' if value == "any" else str([each.hex() for each in value]).replace("'", '"')
        for key, value in zip(KEYS, named, strict=True)
    }
    text = policy(**written)
    before = admitted(text)
    try:
        edited = add(text, target=guest(wanted))
    except UsageError:
        assert wanted not in before
        return
    fixed = [index for index, value in enumerate(named) if value != "any"]
    same = {
        values
        for values in product(VALUES, repeat=5)
        if all(values[index] == wanted[index] for index in fixed)
    }
    assert admitted(edited.text) == before | same
    assert edited.changed == (wanted not in before)
