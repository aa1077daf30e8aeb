"""A second opinion, `dcap-qvl`, beside our verifier: every disagreement is a known one.

Both judge the public corpus, and the lab's conformance vectors. Their disagreements are the tables
of docs/assurance.md, which these tests read: they fail when the verifiers disagree about a vector
that no row explains, and when an explained disagreement is none any more. On the public corpus ours
is judged under the default policy, since dcap-qvl refuses debug enclaves by itself.
"""

from __future__ import annotations

import importlib
import re
from collections import Counter
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from typing import Any

import pytest

from dcap_vectors import PROJECT, QUOTE_KINDS, VECTORS, Vector, vectors
from sealserve.appraisal import appraise_by_default
from sealserve.endorsements.collateral import Collateral
from sealserve.endorsements.signed_json import split
from sealserve.errors import FormatError, VerificationError
from sealserve.lab.vectors.case import Case, Evidence
from sealserve.lab.vectors.catalogue import all_cases
from sealserve.verifier import load_trust_root, verify
from sealserve.verifier.claims import DcapStanding

pytestmark = pytest.mark.interop

PAGE = (PROJECT / "docs" / "assurance.md").read_text()
ROW = re.compile(r"^\| `([^`]+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
LATITUDE = "a vector that states a latitude"


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


def rows(title: str) -> list[tuple[str, str, str, str]]:
    """The table under a title of the page."""
    return ROW.findall(PAGE.split(f"\n### {title}\n")[1].split("\n#")[0])


def ours(evidence: Evidence, *, policy: bool) -> Opinion:
    try:
        claims = verify(
            evidence.quote, evidence.collateral, trust_root=evidence.trust_root, now=evidence.at
        )
    except VerificationError as error:
        return Opinion(f"reject {error.code}")
    result = appraise_by_default(claims)
    if policy and not result.allowed:
        return Opinion(f"reject {result.code}")
    standing = claims.standing
    assert isinstance(standing, DcapStanding)
    return Opinion(f"accept {standing.tcb_status}", standing.advisory_ids, standing.ppid)


def theirs(evidence: Evidence) -> Opinion:
    try:
        report = dcap_qvl().verify_with_root_ca(
            evidence.quote,
            their_collateral(evidence.collateral),
            der(evidence.trust_root),
            int(evidence.at.timestamp()),
        )
    except ValueError as error:
        reason = str(error).splitlines()[0].removeprefix("Verification failed: ")
        return Opinion(f"reject {reason}")
    return Opinion(f"accept {report.status}", tuple(sorted(report.advisory_ids)), report.ppid)


def dcap_qvl() -> Any:
    """Not there without the interop extra, where these tests are collected too."""
    return importlib.import_module("dcap_qvl")


def der(root: bytes) -> bytes:
    """The root as DER, or what it is where it is no certificate."""
    try:
        return load_trust_root(root).certificate.der
    except VerificationError:
        return root


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
def on_the_corpus() -> dict[str, tuple[Opinion, Opinion]]:
    """Both opinions on every public vector that holds a quote."""
    judged = [vector for vector in vectors() if vector.kind in QUOTE_KINDS]
    if not judged:
        pytest.skip(f"no DCAP vectors in {VECTORS}; see SEALSERVE_VECTORS")
    return {vector.name: opinions(evidence_of(vector), policy=True) for vector in judged}


def evidence_of(vector: Vector) -> Evidence:
    return Evidence(vector.quote, vector.collateral, vector.trust_root, vector.now)


def opinions(evidence: Evidence, *, policy: bool) -> tuple[Opinion, Opinion]:
    return ours(evidence, policy=policy), theirs(evidence)


def agree(one: Opinion, other: Opinion) -> bool:
    """Two refusals agree whatever their reasons: the words are each verifier's own."""
    return one == other or not (one.accepts or other.accepts)


def test_they_agree_on_the_corpus_but_for_the_vectors_that_the_page_explains() -> None:
    found = {
        name: (one.verdict, other.verdict)
        for name, (one, other) in on_the_corpus().items()
        if not agree(one, other)
    }
    assert found == {name: (one, other) for name, one, other, _ in rows("Public vectors")}


def test_both_accept_many_of_the_corpus_and_say_the_same_of_them() -> None:
    accepted = [one for one, other in on_the_corpus().values() if one == other and one.accepts]
    assert len(accepted) > len(on_the_corpus()) / 4


def test_they_agree_on_the_labs_vectors_but_for_the_families_that_the_page_counts() -> None:
    families = rows("The lab's vectors")
    found: Counter[str] = Counter()
    for case in all_cases():
        one, other = opinions(case.evidence, policy=False)
        if not agree(one, other):
            found[family(case, one, other, families)] += 1
    assert found == {name: int(re.match(r"\d+", count)[0]) for name, count, _, _ in families}


def family(
    case: Case, one: Opinion, other: Opinion, families: list[tuple[str, str, str, str]]
) -> str:
    """The row that explains the disagreement, or what to write where none does."""
    if case.latitude is not None:
        return LATITUDE
    refused_by = "dcap-qvl" if one.accepts else "SealServe"
    for pattern, count, _, _ in families:
        if fnmatch(case.id, pattern) and count.endswith(f" refused by {refused_by}"):
            return pattern
    return f"{case.id}: {one.verdict}, {other.verdict}"


@pytest.mark.parametrize("title", ["Public vectors", "The lab's vectors"])
def test_every_disagreement_has_its_reason(title: str) -> None:
    assert rows(title)
    assert all(len(reason.split()) > 3 for *_, reason in rows(title))


def test_the_page_names_the_version_that_was_asked() -> None:
    assert f"dcap-qvl {dcap_qvl().__version__}" in PAGE
