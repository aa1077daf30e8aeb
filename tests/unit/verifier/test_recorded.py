"""Claims read back from a record: the exact inverse of writing them, or an error."""

from __future__ import annotations

import json

import pytest
from hypothesis import given

import made_claims
from sealserve.errors import FormatError
from sealserve.verifier.recorded import claims_from_dict

SGX = made_claims.claims(made_claims.sgx_enclave(mr_enclave=b"\xab" * 32)).as_dict()
TDX = made_claims.claims(made_claims.trust_domain(mr_td=b"\xab" * 48)).as_dict()


@given(made_claims.any_claims)
def test_claims_that_went_through_a_record_are_the_same(claims):
    assert claims_from_dict(json.loads(json.dumps(claims.as_dict()))) == claims


WRONG = {
    "another tee": (SGX, {"tee": "SEV"}),
    "another verifier": (SGX, {"verifier": "epid"}),
    "a verifier of another type": (SGX, {"verifier": ["dcap"]}),
    "upper-case digits": (SGX, {"mr_enclave": "AB" * 32}),
    "hex with spaces": (SGX, {"mr_enclave": "ab " * 32}),
    "a short measurement": (SGX, {"mr_enclave": "ab" * 31}),
    "no hex": (SGX, {"mr_enclave": "zz" * 32}),
    "bytes that are null": (SGX, {"mr_enclave": None}),
    "a number as text": (SGX, {"isv_svn": "0"}),
    "a number as a Boolean": (SGX, {"isv_svn": False}),
    "a negative number": (SGX, {"isv_svn": -1}),
    "a Boolean as a number": (SGX, {"debug": 0}),
    "a Boolean as text": (SGX, {"simulated": "false"}),
    "an unknown status": (SGX, {"tcb_status": "Fine"}),
    "advisories as text": (SGX, {"advisory_ids": "INTEL-SA-00615"}),
    "an advisory that is a number": (SGX, {"advisory_ids": [615]}),
    "a time without its zone": (SGX, {"verified_at": "2026-06-01T12:00:00"}),
    "a time in another form": (SGX, {"verified_at": "2026-06-01T12:00:00Z"}),
    "a time as a number": (SGX, {"tcb_date": 1780315200}),
    "three RTMRs": (TDX, {"rtmrs": ["00" * 48] * 3}),
    "a short RTMR": (TDX, {"rtmrs": ["00" * 48] * 3 + ["00" * 47]}),
    "a debug bit that the attributes lack": (TDX, {"debug": True}),
}


@pytest.mark.parametrize(("base", "change"), WRONG.values(), ids=WRONG)
def test_what_cannot_have_been_written_is_refused(base, change):
    claims_from_dict(base)
    with pytest.raises(FormatError) as caught:
        claims_from_dict(base | change)
    assert caught.value.code == "claims.value"
    assert next(iter(change)) in caught.value.message


@pytest.mark.parametrize("name", SGX)
def test_no_claim_may_be_missing(name):
    with pytest.raises(FormatError) as caught:
        claims_from_dict({key: value for key, value in SGX.items() if key != name})
    assert name in caught.value.message


@pytest.mark.parametrize("name", ["mr_td", "issuer", "x"])
def test_no_claim_may_be_added_even_from_the_other_half(name):
    with pytest.raises(FormatError, match=f"'{name}' is unknown"):
        claims_from_dict(SGX | {name: ""})
