"""What a verification went through: each check in its order, and whether it passed.

A verification ends at its first failing check, so its code says what ran before. The table here is
that order. A code may belong to more than one moment (both CRLs have the same codes, for one); it
is said to have passed only where every one of its moments came before the failure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from sealserve.endorsements.collateral import Tee
from sealserve.verifier.codes import Code

CheckResult: TypeAlias = Literal["passed", "failed", "not reached"]


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """One check: its step in `sealserve.verifier.dcap`, its code, and what became of it."""

    step: int
    check: Code
    outcome: CheckResult


_CRL = (Code.CRL_MISSING, Code.CRL_FORMAT, Code.CRL_MISSING, Code.CRL_SIGNATURE, Code.CRL_VALIDITY)
_REVOCATION = (
    *_CRL,  # the root CA's
    Code.CRL_CHAIN,
    Code.CRL_CHAIN_VALIDITY,
    Code.REVOKED,  # the PCK CA
    *_CRL,  # the PCK CA's
)
_TCB_INFO = (
    Code.TCB_CHAIN,
    Code.TCB_CHAIN_VALIDITY,
    Code.REVOKED,  # the TCB signer
    Code.TCB_INFO_FORMAT,  # statement and signature told apart
    Code.TCB_INFO_SIGNATURE,
    Code.TCB_INFO_FORMAT,  # the statement read
    Code.TCB_INFO_NOT_YET_VALID,
    Code.TCB_INFO_EXPIRED,
)
_QE_IDENTITY = (
    Code.QE_IDENTITY_CHAIN,
    Code.QE_IDENTITY_CHAIN_VALIDITY,
    Code.REVOKED,
    Code.QE_IDENTITY_FORMAT,
    Code.QE_IDENTITY_SIGNATURE,
    Code.QE_IDENTITY_FORMAT,
    Code.QE_IDENTITY_NOT_YET_VALID,
    Code.QE_IDENTITY_EXPIRED,
)
_MOMENTS = (
    Code.TRUST_ROOT,
    Code.QUOTE_FORMAT,
    Code.PCK_CHAIN_MISSING,
    Code.PCK_CHAIN_FORMAT,
    Code.PCK_CHAIN,
    Code.PCK_CHAIN_VALIDITY,
    Code.PCK_EXTENSIONS,
    Code.QE_REPORT_SIGNATURE,
    Code.QE_REPORT_DATA,
    Code.QUOTE_SIGNATURE,
    *_REVOCATION,
    *_TCB_INFO,
    *_QE_IDENTITY,
    Code.QE_IDENTITY_MISMATCH,  # it is for the kind of TEE of TCB info
    Code.COLLATERAL_ROLLBACK,
    Code.COLLATERAL_VALIDITY,
    Code.CRL_MISSING,  # the PCK CRL is of the quote's CA
    Code.REVOKED,  # the quote's PCK CA, and its PCK
    Code.TCB_INFO_MISMATCH,
    Code.QE_IDENTITY_MISMATCH,  # it describes the quoting enclave
    Code.QE_TCB_NOT_SUPPORTED,
    Code.TDX_MODULE_MISMATCH,  # what it looks like
    Code.TCB_NOT_SUPPORTED,
    Code.TDX_MODULE_MISMATCH,  # its level
    Code.TCB_NOT_SUPPORTED,  # a trust domain's second evaluation
    Code.TDX_MODULE_MISMATCH,
    Code.TCB_REVOKED,
)
_OF_REVOCATION = frozenset((*_REVOCATION, Code.REVOKED))
# Who keeps collateral checks this, and a single verification has nothing to compare with.
_OF_MEMORY = frozenset({Code.COLLATERAL_ROLLBACK})


def outcomes(
    code: str | None, *, tee: Tee | None = None, revocation_checked: bool = True
) -> tuple[CheckOutcome, ...]:
    """Every check, in the order in which the last moment of each comes.

    `code` is what the verification ended with; None: it passed. Checks that did not apply are left
    out: those of the TDX module unless `tee` is "TDX", those of the CRLs where they were skipped.
    After a code of another room (a certificate that holds no quote) no check was reached.
    """
    apply = [moment for moment in _MOMENTS if _applies(moment, code, tee, revocation_checked)]
    rows = sorted(set(apply), key=lambda each: len(apply) - apply[::-1].index(each))
    return tuple(CheckOutcome(each.step, each, _outcome(each, code, apply)) for each in rows)


def _applies(check: Code, code: str | None, tee: Tee | None, revocation_checked: bool) -> bool:
    if check == code:
        return True
    if check is Code.TDX_MODULE_MISMATCH:
        return tee == "TDX"
    return check not in _OF_MEMORY and (revocation_checked or check not in _OF_REVOCATION)


def _outcome(check: Code, code: str | None, apply: list[Code]) -> CheckResult:
    if code is None:
        return "passed"
    if check == code:
        return "failed"
    failed_at = next((at for at, moment in enumerate(apply) if moment == code), 0)
    return "not reached" if check in apply[failed_at:] else "passed"
