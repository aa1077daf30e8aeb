"""How the lab misbehaves on demand: each fault is one thing wrong with an otherwise good world.

Faults combine with `|`. Every one of them must be caught by the verifier or the policy; of those
that lower the platform's TCB the worst wins.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Flag, auto

from sealserve.errors import UsageError


class Faults(Flag):
    """What is wrong with a world; `Faults(0)` is nothing."""

    REVOKED_PCK = auto()
    """The PCK CRL names the platform's certificate."""
    REVOKED_PLATFORM_CA = auto()
    """The root CA CRL names the CA that issued it."""
    REVOKED_TCB_SIGNER = auto()
    """The root CA CRL names the certificate that signs TCB info and QE identity."""

    EXPIRED_PCK = auto()
    """The platform's certificate is past its end."""
    EXPIRED_TCB_INFO = auto()
    """TCB info is past its next update."""
    EXPIRED_QE_IDENTITY = auto()
    """QE identity is past its next update."""
    EXPIRED_CRLS = auto()
    """Both CRLs are past their next update."""
    EXPIRED_COLLATERAL = EXPIRED_TCB_INFO | EXPIRED_QE_IDENTITY | EXPIRED_CRLS

    SW_HARDENING_TCB = auto()
    """The platform reaches only the level SWHardeningNeeded."""
    OUTDATED_TCB = auto()
    """The platform reaches only the level OutOfDate."""
    REVOKED_TCB = auto()
    """The platform reaches only the level Revoked."""
    UNKNOWN_TCB = auto()
    """The platform reaches no level at all."""

    OUTDATED_QE = auto()
    """The quoting enclave's security version is OutOfDate."""
    FOREIGN_QE = auto()
    """The quoting enclave was signed by somebody whom QE identity does not name."""

    OUTDATED_TDX_MODULE = auto()
    """The TDX module's security version is OutOfDate."""
    FOREIGN_TDX_MODULE = auto()
    """The TDX module was signed by somebody other than Intel."""
    UNKNOWN_TDX_MODULE = auto()
    """The TDX module is of a generation that TCB info does not know."""
    OUTDATED_TD_LAUNCH = auto()
    """The TDX module was updated, and every trust domain was launched before that."""

    DEBUG = auto()
    """Every quote is of a debug enclave or a debug trust domain."""
    TAMPERED_QUOTE = auto()
    """One bit of the measurement is flipped after the quote was signed."""
    TAMPERED_TCB_INFO = auto()
    """TCB info is changed after it was signed."""
    TAMPERED_QE_IDENTITY = auto()
    """QE identity is changed after it was signed."""
    MISISSUED_TCB_INFO = auto()
    """TCB info is signed by the platform's PCK, whose role that is not."""
    WRONG_FMSPC = auto()
    """TCB info is of another kind of platform."""

    @property
    def names(self) -> list[str]:
        """The single faults in it, as `parse_faults` reads them."""
        return [fault_name(fault) for fault in self]


NO_FAULTS = Faults(0)


def fault_name(fault: Faults) -> str:
    """`Faults.REVOKED_PCK` as people write it: `revoked-pck`."""
    return str(fault.name).lower().replace("_", "-")


def parse_faults(names: Iterable[str]) -> Faults:
    """Faults from their names; raises UsageError for a name that is none."""
    faults = NO_FAULTS
    for name in names:
        try:
            faults |= FAULTS_BY_NAME[name]
        except KeyError:
            raise UsageError(
                f"{name!r} is no fault of the lab", hint=f"one of {', '.join(FAULTS_BY_NAME)}"
            ) from None
    return faults


# Composites too: `__members__` holds what iteration over a Flag leaves out.
FAULTS_BY_NAME = {fault_name(fault): fault for fault in Faults.__members__.values()}
