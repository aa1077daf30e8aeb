"""Every check of the verifier is seen to fail, with its own code, by one thing that is wrong.

The cases are the conformance vectors of the lab (`sealserve.lab.vectors`), in memory: genuine
evidence, and the same with one thing changed each.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest

from sealserve.errors import VerificationError
from sealserve.lab.vectors.case import Accepted, Case, Expected, Rejected
from sealserve.lab.vectors.catalogue import all_cases
from sealserve.lab.vectors.replaying import judge
from sealserve.verifier import (
    INTEL_SGX_ROOT_CA,
    Code,
    TcbStatus,
    platform_of,
    verify_collateral,
    verify_quote,
)

# Not of one piece of evidence: collateral that was verified before is used too late, or is older
# than some that was seen before. See test_verify.py.
NOT_OF_EVIDENCE = {Code.COLLATERAL_VALIDITY, Code.COLLATERAL_ROLLBACK}


@pytest.fixture(scope="module")
def cases() -> dict[str, Case]:
    return {case.id: case for case in all_cases()}


def test_every_case_has_its_verdict(cases: dict[str, Case]) -> None:
    """In one test, so that what a change of the verifier moves is seen at once."""
    found = {case.id: judge(case.evidence) for case in cases.values()}
    assert found == {case.id: case.expected for case in cases.values()}


def test_ids_are_unique_and_every_change_is_a_sentence() -> None:
    made = all_cases()
    assert [id for id, count in Counter(case.id for case in made).items() if count > 1] == []
    assert [case.change for case in made if not case.change.endswith(".")] == []
    assert [case.id for case in made] == [case.id for case in all_cases()]


def test_every_code_that_evidence_can_cause_is_seen(cases: dict[str, Case]) -> None:
    seen = {case.expected.code for case in cases.values() if isinstance(case.expected, Rejected)}
    assert seen == set(Code) - NOT_OF_EVIDENCE


def test_every_status_that_can_be_accepted_is_seen(cases: dict[str, Case]) -> None:
    accepted = [case.expected for case in cases.values() if isinstance(case.expected, Accepted)]
    assert {expected.tcb_status for expected in accepted} == set(TcbStatus) - {TcbStatus.REVOKED}


def test_what_needs_no_collateral_is_rejected_before_any_is_fetched(
    cases: dict[str, Case],
) -> None:
    early = {code for code in Code if code.step in (0, 1, 2)} | {
        Code.QE_REPORT_SIGNATURE,
        Code.QE_REPORT_DATA,
        Code.QUOTE_SIGNATURE,
    }
    seen = set()
    for case in cases.values():
        evidence, code = case.evidence, getattr(case.expected, "code", None)
        try:
            platform_of(evidence.quote, evidence.trust_root, evidence.at)
        except VerificationError as error:
            assert error.code == code, case.id
            seen.add(code)
        else:
            assert code not in early, case.id
    assert seen == early


def test_verified_collateral_is_judged_as_with_its_quote(cases: dict[str, Case]) -> None:
    """`verify_quote` skips what the collateral's own CA has passed already, and nothing else."""
    genuine = cases["sgx-v3-genuine"].evidence
    verified = verify_collateral(genuine.collateral, genuine.trust_root, genuine.at)
    judged: dict[str, Expected] = {}
    for case in cases.values():
        evidence = case.evidence
        if replace(evidence, quote=genuine.quote) == genuine and isinstance(
            case.expected, Rejected
        ):
            with pytest.raises(VerificationError) as caught:
                verify_quote(evidence.quote, verified, evidence.at)
            judged[case.id] = Rejected(Code(caught.value.code))
    assert len(judged) > 300
    assert judged == {id: cases[id].expected for id in judged}


DATED = (
    *("crl-ca", "tcb-info-signer", "qe-identity-signer"),
    *("root-ca-crl", "pck-crl", "tcb-info", "qe-identity"),
)


@pytest.mark.parametrize("part", DATED)
def test_verified_collateral_begins_with_its_last_part_and_ends_with_its_first(
    cases: dict[str, Case], part: str
) -> None:
    begins = cases[f"sgx-v3-{part}-begins-now"].evidence
    ends = cases[f"sgx-v3-{part}-ends-now"].evidence
    first = verify_collateral(begins.collateral, begins.trust_root, begins.at)
    last = verify_collateral(ends.collateral, ends.trust_root, ends.at)
    assert (first.valid_from, last.valid_until) == (begins.at, ends.at)
    for quote, verified, outside in (
        (begins.quote, first, begins.at - timedelta(seconds=1)),
        (ends.quote, last, ends.at + timedelta(seconds=1)),
    ):
        with pytest.raises(VerificationError) as caught:
            verify_quote(quote, verified, outside)
        assert caught.value.code == Code.COLLATERAL_VALIDITY


def test_verified_collateral_is_not_used_outside_its_dates(cases: dict[str, Case]) -> None:
    genuine = cases["sgx-v3-genuine"].evidence
    verified = verify_collateral(genuine.collateral, genuine.trust_root, genuine.at)
    assert verify_quote(genuine.quote, verified, verified.valid_until)
    with pytest.raises(VerificationError) as caught:
        verify_quote(genuine.quote, verified, verified.valid_until + timedelta(seconds=1))
    assert caught.value.code == Code.COLLATERAL_VALIDITY


def test_collateral_of_a_revoked_ca_is_rejected_before_any_quote_is_there(
    cases: dict[str, Case],
) -> None:
    evidence = cases["sgx-v3-revoked-pck-ca"].evidence
    with pytest.raises(VerificationError) as caught:
        verify_collateral(evidence.collateral, evidence.trust_root, evidence.at)
    assert caught.value.code == Code.REVOKED


def test_a_platform_is_not_named_before_its_certificate_is_verified(
    cases: dict[str, Case],
) -> None:
    genuine = cases["sgx-v3-genuine"].evidence
    assert platform_of(genuine.quote, genuine.trust_root, genuine.at).ca == "platform"
    with pytest.raises(VerificationError) as caught:
        platform_of(genuine.quote, INTEL_SGX_ROOT_CA, genuine.at)
    assert caught.value.code == Code.PCK_CHAIN
