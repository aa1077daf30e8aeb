"""What is said of each check: passed only if it ran to its end, and in the order of execution."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from itertools import permutations

import pytest

from sealserve.endorsements.collateral import Collateral
from sealserve.errors import VerificationError
from sealserve.lab.vectors.case import Evidence, Rejected
from sealserve.lab.vectors.catalogue import all_cases
from sealserve.verifier import Code, verify
from sealserve.verifier.steps import CheckOutcome, outcomes


def by_check(rows: tuple[CheckOutcome, ...]) -> dict[Code, str]:
    return {row.check: row.outcome for row in rows}


@pytest.mark.parametrize("tee", ["SGX", "TDX"])
@pytest.mark.parametrize("code", [None, *Code], ids=str)
def test_every_check_has_one_row_with_its_step(code: Code | None, tee: str) -> None:
    rows = outcomes(code, tee=tee)
    assert len({row.check for row in rows}) == len(rows)
    assert all(row.step == row.check.step for row in rows)
    failed = [row.check for row in rows if row.outcome == "failed"]
    assert failed == ([] if code is None else [code])


def test_a_verification_that_passed_passed_every_check_that_applied() -> None:
    sgx, tdx = by_check(outcomes(None, tee="SGX")), by_check(outcomes(None, tee="TDX"))
    assert set(sgx.values()) == set(tdx.values()) == {"passed"}
    assert set(tdx) - set(sgx) == {Code.TDX_MODULE_MISMATCH}
    assert set(Code) - set(tdx) == {Code.COLLATERAL_ROLLBACK}
    assert outcomes(None) == outcomes(None, tee="SGX")


def test_where_crls_were_skipped_nothing_is_said_of_revocation() -> None:
    skipped = by_check(outcomes(None, revocation_checked=False))
    left_out = set(by_check(outcomes(None))) - set(skipped)
    assert left_out == {code for code in Code if code.step == 3}


@pytest.mark.parametrize(
    ("code", "passed", "not_reached"),
    [
        pytest.param(Code.TRUST_ROOT, (), (Code.QUOTE_FORMAT, Code.TCB_REVOKED), id="first"),
        pytest.param(
            Code.CRL_FORMAT,
            (Code.PCK_CHAIN, Code.PCK_EXTENSIONS),
            # Of which CRL the format is wrong the code does not say, so perhaps not both are there.
            (Code.CRL_MISSING, Code.CRL_SIGNATURE, Code.REVOKED, Code.TCB_CHAIN),
            id="one-of-two-crls",
        ),
        pytest.param(
            Code.QE_IDENTITY_SIGNATURE,
            (Code.CRL_SIGNATURE, Code.TCB_INFO_SIGNATURE, Code.QE_IDENTITY_CHAIN),
            # The format is looked at once before the signature, and once after it.
            (Code.QE_IDENTITY_FORMAT, Code.REVOKED, Code.CRL_MISSING, Code.QE_IDENTITY_MISMATCH),
            id="before-parsing",
        ),
        pytest.param(
            Code.QUOTE_SIGNATURE,
            (Code.PCK_EXTENSIONS, Code.QE_REPORT_SIGNATURE, Code.QE_REPORT_DATA),
            # Nothing was fetched for it.
            (Code.CRL_MISSING, Code.TCB_CHAIN, Code.QE_IDENTITY_MISMATCH, Code.TCB_REVOKED),
            id="signature",
        ),
        pytest.param(
            Code.TCB_NOT_SUPPORTED,
            (Code.QUOTE_SIGNATURE,),
            (Code.TDX_MODULE_MISMATCH, Code.TCB_REVOKED),
            id="level",
        ),
    ],
)
def test_what_ran_before_the_failure_passed_and_all_else_was_not_reached(
    code: Code, passed: tuple[Code, ...], not_reached: tuple[Code, ...]
) -> None:
    rows = by_check(outcomes(code, tee="TDX"))
    assert {rows[check] for check in passed} <= {"passed"}
    assert {rows[check] for check in not_reached} == {"not reached"}


def test_rows_never_pass_again_after_the_failure() -> None:
    for code in Code:
        kinds = [row.outcome for row in outcomes(code, tee="TDX")]
        assert "passed" not in kinds[kinds.index("failed") :]


@pytest.mark.parametrize("code", ["binding.public-key", "ratls.no-evidence", "whatever"])
def test_after_the_failure_of_another_room_no_check_was_reached(code: str) -> None:
    assert {row.outcome for row in outcomes(code)} == {"not reached"}


def test_a_rollback_is_told_where_it_is_the_failure() -> None:
    rows = by_check(outcomes(Code.COLLATERAL_ROLLBACK))
    assert rows[Code.QE_IDENTITY_EXPIRED] == "passed"
    assert rows[Code.QE_TCB_NOT_SUPPORTED] == "not reached"


PARTS = ("quote", *(field.name for field in fields(Collateral)))


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with genuine evidence: which parts it changes, and its code."""

    code: Code
    changes: dict[str, bytes]


def parts_of(evidence: Evidence) -> dict[str, bytes]:
    of_collateral = {name: getattr(evidence.collateral, name) for name in PARTS[1:]}
    return {"quote": evidence.quote, **of_collateral}


def faults(form: str) -> tuple[Evidence, list[Fault]]:
    """Genuine evidence, and one fault for each code and set of parts."""
    cases = {case.id: case for case in all_cases() if case.form == form}
    genuine = cases[f"{form}-genuine"].evidence
    found: dict[tuple[Code, tuple[str, ...]], Fault] = {}
    for case in cases.values():
        evidence, expected = case.evidence, case.expected
        if not isinstance(expected, Rejected):
            continue
        if (evidence.trust_root, evidence.at) != (genuine.trust_root, genuine.at):
            continue
        changes = dict(parts_of(evidence).items() - parts_of(genuine).items())
        key = (expected.code, tuple(sorted(changes)))
        found.setdefault(key, Fault(expected.code, changes))
    return genuine, list(found.values())


@pytest.mark.parametrize("form", ["sgx-v3", "tdx-v4"])
def test_of_two_faults_the_one_that_the_table_has_first_is_found(form: str) -> None:
    """The table is the order of execution: two faults at once, in different parts, tell."""
    genuine, single = faults(form)
    compared = set()
    for one, other in permutations(single, 2):
        if one.changes.keys() & other.changes.keys() or not comes_before(one.code, other.code):
            continue
        changes = one.changes | other.changes
        quote = changes.pop("quote", genuine.quote)
        with pytest.raises(VerificationError) as caught:
            verify(
                quote,
                replace(genuine.collateral, **changes),
                trust_root=genuine.trust_root,
                now=genuine.at,
            )
        assert caught.value.code == one.code, f"beside {other.code}"
        compared.add((one.code, other.code))
    assert len(compared) > 50


def comes_before(one: Code, other: Code) -> bool:
    """By the table every moment of `one` is before any of `other`."""
    return by_check(outcomes(other, tee="TDX"))[one] == "passed"
