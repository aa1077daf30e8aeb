"""Public DCAP evidence and collateral: every SGX v3 vector comes out as its manifest says.

The vectors were collected from other projects (real quotes, mutations of them, Intel's own PKI
tests, and a synthetic PKI), each with the time at which it is judged. The verdict "accept" stands
for the default policy, which refuses debug enclaves and reports the TCB status. What this verifier
does not read yet (TDX, quote versions 4 and 5) is rejected as QUOTE_FORMAT, never accepted.
"""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import Any

import pytest

from dcap_vectors import QUOTE_KINDS, Vector, parameters, vectors
from sealserve.appraisal import PolicyCode, appraise_by_default
from sealserve.endorsements.crl import Crl, parse_crl, to_der
from sealserve.errors import VerificationError
from sealserve.evidence.quote import parse_quote
from sealserve.lab import pki as lab_pki
from sealserve.verifier import (
    Claims,
    Code,
    VerifiedCollateral,
    load_trust_root,
    pki,
    verify,
    verify_quote,
)
from sealserve.verifier.collateral import QE_IDENTITY, TCB_INFO, verify_statement
from sealserve.verifier.dcap import pck_extensions

# The manifests' reasons onto our codes, one to one.
CODES: dict[str, str] = {
    "DEBUG_ENCLAVE": PolicyCode.DEBUG,
    "PARSE": Code.PCK_CHAIN_FORMAT,
    **{
        code: code
        for code in (
            Code.QUOTE_FORMAT,
            Code.PCK_CHAIN_MISSING,
            Code.PCK_CHAIN,
            Code.PCK_CHAIN_VALIDITY,
            Code.CRL_MISSING,
            Code.CRL_VALIDITY,
            Code.REVOKED,
            Code.TCB_CHAIN,
            Code.TCB_INFO_SIGNATURE,
            Code.TCB_INFO_NOT_YET_VALID,
            Code.TCB_INFO_MISMATCH,
            Code.QE_IDENTITY_SIGNATURE,
            Code.QE_IDENTITY_EXPIRED,
            Code.QE_REPORT_SIGNATURE,
            Code.QE_REPORT_DATA,
            Code.QUOTE_SIGNATURE,
            Code.TCB_NOT_SUPPORTED,
            Code.TCB_REVOKED,
        )
    },
}


def those(
    *, kind: tuple[str, ...], read_here: bool = True, crl_check: bool | None = None
) -> list[Any]:
    """Parameters: the vectors of these kinds, by whether this verifier reads their quotes."""
    return parameters(
        vector
        for vector in vectors()
        if vector.kind in kind
        and is_read_here(vector) == read_here
        and crl_check in (None, vector.manifest.get("crl_check"))
    )


def is_read_here(vector: Vector) -> bool:
    quote = vector.manifest["quote"]
    return quote is None or (quote.get("tee"), quote.get("version")) in {("SGX", 3), (None, None)}


def judge(vector: Vector, claims: Claims) -> None:
    """The claims are those of the manifest under the default policy."""
    result = appraise_by_default(claims)
    expected = vector.expected
    if expected["verdict"] == "reject":
        assert (result.allowed, result.code) == (False, CODES[expected["reason"]])
        return
    assert result.allowed
    assert claims.standing.tcb_status == expected["tcb_status"]
    assert list(claims.standing.advisory_ids) == sorted(expected["advisory_ids"])
    assert claims.standing.fmspc.hex().upper() == vector.manifest["quote"]["fmspc"]


@pytest.mark.parametrize("vector", those(kind=QUOTE_KINDS, crl_check=True))
def test_a_quote_has_its_manifests_verdict_status_advisories_and_reason(vector: Vector) -> None:
    try:
        claims = verify(
            vector.quote, vector.collateral, trust_root=vector.trust_root, now=vector.now
        )
    except VerificationError as error:
        assert vector.expected["verdict"] == "reject"
        assert error.code == CODES[vector.expected["reason"]]
    else:
        judge(vector, claims)


@pytest.mark.parametrize("vector", those(kind=QUOTE_KINDS, crl_check=False))
def test_without_crls_nothing_is_accepted_and_all_else_is_as_the_manifest_says(
    vector: Vector,
) -> None:
    """These vectors come without CRLs. The verifier refuses them; its other steps must agree."""
    with pytest.raises(VerificationError) as caught:
        verify(vector.quote, vector.collateral, trust_root=vector.trust_root, now=vector.now)
    assert caught.value.code in {Code.CRL_MISSING, CODES.get(vector.expected.get("reason", ""))}
    try:
        claims = verify_quote(vector.quote, without_revocation(vector), vector.now)
    except VerificationError as error:
        assert error.code == CODES[vector.expected["reason"]]
    else:
        judge(vector, claims)


def without_revocation(vector: Vector) -> VerifiedCollateral:
    """Collateral with CRLs that name nobody, where the vector has none; all else is verified."""
    root, now, collateral = load_trust_root(vector.trust_root), vector.now, vector.collateral
    chain = parse_quote(vector.quote).certification_data
    path = pki.verify_path(
        chain,
        pki.PCK_PATH,
        root.certificate,
        now,
        pki.PathCodes(Code.PCK_CHAIN_FORMAT, Code.PCK_CHAIN, Code.PCK_CHAIN_VALIDITY),
    )
    empty = nobody_revoked(now)
    _, tcb_info = verify_statement(
        TCB_INFO, collateral.tcb_info, collateral.tcb_info_issuer_chain, root, empty, now
    )
    _, qe_identity = verify_statement(
        QE_IDENTITY, collateral.qe_identity, collateral.qe_identity_issuer_chain, root, empty, now
    )
    return VerifiedCollateral(root, path[1], empty, empty, tcb_info, qe_identity, now, now)


@cache
def nobody_revoked(now: datetime) -> Crl:
    issuer = lab_pki.issue(lab_pki.ROOT_CA, now)
    return parse_crl(lab_pki.issue_crl(issuer, now))


@pytest.mark.parametrize("vector", those(kind=QUOTE_KINDS, read_here=False))
def test_what_is_not_read_yet_is_rejected_by_its_format(vector: Vector) -> None:
    with pytest.raises(VerificationError) as caught:
        verify(vector.quote, vector.collateral, trust_root=vector.trust_root, now=vector.now)
    assert caught.value.code == Code.QUOTE_FORMAT


# What each of Intel's own tests is rejected with here; those that are not named are accepted. Intel
# tells apart what is wrong with which certificate of a chain; here the message does.
INTEL_PKI_TESTS: dict[str, Code] = {
    "pck-chain-InChainRoot_InvalidIssuer": Code.TRUST_ROOT,
    "pck-chain-InChainRoot_InvalidSubject": Code.TRUST_ROOT,
    "pck-chain-InChainRoot_InvalidValidityPeriod": Code.PCK_CHAIN_VALIDITY,
    "pck-chain-Intermediate_InvalidExtensions": Code.PCK_CHAIN,
    "pck-chain-Intermediate_InvalidIssuerCantVerifySignature": Code.PCK_CHAIN,
    "pck-chain-Pck_InvalidIssuerCantVerifySignature": Code.PCK_CHAIN,
    "pck-chain-Pck_InvalidSGXExtensions": Code.PCK_EXTENSIONS,
    "pck-chain-Pck_InvalidValidityPeriod": Code.PCK_CHAIN_VALIDITY,
    "pck-chain-Revoked_Intermediate": Code.REVOKED,
    "pck-chain-Revoked_PCK": Code.REVOKED,
    "pck-chain-Revoked_RootCaUnknownIssuer": Code.CRL_MISSING,
    "pck-crl-PlatformCACRL_IncorrectIssuer": Code.CRL_MISSING,
    "pck-crl-PlatformCACRL_SigningCertInvalidSubject": Code.CRL_CHAIN,
    "pck-crl-PlatformCACRL_SigningCertWrongIssuer": Code.CRL_CHAIN,
    "pck-crl-ProcessorCACRL_CertChainInvalid": Code.CRL_CHAIN,
    "pck-crl-ProcessorCACRL_InvalidSignature": Code.CRL_SIGNATURE,
    "pck-crl-ProcessorCACRL_SigningCertMissingExtensions": Code.CRL_CHAIN,
    "pck-crl-RootCACRL_ChainRootCertExpired": Code.CRL_CHAIN,
    "pck-crl-RootCACRL_ChainRootCertWrongSignature": Code.TRUST_ROOT,
    "pck-crl-RootCACRL_InvalidFormat": Code.CRL_FORMAT,
    "pck-crl-RootCACRL_MissingExtensions": Code.CRL_FORMAT,
    "pck-crl-RootCACRL_RootCertInChainNotATrustedRoot": Code.CRL_CHAIN,
    "pck-crl-RootCACRL_WrongChainLength": Code.CRL_CHAIN,
    "pck-crl-TrustedRootCAMissingExtensions": Code.TRUST_ROOT,
    "pck-crl-TrustedRootCAWrongFormat": Code.TRUST_ROOT,
    "pck-crl-TrustedRootCAWrongSignature": Code.TRUST_ROOT,
    "tcb-signing-chain-TCBSigningCertChainUntrusted": Code.TCB_CHAIN,
    "tcb-signing-chain-TCBSigningCertCorrupted": Code.TCB_CHAIN,
    "tcb-signing-chain-TCBSigningCertIncorrectSignature": Code.TCB_CHAIN,
    "tcb-signing-chain-TCBSigningCertWithoutRequiredExtensions": Code.TCB_CHAIN,
    "tcb-signing-chain-TrustedRootCrlCorrupted": Code.CRL_FORMAT,
    "tcb-signing-chain-TrustedRootCrlExpired": Code.CRL_VALIDITY,
    "tcb-signing-chain-TrustedRootCrlIncorrectSignature": Code.CRL_SIGNATURE,
    "tcb-signing-chain-TrustedRootCrlRevokedTCBSigningCert": Code.REVOKED,
}


@pytest.mark.parametrize("vector", those(kind=("pck-chain", "pck-crl", "tcb-signing-chain")))
def test_certificates_and_crls_have_intels_own_verdict(vector: Vector) -> None:
    check = {
        "pck-chain": check_pck_chain,
        "pck-crl": check_crl,
        "tcb-signing-chain": check_tcb_signing_chain,
    }[vector.kind]
    expected = INTEL_PKI_TESTS.get(vector.folder.name)
    assert (expected is None) == (vector.expected["verdict"] == "accept")
    if expected is None:
        check(vector)
        return
    with pytest.raises(VerificationError) as caught:
        check(vector)
    assert caught.value.code == expected


def check_pck_chain(vector: Vector) -> None:
    root, now = load_trust_root(vector.trust_root), vector.now
    codes = pki.PathCodes(Code.PCK_CHAIN_FORMAT, Code.PCK_CHAIN, Code.PCK_CHAIN_VALIDITY)
    pck, pck_ca, _ = pki.verify_path(
        vector.file("pck_chain.pem"), pki.PCK_PATH, root.certificate, now, codes
    )
    pck_extensions(pck)
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
