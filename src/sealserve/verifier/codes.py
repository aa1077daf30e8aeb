"""The verifier's rejection codes: one for each check, stable, with the step that it belongs to.

The steps are those of `sealserve.verifier.dcap`. docs/verifier.md gives the meaning and the cure of
each code; the names are those that public DCAP test vectors use for the same reasons.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from sealserve.errors import FormatError, VerificationError


class StepCode(StrEnum):
    """A code with the place of its check in a procedure, `step`."""

    step: int

    def __new__(cls, value: str, step: int = 0) -> Self:
        member = str.__new__(cls, value)
        member._value_ = value
        member.step = step
        return member


class Code(StepCode):
    """Why evidence or collateral was rejected."""

    TRUST_ROOT = "TRUST_ROOT", 0

    QUOTE_FORMAT = "QUOTE_FORMAT", 1

    PCK_CHAIN_MISSING = "PCK_CHAIN_MISSING", 2
    PCK_CHAIN_FORMAT = "PCK_CHAIN_FORMAT", 2
    PCK_CHAIN = "PCK_CHAIN", 2
    PCK_CHAIN_VALIDITY = "PCK_CHAIN_VALIDITY", 2
    PCK_EXTENSIONS = "PCK_EXTENSIONS", 2

    CRL_CHAIN = "CRL_CHAIN", 3
    CRL_CHAIN_VALIDITY = "CRL_CHAIN_VALIDITY", 3
    CRL_MISSING = "CRL_MISSING", 3
    CRL_FORMAT = "CRL_FORMAT", 3
    CRL_SIGNATURE = "CRL_SIGNATURE", 3
    CRL_VALIDITY = "CRL_VALIDITY", 3
    REVOKED = "REVOKED", 3

    TCB_CHAIN = "TCB_CHAIN", 4
    TCB_CHAIN_VALIDITY = "TCB_CHAIN_VALIDITY", 4
    TCB_INFO_SIGNATURE = "TCB_INFO_SIGNATURE", 4
    TCB_INFO_FORMAT = "TCB_INFO_FORMAT", 4
    TCB_INFO_NOT_YET_VALID = "TCB_INFO_NOT_YET_VALID", 4
    TCB_INFO_EXPIRED = "TCB_INFO_EXPIRED", 4
    TCB_INFO_MISMATCH = "TCB_INFO_MISMATCH", 4
    QE_IDENTITY_CHAIN = "QE_IDENTITY_CHAIN", 4
    QE_IDENTITY_CHAIN_VALIDITY = "QE_IDENTITY_CHAIN_VALIDITY", 4
    QE_IDENTITY_SIGNATURE = "QE_IDENTITY_SIGNATURE", 4
    QE_IDENTITY_FORMAT = "QE_IDENTITY_FORMAT", 4
    QE_IDENTITY_NOT_YET_VALID = "QE_IDENTITY_NOT_YET_VALID", 4
    QE_IDENTITY_EXPIRED = "QE_IDENTITY_EXPIRED", 4
    COLLATERAL_VALIDITY = "COLLATERAL_VALIDITY", 4
    COLLATERAL_ROLLBACK = "COLLATERAL_ROLLBACK", 4

    QE_REPORT_SIGNATURE = "QE_REPORT_SIGNATURE", 5
    QE_REPORT_DATA = "QE_REPORT_DATA", 5
    QE_IDENTITY_MISMATCH = "QE_IDENTITY_MISMATCH", 5
    QE_TCB_NOT_SUPPORTED = "QE_TCB_NOT_SUPPORTED", 5

    QUOTE_SIGNATURE = "QUOTE_SIGNATURE", 6

    TDX_MODULE_MISMATCH = "TDX_MODULE_MISMATCH", 7
    TCB_NOT_SUPPORTED = "TCB_NOT_SUPPORTED", 7
    TCB_REVOKED = "TCB_REVOKED", 7


def rejection(code: StepCode, message: str, hint: str | None = None) -> VerificationError:
    """The error to raise for a check that failed."""
    return VerificationError(message, code=code, hint=hint)


class rejecting:  # noqa: N801  (reads like the statement that it is, as contextlib's do)
    """Within it, bytes that do not follow their format are rejected with `code`.

    A class, because one of a generator costs five times as much, and a quote passes a dozen.
    """

    __slots__ = ("_code",)

    def __init__(self, code: StepCode) -> None:
        self._code = code

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, FormatError):
            raise VerificationError(error.message, code=self._code, hint=error.hint) from error
