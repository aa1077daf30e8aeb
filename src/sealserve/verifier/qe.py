"""The identity of the quoting enclave: in step 5 of `sealserve.verifier.dcap`.

The enclave stands between the platform's certificate and the quote: the PCK signs its report, and
the report vouches for the key that signs the quote (`evidence`). An enclave of anybody's could be
given a report by the same PCK, so it must also be the one that Intel describes. Trust domains are
quoted by another enclave than SGX enclaves; both are SGX enclaves themselves.

Source: Intel SGX ECDSA Quote Library Reference, appendix A.4; Intel SGX and TDX Provisioning
Certification Service API, version 4, "Enclave Identity".
"""

from __future__ import annotations

from sealserve.endorsements.collateral import Tee
from sealserve.endorsements.qe_identity import SGX_QE_ID, TDX_QE_ID, QeIdentity
from sealserve.evidence.report import SgxReport
from sealserve.verifier.bits import masked
from sealserve.verifier.codes import Code, rejection

_IDENTITY_IDS: dict[Tee, str] = {"SGX": SGX_QE_ID, "TDX": TDX_QE_ID}


def check_kind(identity: QeIdentity, tee: Tee) -> None:
    """Reject the identity of an enclave that does not quote for this kind of TEE."""
    if identity.id != _IDENTITY_IDS[tee]:
        raise rejection(
            Code.QE_IDENTITY_MISMATCH,
            f"the QE identity is of {identity.id[:32]!r}; TCB info is for {tee}, "
            f"whose quotes are made by {_IDENTITY_IDS[tee]!r}",
            hint="fetch TCB info and QE identity both under /sgx or both under /tdx",
        )


def check_identity(report: SgxReport, identity: QeIdentity) -> None:
    """Reject a quoting enclave that is not the one that `identity` describes.

    Value and mask are in the order of memory, where MISCSELECT is a little-endian integer.
    """
    misc_select = masked(report.misc_select.to_bytes(4, "little"), identity.misc_select_mask)
    attributes = masked(report.attributes, identity.attributes_mask)
    comparisons: tuple[tuple[str, object, object], ...] = (
        ("MRSIGNER", report.mr_signer, identity.mr_signer),
        ("ISVPRODID", report.isv_prod_id, identity.isv_prod_id),
        ("MISCSELECT under its mask", misc_select, identity.misc_select),
        ("ATTRIBUTES under their mask", attributes, identity.attributes),
    )
    for what, found, expected in comparisons:
        if found != expected:
            raise rejection(
                Code.QE_IDENTITY_MISMATCH,
                f"the quoting enclave's {what} is {_shown(found)}, "
                f"its identity says {_shown(expected)}",
            )


def _shown(value: object) -> object:
    return value.hex() if isinstance(value, bytes) else value
