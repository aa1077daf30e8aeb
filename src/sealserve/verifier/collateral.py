"""Collateral, verified once for many quotes: steps 3 and 4 of `sealserve.verifier.dcap`.

What comes out is a value that may be kept as long as it says (`valid_from`, `usable_until`); what
is left for each quote is to compare it with the quote's platform. Whoever keeps it may also refuse
collateral older than some it has seen (`check_not_rolled_back`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from sealserve.endorsements.chain import Certificate
from sealserve.endorsements.collateral import Collateral, Tee
from sealserve.endorsements.crl import Crl
from sealserve.endorsements.qe_identity import QeIdentity, parse_qe_identity
from sealserve.endorsements.signed_json import split
from sealserve.endorsements.tcb_info import TcbInfo, TcbInfoId, parse_tcb_info
from sealserve.verifier import pki, qe, signatures
from sealserve.verifier.codes import Code, rejecting, rejection
from sealserve.verifier.roots import TrustRoot, load_trust_root

_T = TypeVar("_T", TcbInfo, QeIdentity)
_CRL_CODES = pki.PathCodes(Code.CRL_CHAIN, Code.CRL_CHAIN, Code.CRL_CHAIN_VALIDITY)
NO_GRACE = timedelta(0)


@dataclass(frozen=True, slots=True)
class Revocation:
    """Both CRLs, and the CA whose PCK certificates the one of them is about."""

    root_ca_crl: Crl
    pck_ca_path: tuple[Certificate, ...]
    """That CA, and the root."""
    pck_crl: Crl

    @property
    def pck_ca(self) -> Certificate:
        """The CA that issued the PCK CRL."""
        return self.pck_ca_path[0]


@dataclass(frozen=True, slots=True)
class VerifiedCollateral:
    """Collateral of which everything held at one time, under one root.

    It is good for quotes of one kind of TEE on one kind of platform (`tee`, `tcb_info.fmspc`) whose
    PCK certificates were issued by `revocation.pck_ca`, from `valid_from` to `usable_until`, both
    included. `qe_identity` is of the enclave that makes these quotes.
    """

    root: TrustRoot
    revocation: Revocation | None
    """None where the caller skipped it, by its unsafe name."""
    tcb_info: TcbInfo
    qe_identity: QeIdentity
    valid_from: datetime
    valid_until: datetime
    """The earliest end of anything in it."""
    usable_until: datetime
    """The same, with the grace that the caller gave to CRLs and signed statements; certificates end
    when they say."""

    @property
    def tee(self) -> Tee:
        """What it is about."""
        return _tee(self.tcb_info)


@dataclass(frozen=True, slots=True)
class Evaluations:
    """The evaluation data numbers of two statements."""

    tcb_info: int
    qe_identity: int


@dataclass(frozen=True, slots=True)
class StatementKind(Generic[_T]):
    """One of the two statements of Intel's TCB signer: its name, its reader, its codes."""

    name: str
    parse: Callable[[bytes], _T]
    path: pki.PathCodes
    signature: Code
    format: Code
    not_yet_valid: Code
    expired: Code


TCB_INFO = StatementKind(
    "tcbInfo",
    parse_tcb_info,
    pki.PathCodes(Code.TCB_CHAIN, Code.TCB_CHAIN, Code.TCB_CHAIN_VALIDITY),
    Code.TCB_INFO_SIGNATURE,
    Code.TCB_INFO_FORMAT,
    Code.TCB_INFO_NOT_YET_VALID,
    Code.TCB_INFO_EXPIRED,
)
QE_IDENTITY = StatementKind(
    "enclaveIdentity",
    parse_qe_identity,
    pki.PathCodes(Code.QE_IDENTITY_CHAIN, Code.QE_IDENTITY_CHAIN, Code.QE_IDENTITY_CHAIN_VALIDITY),
    Code.QE_IDENTITY_SIGNATURE,
    Code.QE_IDENTITY_FORMAT,
    Code.QE_IDENTITY_NOT_YET_VALID,
    Code.QE_IDENTITY_EXPIRED,
)


def verify_collateral(
    collateral: Collateral,
    trust_root: bytes | TrustRoot,
    now: datetime,
    *,
    grace: timedelta = NO_GRACE,
    dangerously_skip_revocation: bool = False,
) -> VerifiedCollateral:
    """Steps 3 and 4 as far as they do not depend on a quote.

    `trust_root` is one certificate, PEM or DER, or the root loaded before; `now` knows its zone.
    `grace` is how long CRLs, TCB info and QE identity are used past their next update; certificates
    never. `dangerously_skip_revocation` leaves the CRLs unread: a revoked platform passes, and the
    claims say so. Raises VerificationError.
    """
    root = trust_root if isinstance(trust_root, TrustRoot) else load_trust_root(trust_root)
    # 3. The CRLs of both CAs.
    revocation = None if dangerously_skip_revocation else _crls(collateral, root, now, grace)
    # 4. The two statements of Intel's TCB signer.
    root_ca_crl = revocation.root_ca_crl if revocation else None
    tcb_path, tcb_info = verify_statement(
        TCB_INFO,
        collateral.tcb_info,
        collateral.tcb_info_issuer_chain,
        root,
        root_ca_crl,
        now,
        grace=grace,
    )
    qe_path, qe_identity = verify_statement(
        QE_IDENTITY,
        collateral.qe_identity,
        collateral.qe_identity_issuer_chain,
        root,
        root_ca_crl,
        now,
        grace=grace,
    )
    qe.check_kind(qe_identity, _tee(tcb_info))
    crls = (revocation.root_ca_crl, revocation.pck_crl) if revocation else ()
    pck_ca_path = revocation.pck_ca_path if revocation else ()
    certificates = [
        (each.not_before, each.not_after) for each in (*pck_ca_path, *tcb_path, *qe_path)
    ]
    updated = [
        *((crl.this_update, crl.next_update) for crl in crls),
        *((each.issue_date, each.next_update) for each in (tcb_info, qe_identity)),
    ]
    certificates_end = min(end for _, end in certificates)
    next_update = min(end for _, end in updated)
    return VerifiedCollateral(
        root=root,
        revocation=revocation,
        tcb_info=tcb_info,
        qe_identity=qe_identity,
        valid_from=max(start for start, _ in (*certificates, *updated)),
        valid_until=min(certificates_end, next_update),
        usable_until=min(certificates_end, next_update + grace),
    )


def _tee(tcb_info: TcbInfo) -> Tee:
    return "TDX" if tcb_info.id is TcbInfoId.TDX else "SGX"


def check_not_rolled_back(collateral: VerifiedCollateral, seen: Evaluations) -> None:
    """Reject collateral with an older evaluation than was seen for its TEE and FMSPC.

    Old statements are signed and may be unexpired, and whoever answers in Intel's place can choose
    among them; only a memory of what was seen can tell. Raises VerificationError
    (COLLATERAL_ROLLBACK).
    """
    for what, found, newest in (
        ("TCB info", collateral.tcb_info.evaluation_data_number, seen.tcb_info),
        ("QE identity", collateral.qe_identity.evaluation_data_number, seen.qe_identity),
    ):
        if found < newest:
            raise rejection(
                Code.COLLATERAL_ROLLBACK,
                f"{what} has the evaluation data number {found}, and {newest} was seen before",
                hint="ask the collateral service why it serves older data than it did",
            )


def _crls(collateral: Collateral, root: TrustRoot, now: datetime, grace: timedelta) -> Revocation:
    """Both CRLs, and that the root's does not name the CA of the other."""
    root_ca_crl = pki.verify_crl(collateral.root_ca_crl, root.certificate, now, grace)
    pck_ca_path = verify_pck_ca(collateral, root, now)
    pki.check_not_revoked(pck_ca_path[0], root_ca_crl)
    pck_crl = pki.verify_crl(collateral.pck_crl, pck_ca_path[0], now, grace)
    return Revocation(root_ca_crl, pck_ca_path, pck_crl)


def verify_pck_ca(
    collateral: Collateral, root: TrustRoot, now: datetime
) -> tuple[Certificate, ...]:
    """The path of the CA that issues the PCK CRL; raises VerificationError."""
    return pki.verify_path(
        collateral.pck_crl_issuer_chain, pki.PCK_CA_PATH, root.certificate, now, _CRL_CODES
    )


def verify_statement(
    kind: StatementKind[_T],
    body: bytes,
    chain: bytes,
    root: TrustRoot,
    root_ca_crl: Crl | None,
    now: datetime,
    grace: timedelta = NO_GRACE,
) -> tuple[tuple[Certificate, ...], _T]:
    """The signer's path and the statement in `body`, its signature checked before it is parsed."""
    path = pki.verify_path(chain, pki.TCB_SIGNING_PATH, root.certificate, now, kind.path)
    if root_ca_crl is not None:
        pki.check_not_revoked(path[0], root_ca_crl)
    with rejecting(kind.format):
        received = split(body, kind.name)
    if not signatures.is_valid(path[0].public_key, received.signature, received.signed):
        raise rejection(kind.signature, f"{kind.name} is not signed by its {path[0].role}")
    with rejecting(kind.format):
        statement = kind.parse(received.signed)
    _check_dates(kind, statement, now, grace)
    return path, statement


def _check_dates(
    kind: StatementKind[_T], statement: TcbInfo | QeIdentity, now: datetime, grace: timedelta
) -> None:
    if now < statement.issue_date:
        raise rejection(
            kind.not_yet_valid,
            f"{kind.name} was issued at {statement.issue_date}, and it is {now}",
            hint="look at this machine's clock",
        )
    if now > statement.next_update + grace:
        raise rejection(
            kind.expired,
            f"{kind.name} was to be replaced by {statement.next_update}, and it is {now}",
            hint="fetch fresh collateral; if it is fresh, look at this machine's clock",
        )
