"""A second opinion, `dcap-qvl`, on the public corpus: every disagreement is a known one.

The disagreements are the table of docs/assurance.md, which this test reads: it fails when they
disagree about a vector that is not listed, and when a listed disagreement is none any more. Ours is
judged under the default policy, since dcap-qvl refuses debug enclaves by itself.
"""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest

from dcap_vectors import PROJECT, QUOTE_KINDS, VECTORS, Vector, vectors
from sealserve.appraisal import appraise_by_default
from sealserve.endorsements.collateral import Collateral
from sealserve.endorsements.signed_json import split
from sealserve.errors import FormatError, VerificationError
from sealserve.verifier import load_trust_root, verify
from sealserve.verifier.claims import DcapStanding

pytestmark = pytest.mark.interop

PAGE = (PROJECT / "docs" / "assurance.md").read_text()
ROW = re.compile(r"^\| `([^`]+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)


@dataclass(frozen=True)
class Opinion:
    """One verifier's verdict, and what it says of an accepted platform."""

    verdict: str
    """`accept` and the status, or `reject` and the reason, as the tables of the page write it."""
    advisory_ids: tuple[str, ...] = ()
    ppid: bytes = b""

    @property
    def accepts(self) -> bool:
        return self.verdict.startswith("accept")


def ours(vector: Vector) -> Opinion:
    try:
        claims = verify(
            vector.quote, vector.collateral, trust_root=vector.trust_root, now=vector.now
        )
    except VerificationError as error:
        return Opinion(f"reject {error.code}")
    result = appraise_by_default(claims)
    if not result.allowed:
        return Opinion(f"reject {result.code}")
    standing = claims.standing
    assert isinstance(standing, DcapStanding)
    return Opinion(f"accept {standing.tcb_status}", standing.advisory_ids, standing.ppid)


def theirs(vector: Vector) -> Opinion:
    try:
        report = dcap_qvl().verify_with_root_ca(
            vector.quote,
            their_collateral(vector.collateral),
            load_trust_root(vector.trust_root).certificate.der,
            vector.manifest["eval_time"],
        )
    except ValueError as error:
        reason = str(error).splitlines()[0].removeprefix("Verification failed: ")
        return Opinion(f"reject {reason}")
    return Opinion(f"accept {report.status}", tuple(sorted(report.advisory_ids)), report.ppid)


def dcap_qvl() -> Any:
    """Not there without the interop extra, where these tests are collected too."""
    return importlib.import_module("dcap_qvl")


def their_collateral(collateral: Collateral) -> object:
    """Statements and signatures apart; the bytes are the same."""
    tcb_info = parted(collateral.tcb_info, "tcbInfo")
    qe_identity = parted(collateral.qe_identity, "enclaveIdentity")
    return dcap_qvl().QuoteCollateralV3(
        pck_crl_issuer_chain=collateral.pck_crl_issuer_chain.decode(),
        root_ca_crl=collateral.root_ca_crl,
        pck_crl=collateral.pck_crl,
        tcb_info_issuer_chain=collateral.tcb_info_issuer_chain.decode(),
        tcb_info=tcb_info[0].decode(),
        tcb_info_signature=tcb_info[1],
        qe_identity_issuer_chain=collateral.qe_identity_issuer_chain.decode(),
        qe_identity=qe_identity[0].decode(),
        qe_identity_signature=qe_identity[1],
    )


def parted(body: bytes, name: str) -> tuple[bytes, bytes]:
    """A statement and its signature; nothing and nothing where the body has another form."""
    try:
        statement = split(body, name)
    except FormatError:
        return b"", b""
    return statement.signed, statement.signature


@cache
def opinions() -> dict[str, tuple[Opinion, Opinion]]:
    """Both opinions on every vector that holds a quote."""
    judged = [vector for vector in vectors() if vector.kind in QUOTE_KINDS]
    if not judged:
        pytest.skip(f"no DCAP vectors in {VECTORS}; see SEALSERVE_VECTORS")
    return {vector.name: (ours(vector), theirs(vector)) for vector in judged}


def agree(one: Opinion, other: Opinion) -> bool:
    """Two refusals agree whatever their reasons: the words are each verifier's own."""
    return one == other or not (one.accepts or other.accepts)


def test_they_agree_but_for_the_disagreements_that_the_page_explains() -> None:
    found = {
        name: (one.verdict, other.verdict)
        for name, (one, other) in opinions().items()
        if not agree(one, other)
    }
    assert found == {name: (one, other) for name, one, other, _ in ROW.findall(PAGE)}


def test_every_disagreement_has_its_reason() -> None:
    rows = ROW.findall(PAGE)
    assert rows
    assert all(len(reason.split()) > 3 for *_, reason in rows)


def test_both_accept_many_and_say_the_same_of_them() -> None:
    accepted = [one for one, other in opinions().values() if one == other and one.accepts]
    assert len(accepted) > len(opinions()) / 4


def test_the_page_names_the_version_that_was_asked_and_the_number_of_vectors() -> None:
    assert f"dcap-qvl {dcap_qvl().__version__}" in PAGE
    assert f"the {len(opinions())} public vectors" in PAGE
