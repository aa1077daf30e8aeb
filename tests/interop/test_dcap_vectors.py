"""Public DCAP evidence and collateral: every vector comes out as its manifest says.

The vectors were collected from other projects (real quotes, mutations of them, Intel's own PKI
tests, and a synthetic PKI), each with the time at which it is judged. The verdict "accept" stands
for the default policy, which refuses debug targets and reports the TCB status. Vectors that have no
CRLs are judged without them, which the claims and the default policy say; so is one, and not
accepted, by who does not ask for that. How the manifests' reasons and Intel's statuses map onto our
codes is read from docs/verifier.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import pytest

from dcap_vectors import PROJECT, QUOTE_KINDS, Vector, parameters, vectors
from sealserve.appraisal import PolicyCode, appraise_by_default
from sealserve.endorsements.crl import to_der
from sealserve.errors import VerificationError
from sealserve.evidence.quote import parse_quote, serialize_quote
from sealserve.verifier import Claims, Code, load_trust_root, pki, verify
from sealserve.verifier.claims import DcapStanding
from sealserve.verifier.collateral import TCB_INFO
from sealserve.verifier.evidence import PCK_CODES, read_pck_extensions

PAGE = (PROJECT / "docs" / "verifier.md").read_text()
CELL = re.compile(r"`([^`]+)`")


def table(first_header: str) -> list[tuple[str, tuple[str, ...]]]:
    """The table of the page under this header: its first column, and the codes of its second."""
    lines = PAGE.split(f"| {first_header} |")[1].split("\n\n")[0].splitlines()[2:]
    cells = [[CELL.findall(cell) for cell in line.split("|")[1:3]] for line in lines]
    return [(name, tuple(codes)) for (name,), codes in cells]


REASONS = {reason: code for reason, (code,) in table("manifest's reason")}
INTEL_STATUSES = dict(table("Intel's status"))


def of_kinds(*kinds: str, **manifest: object) -> Iterable[Vector]:
    """Vectors of these kinds whose manifests say this."""
    return (
        vector
        for vector in vectors()
        if vector.kind in kinds
        and all(vector.manifest.get(name) == value for name, value in manifest.items())
    )


def with_verdicts(*verdicts: str) -> list[Any]:
    """The vectors with a quote that have one of these verdicts."""
    return parameters(
        vector for vector in of_kinds(*QUOTE_KINDS) if vector.expected["verdict"] in verdicts
    )


def judge(vector: Vector) -> Claims:
    """The claims of a vector, without CRLs where it has none; raises VerificationError."""
    return verify(
        vector.quote,
        vector.collateral,
        trust_root=vector.trust_root,
        now=vector.now,
        dangerously_skip_revocation=not vector.manifest["crl_check"],
    )


def dcap(claims: Claims) -> DcapStanding:
    assert isinstance(claims.standing, DcapStanding)
    return claims.standing


def test_the_table_maps_reasons_and_codes_one_to_one() -> None:
    known = {*Code, *PolicyCode}
    assert len(set(REASONS.values())) == len(REASONS)
    assert set(REASONS.values()) <= known
    assert {code for codes in INTEL_STATUSES.values() for code in codes} <= known
    if vectors():
        expected = {vector.expected.get("reason") for vector in of_kinds(*QUOTE_KINDS)}
        assert set(REASONS) == expected - {None}


@pytest.mark.parametrize("vector", with_verdicts("accept"))
def test_a_good_quote_has_its_manifests_status_and_advisories(vector: Vector) -> None:
    claims = judge(vector)
    standing, expected = dcap(claims), vector.expected
    assert standing.tcb_status == expected["tcb_status"]
    assert list(standing.advisory_ids) == sorted(expected["advisory_ids"])
    quote = vector.manifest["quote"]
    assert (claims.target.tee, standing.quote_version) == (quote["tee"], quote["version"])
    assert standing.fmspc.hex().upper() == quote["fmspc"]
    assert standing.revocation_checked == vector.manifest["crl_check"]
    assert appraise_by_default(claims).allowed


@pytest.mark.parametrize("vector", with_verdicts("reject"))
def test_a_bad_quote_is_refused_with_its_manifests_reason(vector: Vector) -> None:
    try:
        code = appraise_by_default(judge(vector)).code
    except VerificationError as error:
        code = error.code
    assert code == REASONS[vector.expected["reason"]]


@pytest.mark.parametrize("vector", with_verdicts("parse-only"))
def test_a_quote_without_collateral_is_read_to_its_last_byte(vector: Vector) -> None:
    quote = parse_quote(vector.quote)
    assert serialize_quote(quote) == vector.quote
    assert len(quote.trailing) == vector.manifest["quote"]["trailing_bytes"]


@pytest.mark.parametrize("vector", parameters(of_kinds(*QUOTE_KINDS, crl_check=False)))
def test_without_crls_nothing_is_accepted_unless_asked_by_its_unsafe_name(vector: Vector) -> None:
    with pytest.raises(VerificationError) as caught:
        verify(vector.quote, vector.collateral, trust_root=vector.trust_root, now=vector.now)
    reason = REASONS.get(vector.expected.get("reason", ""))
    assert caught.value.code in {Code.CRL_MISSING, reason}


@pytest.mark.parametrize(
    "vector", parameters(of_kinds("pck-chain", "pck-crl", "tcb-signing-chain"))
)
def test_certificates_and_crls_have_intels_own_verdict(vector: Vector) -> None:
    check = {
        "pck-chain": check_pck_chain,
        "pck-crl": check_crl,
        "tcb-signing-chain": check_tcb_signing_chain,
    }[vector.kind]
    if vector.expected["verdict"] == "accept":
        check(vector)
        return
    with pytest.raises(VerificationError) as caught:
        check(vector)
    assert caught.value.code in INTEL_STATUSES[vector.expected["intel_status"]]


def check_pck_chain(vector: Vector) -> None:
    root, now = load_trust_root(vector.trust_root), vector.now
    pck, pck_ca, _ = pki.verify_path(
        vector.file("pck_chain.pem"), pki.PCK_PATH, root.certificate, now, PCK_CODES
    )
    read_pck_extensions(pck)
    root_ca_crl = pki.verify_crl(to_der(vector.file("root_ca_crl.pem")), root.certificate, now)
    pki.check_not_revoked(pck_ca, root_ca_crl)
    pck_crl = pki.verify_crl(to_der(vector.file("pck_crl.pem")), pck_ca, now)
    pki.check_not_revoked(pck, pck_crl)


def check_crl(vector: Vector) -> None:
    root, now = load_trust_root(vector.trust_root), vector.now
    codes = pki.PathCodes(Code.CRL_CHAIN, Code.CRL_CHAIN, Code.CRL_CHAIN_VALIDITY)
    chain = vector.file("cert_chain.pem")
    of_the_root = chain.count(b"BEGIN CERTIFICATE") == 1
    path = pki.PCK_CA_PATH[1:] if of_the_root else pki.PCK_CA_PATH
    issuer = pki.verify_path(chain, path, root.certificate, now, codes)[0]
    pki.verify_crl(to_der(vector.file("crl.pem")), issuer, now)


def check_tcb_signing_chain(vector: Vector) -> None:
    root, now = load_trust_root(vector.trust_root), vector.now
    path = pki.verify_path(
        vector.file("tcb_issuer_chain.pem"),
        pki.TCB_SIGNING_PATH,
        root.certificate,
        now,
        TCB_INFO.path,
    )
    root_ca_crl = pki.verify_crl(to_der(vector.file("root_ca_crl.pem")), root.certificate, now)
    pki.check_not_revoked(path[0], root_ca_crl)
