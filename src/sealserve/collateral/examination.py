"""What collateral says, for people: its dates, numbers and levels, and whether it verifies.

What cannot be verified is shown all the same, and is never called verified. Nothing is decided
here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from sealserve.endorsements.chain import parse_chain
from sealserve.endorsements.collateral import Collateral
from sealserve.endorsements.crl import parse_crl
from sealserve.endorsements.qe_identity import QeIdentity, parse_qe_identity
from sealserve.endorsements.signed_json import split
from sealserve.endorsements.tcb_info import TcbInfo, parse_tcb_info
from sealserve.errors import FormatError, RejectedError
from sealserve.verifier import TrustRoot, VerifiedCollateral, load_trust_root, verify_collateral
from sealserve.verifier.collateral import NO_GRACE


@dataclass(frozen=True, slots=True)
class Dated:
    """A part with dates of its own."""

    name: str
    valid_from: datetime
    valid_until: datetime
    is_certificate: bool
    """Certificates end when they say; the rest may be used longer under a grace."""


@dataclass(frozen=True, slots=True)
class Examination:
    """Collateral as far as it can be read."""

    collateral: Collateral
    tcb_info: TcbInfo | None
    qe_identity: QeIdentity | None
    parts: tuple[Dated, ...]
    """In the order in which they end."""
    root_sha256: bytes | None
    """Of the root that the collateral names itself."""
    verified: VerifiedCollateral | None
    error: RejectedError | None
    """Why it is not verified."""


def examine(
    collateral: Collateral, root: TrustRoot, now: datetime, grace: timedelta = NO_GRACE
) -> Examination:
    """`collateral` at `now`, verified under `root` if that can be."""
    verified, error = None, None
    try:
        verified = verify_collateral(collateral, root, now, grace=grace)
    except RejectedError as found:
        error = found
    named = _named_root(collateral)
    return Examination(
        collateral=collateral,
        tcb_info=_tcb_info(collateral),
        qe_identity=_qe_identity(collateral),
        parts=tuple(sorted(_parts(collateral), key=lambda part: part.valid_until)),
        root_sha256=hashlib.sha256(named).digest() if named else None,
        verified=verified,
        error=error,
    )


def root_within(collateral: Collateral, sha256: bytes) -> TrustRoot | None:
    """The root with this fingerprint, if the collateral carries it: whoever names the fingerprint
    has named the root."""
    named = _named_root(collateral)
    if named is None or hashlib.sha256(named).digest() != sha256:
        return None
    with suppress(RejectedError):
        return load_trust_root(named)
    return None


def _named_root(collateral: Collateral) -> bytes | None:
    """The last certificate of a chain, DER."""
    with suppress(FormatError):
        chain = parse_chain(collateral.tcb_info_issuer_chain)
        return chain[-1].der if chain else None
    return None


def _tcb_info(collateral: Collateral) -> TcbInfo | None:
    with suppress(FormatError):
        return parse_tcb_info(split(collateral.tcb_info, "tcbInfo").signed)
    return None


def _qe_identity(collateral: Collateral) -> QeIdentity | None:
    with suppress(FormatError):
        return parse_qe_identity(split(collateral.qe_identity, "enclaveIdentity").signed)
    return None


def _parts(collateral: Collateral) -> Iterator[Dated]:
    info, identity = _tcb_info(collateral), _qe_identity(collateral)
    if info is not None:
        yield Dated("TCB info", info.issue_date, info.next_update, False)
    if identity is not None:
        yield Dated("QE identity", identity.issue_date, identity.next_update, False)
    for name, data in (
        ("PCK CRL", collateral.pck_crl),
        ("root CA CRL", collateral.root_ca_crl),
    ):
        with suppress(FormatError):
            crl = parse_crl(data)
            yield Dated(name, crl.this_update, crl.next_update, False)
    yield from _certificates(collateral)


def _certificates(collateral: Collateral) -> Iterator[Dated]:
    """Each certificate once, though chains share them."""
    seen: set[bytes] = set()
    for chain in (
        collateral.tcb_info_issuer_chain,
        collateral.qe_identity_issuer_chain,
        collateral.pck_crl_issuer_chain,
    ):
        with suppress(FormatError):
            for each in parse_chain(chain):
                if each.der not in seen:
                    seen.add(each.der)
                    name = f"certificate {each.role or 'of no role'}"
                    yield Dated(name, each.not_before, each.not_after, True)
