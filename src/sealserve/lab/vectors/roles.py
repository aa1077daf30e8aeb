"""Cases of certificates in their roles: what each is named, what it may do, with which key.

Intel's profile says all of it, and a verifier knows each certificate of a chain by it.
"""

from __future__ import annotations

from collections.abc import Iterator

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from sealserve.endorsements.chain import Role
from sealserve.lab.vectors.case import KEY_USE, PROFILE, Case
from sealserve.lab.vectors.original import Original
from sealserve.lab.vectors.reissuing import Difference, key_usage
from sealserve.verifier import Code

_GROUP = "certificates"


def cases(original: Original) -> Iterator[Case]:
    """Of one form of quote."""
    yield from _names(original)
    yield from _profiles(original)
    yield from _keys(original)


def _names(original: Original) -> Iterator[Case]:
    """A role is known by its name; the name of the issuer is signed with the certificate."""
    code = Code.PCK_CHAIN
    for name, role in (
        ("tcb-signing", Role.TCB_SIGNING),
        ("root", Role.ROOT_CA),
        ("unknown", "Intel SGX PCK Certificate 2"),
    ):
        evidence = original.with_pck(Difference(common_name=role))
        change = f"The PCK certificate has the name {str(role)!r}."
        yield original.reject(_GROUP, f"pck-named-{name}", change, code, evidence)
    for name, role in (("tcb-signing", Role.TCB_SIGNING), ("pck", Role.PCK)):
        evidence = original.with_pck_ca(Difference(common_name=role))
        change = f"The PCK's CA has the name {str(role)!r}."
        yield original.reject(_GROUP, f"pck-ca-named-{name}", change, code, evidence)
    root_name = original.authorities.root_ca.certificate.subject
    evidence = original.with_pck(Difference(issuer_name=root_name))
    change = "The PCK certificate names the root as its issuer, and its CA signed it."
    yield original.reject(_GROUP, "pck-issuer-name", change, code, evidence, KEY_USE)


def _profiles(original: Original) -> Iterator[Case]:
    """What each certificate of the chain may do."""
    for name, change, difference in _wrong_leaves():
        evidence = original.with_pck(difference)
        yield original.reject(
            _GROUP,
            f"pck-{name}",
            f"The PCK certificate {change}.",
            Code.PCK_CHAIN,
            evidence,
            PROFILE,
        )
    for name, change, difference in _wrong_cas():
        evidence = original.with_pck_ca(difference)
        latitude = None if name == "no-ca" else PROFILE
        yield original.reject(
            _GROUP, f"pck-ca-{name}", f"The PCK's CA {change}.", Code.PCK_CHAIN, evidence, latitude
        )


def _wrong_leaves() -> Iterator[tuple[str, str, Difference]]:
    signing = key_usage("digital_signature", "content_commitment", "key_cert_sign")
    for name, change, extensions in (
        ("that-is-ca", "is a CA", {x509.BasicConstraints: x509.BasicConstraints(True, 0)}),
        (
            "that-is-any-ca",
            "is a CA without limit to the path",
            {x509.BasicConstraints: x509.BasicConstraints(True, None)},
        ),
        ("signs-certificates", "may sign certificates", {x509.KeyUsage: signing}),
        ("signs-nothing", "may not sign", {x509.KeyUsage: key_usage("key_agreement")}),
        ("without-key-usage", "has no key usage", {x509.KeyUsage: None}),
        ("without-constraints", "has no basic constraints", {x509.BasicConstraints: None}),
        ("without-key-id", "has no subject key identifier", {x509.SubjectKeyIdentifier: None}),
    ):
        yield name, change, Difference(extensions=extensions)
    unknown = {x509.UnrecognizedExtension: True}
    yield "unknown-critical", "has a critical SGX extension", Difference(criticality=unknown)


def _wrong_cas() -> Iterator[tuple[str, str, Difference]]:
    crls_not = key_usage("key_cert_sign")
    for name, change, extensions in (
        ("no-ca", "is no CA", {x509.BasicConstraints: x509.BasicConstraints(False, None)}),
        (
            "path-length",
            "allows a longer path",
            {x509.BasicConstraints: x509.BasicConstraints(True, 1)},
        ),
        (
            "no-path-length",
            "allows any path",
            {x509.BasicConstraints: x509.BasicConstraints(True, None)},
        ),
        ("signs-no-crls", "may not sign CRLs", {x509.KeyUsage: crls_not}),
        (
            "signs-no-certificates",
            "may not sign certificates",
            {x509.KeyUsage: key_usage("crl_sign")},
        ),
        ("without-key-usage", "has no key usage", {x509.KeyUsage: None}),
        ("without-constraints", "has no basic constraints", {x509.BasicConstraints: None}),
        ("without-crl-point", "does not say where its CRL is", {x509.CRLDistributionPoints: None}),
        (
            "without-authority",
            "has no authority key identifier",
            {x509.AuthorityKeyIdentifier: None},
        ),
    ):
        yield name, change, Difference(extensions=extensions)
    lax = {x509.BasicConstraints: False}
    yield "lax-constraints", "has basic constraints not critical", Difference(criticality=lax)


def _keys(original: Original) -> Iterator[Case]:
    """Only P-256 and SHA-256 are DCAP's."""
    code = Code.PCK_CHAIN_FORMAT
    other_curve = ec.generate_private_key(ec.SECP384R1()).public_key()
    for name, change, difference in (
        ("p384", "has a key on P-384", Difference(public_key=other_curve)),
        ("sha384", "is signed over SHA-384", Difference(hash=hashes.SHA384())),
    ):
        evidence = original.with_pck(difference)
        sentence = f"The PCK certificate {change}."
        yield original.reject(_GROUP, f"pck-{name}", sentence, code, evidence)
