"""What is revoked gets nothing, whatever the policy says."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from made_claims import (
    NOW,
    any_claims,
    azure_standing,
    claims,
    dcap_standing,
    sgx_enclave,
    trust_domain,
)
from made_policies import SGX, TDX, exception, policy
from sealserve.appraisal import NOTHING_REVOKED, PolicyCode, Revocations, appraise
from sealserve.appraisal.conditions import About
from sealserve.errors import FormatError, SealServeError

BUILD, SIGNER, PPID, INSTANCE, TD = (
    b"\x01" * 32,
    b"\x02" * 32,
    b"\x03" * 16,
    b"\x04" * 16,
    b"\x05" * 48,
)
ENCLAVE = claims(
    sgx_enclave(mr_enclave=BUILD, mr_signer=SIGNER),
    dcap_standing(ppid=PPID, platform_instance_id=INSTANCE),
)
DOMAIN = claims(trust_domain(mr_td=TD), dcap_standing(ppid=PPID, platform_instance_id=None))
RTMR = b"\x06" * 48
PROGRAM = claims(
    trust_domain(mr_td=TD, rtmrs=(bytes(48), bytes(48), bytes(48), RTMR)),
    dcap_standing(ppid=PPID, platform_instance_id=None),
)
AZURE = '[maa]\nissuers = ["https://a.example"]\npolicy_hashes = ["' + "A" * 43 + '"]'
TOKEN = claims(
    sgx_enclave(mr_enclave=BUILD, mr_signer=SIGNER),
    azure_standing(
        issuer="https://a.example", policy_hash="A" * 43, token_valid_until=NOW.replace(year=2027)
    ),
)
ENCLAVES = policy(f'mr_enclave = ["{BUILD.hex()}"]', head=AZURE)
DOMAINS = policy(TDX.replace(bytes(48).hex(), TD.hex()))


def revoked(**sets: bytes) -> Revocations:
    return Revocations(**{name: frozenset({value}) for name, value in sets.items()})


def outcome(found, by, taken_back):
    return appraise(found, by, asked_for=None, now=NOW, revoked=taken_back)


REVOKED = {
    "a build": (ENCLAVE, ENCLAVES, revoked(measurements=BUILD), "MRENCLAVE 0101"),
    "a signer": (ENCLAVE, ENCLAVES, revoked(signers=SIGNER), "MRSIGNER 0202"),
    "a machine": (ENCLAVE, ENCLAVES, revoked(platforms=PPID), "platform 0303"),
    "an instance": (ENCLAVE, ENCLAVES, revoked(platforms=INSTANCE), "platform 0404"),
    "a trust domain": (DOMAIN, DOMAINS, revoked(measurements=TD), "MRTD or RTMR 0505"),
    "a program in a trust domain": (
        PROGRAM,
        DOMAINS,
        revoked(measurements=RTMR),
        "MRTD or RTMR 0606",
    ),
    "a trust domain's machine": (DOMAIN, DOMAINS, revoked(platforms=PPID), "platform 0303"),
    "a build by its token": (TOKEN, ENCLAVES, revoked(measurements=BUILD), "MRENCLAVE 0101"),
    "a machine, and nobody says which": (
        TOKEN,
        ENCLAVES,
        revoked(platforms=PPID),
        "the verifier does not say",
    ),
}


@pytest.mark.parametrize(("found", "by", "taken_back", "told"), REVOKED.values(), ids=REVOKED)
def test_what_is_revoked_gets_nothing_and_is_told_why(found, by, taken_back, told) -> None:
    assert outcome(found, by, NOTHING_REVOKED).allowed
    result = outcome(found, by, taken_back)
    assert (result.allowed, result.grant, result.code) == (False, None, PolicyCode.REVOKED)
    condition = result.decisive.conditions[0]
    assert told in condition.found
    assert "not revoked" in condition.expected
    assert condition.fix


OTHERS = Revocations(
    frozenset({SIGNER, bytes(48)}), frozenset({BUILD}), frozenset({b"\x07" * 16, INSTANCE[:0]})
)


def test_what_is_revoked_of_others_is_no_matter() -> None:
    """A measurement is no signer, and a signer no measurement."""
    result = outcome(ENCLAVE, ENCLAVES, OTHERS)
    assert result.allowed
    first = result.decisive.conditions[0]
    assert (first.code, first.held, first.found) == (
        PolicyCode.REVOKED,
        True,
        "nothing that is revoked",
    )


def test_where_nothing_is_revoked_nothing_is_said_of_it() -> None:
    codes = {each.code for each in outcome(ENCLAVE, ENCLAVES, NOTHING_REVOKED).decisive.conditions}
    assert PolicyCode.REVOKED not in codes


def test_revoked_comes_before_everything_else_that_fails() -> None:
    result = outcome(ENCLAVE, policy(SGX), revoked(measurements=BUILD))
    assert [each.code for each in result.decisive.failed] == [
        PolicyCode.REVOKED,
        PolicyCode.MEASUREMENT,
    ]
    assert PolicyCode.REVOKED.about is About.REVOKED


def test_no_exception_carries_what_is_revoked() -> None:
    everything = exception(
        'tcb_statuses = ["OutOfDate"]\ncollateral_grace_hours = 24\ndangerously_allow_debug = true'
    )
    lenient = policy(f'mr_enclave = ["{BUILD.hex()}"]', more=everything)
    assert outcome(ENCLAVE, lenient, revoked(measurements=BUILD)).code is PolicyCode.REVOKED


@given(any_claims)
def test_claims_that_are_revoked_are_never_allowed(found) -> None:
    target = found.target
    measurement = target.mr_enclave if target.tee == "SGX" else target.mr_td
    by = policy(SGX if target.tee == "SGX" else TDX)
    assert outcome(found, by, revoked(measurements=measurement)).code is PolicyCode.REVOKED


sizes = st.binary(min_size=32, max_size=32)
some = st.builds(
    Revocations,
    st.frozensets(sizes | st.binary(min_size=48, max_size=48)),
    st.frozensets(sizes),
    st.frozensets(st.binary(min_size=16, max_size=16)),
)


@given(some)
def test_revocations_are_read_as_they_were_written(written: Revocations) -> None:
    assert Revocations.from_dict(json.loads(json.dumps(written.as_dict()))) == written


EMPTY = NOTHING_REVOKED.as_dict()
BAD = {
    "nothing": None,
    "a list": [],
    "no list of signers": {"measurements": [], "platforms": []},
    "a list that nobody knows": EMPTY | {"machines": []},
    "text for a list": EMPTY | {"signers": "02" * 32},
    "a number": EMPTY | {"signers": [2]},
    "no hex": EMPTY | {"signers": ["zz" * 32]},
    "in capitals": EMPTY | {"signers": ["AB" * 32]},
    "with spaces": EMPTY | {"signers": ["02 " * 31 + "02"]},
    "a signer of 48 bytes": EMPTY | {"signers": ["02" * 48]},
    "a platform of 32 bytes": EMPTY | {"platforms": ["02" * 32]},
    "a measurement of 16 bytes": EMPTY | {"measurements": ["02" * 16]},
}


@pytest.mark.parametrize("written", BAD.values(), ids=BAD)
def test_what_as_dict_did_not_write_is_refused(written) -> None:
    with pytest.raises(FormatError, match="revo"):
        Revocations.from_dict(written)


values = st.none() | st.text(max_size=70) | st.integers() | st.binary().map(bytes.hex)


@given(st.dictionaries(st.sampled_from([*EMPTY, "x"]), values | st.lists(values, max_size=3)))
def test_whatever_else_is_read_is_refused_by_an_error_of_ours(written) -> None:
    with suppress(SealServeError):
        assert Revocations.from_dict(written).as_dict().keys() == EMPTY.keys()
