"""Cases of dates: both ends of everything that has any, a second outside and exactly at the end.

All dates are compared with the time of the case; a beginning and an end belong to what they bound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sealserve.lab.statements import date_text
from sealserve.lab.vectors.case import (
    CRL_CHAIN_UNREAD,
    CRL_END,
    NOT_BEFORE,
    ROOT_DATES,
    Case,
    Evidence,
)
from sealserve.lab.vectors.original import EVALUATION_TIME, STATEMENT_WORDS, Original, Statement
from sealserve.lab.vectors.reissuing import Difference, issue_crl, reissue
from sealserve.verifier import Code

_GROUP = "dates"
_SECOND = timedelta(seconds=1)
_MONTH = timedelta(days=30)

_Make = Callable[[Original, datetime, datetime], Evidence]


@dataclass(frozen=True, slots=True)
class _Dated:
    """Something that holds from one time to another."""

    name: str
    words: str
    make: _Make
    too_early: Code
    too_late: Code
    latitudes: Mapping[str, str]
    """Why another verifier may differ, by the case."""


def cases(original: Original) -> Iterator[Case]:
    """Of everything that is dated."""
    for dated in (*_CERTIFICATES, *_CRLS, *_STATEMENTS):
        yield from _ends(original, dated)


def statement_cases(original: Original) -> Iterator[Case]:
    """Of TCB info and the quoting enclave's identity alone."""
    for dated in _STATEMENTS:
        yield from _ends(original, dated)


def _ends(original: Original, dated: _Dated) -> Iterator[Case]:
    now, words = EVALUATION_TIME, dated.words
    yield original.reject(
        _GROUP,
        f"{dated.name}-begins-later",
        f"{words} begins to hold one second after the time of the case.",
        dated.too_early,
        dated.make(original, now + _SECOND, now + _MONTH),
        dated.latitudes.get("begins-later"),
    )
    yield original.reject(
        _GROUP,
        f"{dated.name}-ended",
        f"{words} ceased to hold one second before the time of the case.",
        dated.too_late,
        dated.make(original, now - _MONTH, now - _SECOND),
        dated.latitudes.get("ended"),
    )
    yield original.accept(
        _GROUP,
        f"{dated.name}-begins-now",
        f"{words} begins to hold at the very second of the case.",
        dated.make(original, now, now + _MONTH),
    )
    yield original.accept(
        _GROUP,
        f"{dated.name}-ends-now",
        f"{words} ceases to hold at the very second of the case.",
        dated.make(original, now - _MONTH, now),
        latitude=dated.latitudes.get("ends-now"),
    )


def _pck(original: Original, start: datetime, end: datetime) -> Evidence:
    return original.with_pck(Difference(not_before=start, not_after=end))


def _pck_ca(original: Original, start: datetime, end: datetime) -> Evidence:
    return original.with_pck_ca(Difference(not_before=start, not_after=end))


def _root(original: Original, start: datetime, end: datetime) -> Evidence:
    root = original.authorities.root_ca
    return original.with_root(reissue(root, root, Difference(not_before=start, not_after=end)))


def _crl_ca(original: Original, start: datetime, end: datetime) -> Evidence:
    authorities = original.authorities
    difference = Difference(not_before=start, not_after=end)
    pck_ca = reissue(authorities.platform_ca, authorities.root_ca, difference)
    chain = pck_ca.certificate_pem + authorities.root_ca.certificate_pem
    return original.evidence.with_collateral(pck_crl_issuer_chain=chain)


def _signer_of(part: Statement) -> _Make:
    def make(original: Original, start: datetime, end: datetime) -> Evidence:
        authorities = original.authorities
        difference = Difference(not_before=start, not_after=end)
        signer = reissue(authorities.tcb_signer, authorities.root_ca, difference)
        chain = signer.certificate_pem + authorities.root_ca.certificate_pem
        return original.evidence.with_collateral(**{f"{part}_issuer_chain": chain})

    return make


def _root_ca_crl(original: Original, start: datetime, end: datetime) -> Evidence:
    crl = issue_crl(original.authorities.root_ca, start, end)
    return original.evidence.with_collateral(root_ca_crl=crl)


def _pck_crl(original: Original, start: datetime, end: datetime) -> Evidence:
    crl = issue_crl(original.authorities.platform_ca, start, end)
    return original.evidence.with_collateral(pck_crl=crl)


def _statement(part: Statement) -> _Make:
    def make(original: Original, start: datetime, end: datetime) -> Evidence:
        return original.with_members(part, issueDate=date_text(start), nextUpdate=date_text(end))

    return make


def _certificate(
    name: str, words: str, make: _Make, code: Code, latitudes: Mapping[str, str]
) -> _Dated:
    return _Dated(name, words, make, code, code, latitudes)


_LAX_BEGINNING = {"begins-later": NOT_BEFORE}
_CERTIFICATES = (
    _certificate("pck", "The PCK certificate", _pck, Code.PCK_CHAIN_VALIDITY, _LAX_BEGINNING),
    _certificate(
        "pck-ca", "The PCK's CA in the quote", _pck_ca, Code.PCK_CHAIN_VALIDITY, _LAX_BEGINNING
    ),
    _certificate(
        "root-ca",
        "The root CA",
        _root,
        Code.PCK_CHAIN_VALIDITY,
        {"begins-later": ROOT_DATES, "ended": ROOT_DATES},
    ),
    _certificate(
        "crl-ca",
        "The CA that signs the PCK CRL",
        _crl_ca,
        Code.CRL_CHAIN_VALIDITY,
        {"begins-later": CRL_CHAIN_UNREAD, "ended": CRL_CHAIN_UNREAD},
    ),
    _certificate(
        "tcb-info-signer",
        "The certificate of the signer of TCB info",
        _signer_of("tcb_info"),
        Code.TCB_CHAIN_VALIDITY,
        _LAX_BEGINNING,
    ),
    _certificate(
        "qe-identity-signer",
        "The certificate of the signer of the QE identity",
        _signer_of("qe_identity"),
        Code.QE_IDENTITY_CHAIN_VALIDITY,
        _LAX_BEGINNING,
    ),
)
_CRLS = tuple(
    _Dated(name, words, make, Code.CRL_VALIDITY, Code.CRL_VALIDITY, {"ends-now": CRL_END})
    for name, words, make in (
        ("root-ca-crl", "The root CA's CRL", _root_ca_crl),
        ("pck-crl", "The PCK CRL", _pck_crl),
    )
)
_STATEMENTS = tuple(
    _Dated(
        part.replace("_", "-"),
        words,
        _statement(part),
        Code[f"{part.upper()}_NOT_YET_VALID"],
        Code[f"{part.upper()}_EXPIRED"],
        {},
    )
    for part, words in STATEMENT_WORDS.items()
)
