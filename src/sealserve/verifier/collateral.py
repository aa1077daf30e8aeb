"""Collateral, verified once for many quotes: steps 3 and 4 of `sealserve.verifier.dcap`.

What comes out is a value that may be kept as long as it says (`valid_from`, `valid_until`); what is
left for each quote is to compare it with the quote's platform.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from sealserve.endorsements.chain import Certificate
from sealserve.endorsements.collateral import Collateral
from sealserve.endorsements.crl import Crl
from sealserve.endorsements.qe_identity import QeIdentity, parse_qe_identity
from sealserve.endorsements.signed_json import split
from sealserve.endorsements.tcb_info import TcbInfo, parse_tcb_info
from sealserve.verifier import pki, signatures
from sealserve.verifier.codes import Code, rejecting, rejection
from sealserve.verifier.roots import TrustRoot, load_trust_root

_T = TypeVar("_T", TcbInfo, QeIdentity)
_CRL_CODES = pki.PathCodes(Code.CRL_CHAIN, Code.CRL_CHAIN, Code.CRL_CHAIN_VALIDITY)


@dataclass(frozen=True, slots=True)
class VerifiedCollateral:
    """Collateral of which everything held at one time, under one root.

    It is good for quotes of one kind of platform (`tcb_info.fmspc`) whose PCK certificates were
    issued by `pck_ca`, from `valid_from` to `valid_until`, both included.
    """

    root: TrustRoot
    pck_ca: Certificate
    pck_crl: Crl
    root_ca_crl: Crl
    tcb_info: TcbInfo
    qe_identity: QeIdentity
    valid_from: datetime
    valid_until: datetime


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
    collateral: Collateral, trust_root: bytes | TrustRoot, now: datetime
) -> VerifiedCollateral:
    """Steps 3 and 4 as far as they do not depend on a quote.

    `trust_root` is one certificate, PEM or DER, or the root loaded before; `now` knows its zone.
    Raises VerificationError.
    """
    root = trust_root if isinstance(trust_root, TrustRoot) else load_trust_root(trust_root)
    # 3. The CRLs, and what the root says of the CA that signs the other.
    root_ca_crl = pki.verify_crl(collateral.root_ca_crl, root.certificate, now)
    pck_ca_path = pki.verify_path(
        collateral.pck_crl_issuer_chain, pki.PCK_CA_PATH, root.certificate, now, _CRL_CODES
    )
    pck_ca = pck_ca_path[0]
    pki.check_not_revoked(pck_ca, root_ca_crl)
    pck_crl = pki.verify_crl(collateral.pck_crl, pck_ca, now)
    # 4. The two statements of Intel's TCB signer.
    tcb_path, tcb_info = verify_statement(
        TCB_INFO, collateral.tcb_info, collateral.tcb_info_issuer_chain, root, root_ca_crl, now
    )
    qe_path, qe_identity = verify_statement(
        QE_IDENTITY,
        collateral.qe_identity,
        collateral.qe_identity_issuer_chain,
        root,
        root_ca_crl,
        now,
        known=tcb_path,
    )
    windows = [
        *((crl.this_update, crl.next_update) for crl in (root_ca_crl, pck_crl)),
        *((each.issue_date, each.next_update) for each in (tcb_info, qe_identity)),
        *((each.not_before, each.not_after) for each in (*pck_ca_path, *tcb_path, *qe_path)),
    ]
    return VerifiedCollateral(
        root=root,
        pck_ca=pck_ca,
        pck_crl=pck_crl,
        root_ca_crl=root_ca_crl,
        tcb_info=tcb_info,
        qe_identity=qe_identity,
        valid_from=max(start for start, _ in windows),
        valid_until=min(end for _, end in windows),
    )


def verify_statement(
    kind: StatementKind[_T],
    body: bytes,
    chain: bytes,
    root: TrustRoot,
    root_ca_crl: Crl,
    now: datetime,
    known: tuple[Certificate, ...] = (),
) -> tuple[tuple[Certificate, ...], _T]:
    """The signer's path and the statement in `body`, its signature checked before it is parsed.

    `known` are certificates that were verified under `root` before.
    """
    path = pki.verify_path(chain, pki.TCB_SIGNING_PATH, root.certificate, now, kind.path, known)
    pki.check_not_revoked(path[0], root_ca_crl)
    with rejecting(kind.format):
        received = split(body, kind.name)
    if not signatures.is_valid(path[0].public_key, received.signature, received.signed):
        raise rejection(kind.signature, f"{kind.name} is not signed by its {path[0].role}")
    with rejecting(kind.format):
        statement = kind.parse(received.signed)
    _check_dates(kind, statement, now)
    return path, statement


def _check_dates(kind: StatementKind[_T], statement: TcbInfo | QeIdentity, now: datetime) -> None:
    if now < statement.issue_date:
        raise rejection(
            kind.not_yet_valid,
            f"{kind.name} was issued at {statement.issue_date}, and it is {now}",
            hint="look at this machine's clock",
        )
    if now > statement.next_update:
        raise rejection(
            kind.expired,
            f"{kind.name} was to be replaced by {statement.next_update}, and it is {now}",
            hint="fetch fresh collateral; if it is fresh, look at this machine's clock",
        )
