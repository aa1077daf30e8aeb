"""What a lab world publishes about its platform: the collateral of both TEEs, now and early.

`early` is what the same authorities say under the next evaluation data number. Faults of collateral
are made here, the same ones in all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from sealserve.endorsements.collateral import Collateral, Tee
from sealserve.lab import pki, statements
from sealserve.lab.authorities import FMSPC, PCE_ID, Authorities
from sealserve.lab.faults import Faults
from sealserve.lab.levels import PICTURES, Picture, Update
from sealserve.lab.statements import Signer

_OTHER_FMSPC = bytes.fromhex("53494d000001")


@dataclass(frozen=True, slots=True)
class Issued:
    """Everything that a collateral service holds about one kind of platform."""

    collateral: Mapping[tuple[Tee, Update], Collateral]
    tcb_info_v2: Mapping[Update, bytes]
    """SGX TCB info in the form of the third interface; it has the chain of the other form."""


def issue_all(authorities: Authorities, faults: Faults, now: datetime) -> Issued:
    """The collateral that is issued at `now`."""
    revocation = _issue_revocation(authorities, faults, now)
    return Issued(
        collateral={
            (tee, update): replace(
                revocation, **_issue_statements(tee, authorities, faults, now, picture)
            )
            for tee in ("SGX", "TDX")
            for update, picture in PICTURES.items()
        },
        tcb_info_v2={
            update: _issue_tcb_info_v2(authorities, faults, now, picture)
            for update, picture in PICTURES.items()
        },
    )


def _issue_revocation(authorities: Authorities, faults: Faults, now: datetime) -> Collateral:
    """The CRLs and their chain; the statements are still empty."""
    root_ca, pck_ca = authorities.root_ca, authorities.platform_ca
    root_revoked = [
        holder.certificate
        for fault, holder in (
            (Faults.REVOKED_PLATFORM_CA, pck_ca),
            (Faults.REVOKED_TCB_SIGNER, authorities.tcb_signer),
        )
        if fault in faults
    ]
    pck_revoked = [authorities.pck.certificate] if Faults.REVOKED_PCK in faults else []
    expired = Faults.EXPIRED_CRLS in faults
    return Collateral(
        tcb_info=b"",
        tcb_info_issuer_chain=b"",
        qe_identity=b"",
        qe_identity_issuer_chain=b"",
        pck_crl=pki.issue_crl(pck_ca, now, revoked=pck_revoked, expired=expired),
        pck_crl_issuer_chain=authorities.platform_chain,
        root_ca_crl=pki.issue_crl(root_ca, now, revoked=root_revoked, expired=expired),
    )


def _issue_statements(
    tee: Tee, authorities: Authorities, faults: Faults, now: datetime, picture: Picture
) -> dict[str, bytes]:
    misissued = Faults.MISISSUED_TCB_INFO in faults
    tcb_info = statements.tcb_info(
        tee, _fmspc(faults), PCE_ID, picture, _tcb_info_signer(authorities, faults, now)
    )
    dates = pki.collateral_dates(now, expired=Faults.EXPIRED_QE_IDENTITY in faults)
    qe_signer = Signer(authorities.tcb_signer.key, *dates)
    qe_identity = statements.qe_identity(tee, authorities.qe_mr_signer, picture, qe_signer)
    return {
        "tcb_info": _altered(tcb_info, Faults.TAMPERED_TCB_INFO in faults),
        "tcb_info_issuer_chain": authorities.pck_chain if misissued else authorities.tcb_chain,
        "qe_identity": _altered(qe_identity, Faults.TAMPERED_QE_IDENTITY in faults),
        "qe_identity_issuer_chain": authorities.tcb_chain,
    }


def _issue_tcb_info_v2(
    authorities: Authorities, faults: Faults, now: datetime, picture: Picture
) -> bytes:
    signer = _tcb_info_signer(authorities, faults, now)
    info = statements.tcb_info_v2(_fmspc(faults), PCE_ID, picture, signer)
    return _altered(info, Faults.TAMPERED_TCB_INFO in faults)


def _tcb_info_signer(authorities: Authorities, faults: Faults, now: datetime) -> Signer:
    misissued = Faults.MISISSUED_TCB_INFO in faults
    holder = authorities.pck if misissued else authorities.tcb_signer
    dates = pki.collateral_dates(now, expired=Faults.EXPIRED_TCB_INFO in faults)
    return Signer(holder.key, *dates)


def _fmspc(faults: Faults) -> bytes:
    return _OTHER_FMSPC if Faults.WRONG_FMSPC in faults else FMSPC


def _altered(statement: bytes, tampered: bool) -> bytes:
    """If tampered, still well-formed, and says something else than was signed."""
    if not tampered:
        return statement
    return statement.replace(b'"tcbEvaluationDataNumber":1', b'"tcbEvaluationDataNumber":2')
