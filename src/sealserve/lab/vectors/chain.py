"""Cases of the PCK chain: the trust root, who stands in the chain, and who signed whom."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sealserve.lab import pki
from sealserve.lab.vectors.case import EXTRA_CERTIFICATE, PROFILE, ROOT_BY_NAME, Case
from sealserve.lab.vectors.original import EVALUATION_TIME, Original, flipped
from sealserve.lab.vectors.reissuing import Difference, reissue
from sealserve.verifier import INTEL_SGX_ROOT_CA, Code

_GROUP = "certificates"
_SIGNATURE_END = -40  # in a certificate's DER, in the midst of its signature


def cases(original: Original) -> Iterator[Case]:
    """Of one form of quote."""
    yield from _trust_root(original)
    yield from _chain_bytes(original)
    yield from _chain_members(original)
    yield from _signatures(original)


def _trust_root(original: Original) -> Iterator[Case]:
    now, authorities = EVALUATION_TIME, original.authorities
    root = authorities.root_ca
    long_path = pki.issue(replace(pki.ROOT_CA, path_length=2), now)
    for name, change, pem in (
        ("no-certificate", "The trust root is no certificate.", b"no certificate\n"),
        ("two", "The trust root stands in its file twice.", root.certificate_pem * 2),
        ("pck", "The trust root is the PCK certificate.", authorities.pck.certificate_pem),
        ("pck-ca", "The trust root is the PCK's CA.", authorities.platform_ca.certificate_pem),
        (
            "not-self-signed",
            "The trust root is issued by another root.",
            pki.issue(
                pki.ROOT_CA, now, issuer=original.stranger.authorities.root_ca
            ).certificate_pem,
        ),
        (
            "other-role",
            "The trust root is a self-signed certificate with the name of a PCK CA.",
            pki.issue(pki.PLATFORM_CA, now).certificate_pem,
        ),
        ("path-length", "The trust root allows a longer path.", long_path.certificate_pem),
    ):
        evidence = replace(original.evidence, trust_root=pem)
        latitude = {"path-length": PROFILE, "two": EXTRA_CERTIFICATE}.get(name)
        yield original.reject(
            _GROUP, f"trust-root-{name}", change, Code.TRUST_ROOT, evidence, latitude
        )
    for name, change, pem in (
        ("intel", "The trust root is Intel's, and the evidence is the lab's.", INTEL_SGX_ROOT_CA),
        (
            "stranger",
            "The trust root has the same name as the evidence's, and another key.",
            original.stranger.root_ca_pem,
        ),
    ):
        evidence = replace(original.evidence, trust_root=pem)
        yield original.reject(_GROUP, f"trust-root-{name}", change, Code.PCK_CHAIN, evidence)


def _chain_bytes(original: Original) -> Iterator[Case]:
    pem = original.quote.certification_data
    begin, end = b"-----BEGIN CERTIFICATE-----\n", b"-----END CERTIFICATE-----\n"
    for name, change, chain in (
        ("empty", "The PCK chain is empty.", b""),
        ("no-pem", "The PCK chain is not PEM.", b"chain"),
        ("no-base64", "A certificate of the PCK chain is not base64.", begin + b"A\n" + end),
        ("no-certificate", "The PEM holds no certificate.", begin + b"MAA=\n" + end),
        ("text-before", "There is text before the PCK chain.", b"chain:\n" + pem),
        ("text-after", "There is text after the PCK chain.", pem + b"\nchain"),
        ("nul-before", "There is a NUL before the PCK chain.", b"\0" + pem),
    ):
        latitude = PROFILE if name.startswith(("text", "nul")) else None
        evidence = original.with_chain(chain)
        yield original.reject(
            _GROUP, f"pck-chain-{name}", change, Code.PCK_CHAIN_FORMAT, evidence, latitude
        )


def _chain_members(original: Original) -> Iterator[Case]:
    ours, theirs = original.authorities, original.stranger.authorities
    pck, pck_ca, root = (
        holder.certificate_pem for holder in (ours.pck, ours.platform_ca, ours.root_ca)
    )
    signer = ours.tcb_signer.certificate_pem
    for name, change, chain in (
        ("without-leaf", "The PCK certificate is missing.", (pck_ca, root)),
        ("without-ca", "The PCK's CA is missing from the chain.", (pck, root)),
        ("without-root", "The root CA is missing from the chain.", (pck, pck_ca)),
        (
            "with-fourth",
            "The chain has a TCB signing certificate too.",
            (pck, pck_ca, root, signer),
        ),
        ("two-leaves", "The PCK certificate stands in its CA's place too.", (pck, pck, root)),
        ("two-roots", "The root CA stands twice in the chain.", (pck, root, root)),
        ("tcb-signer-as-leaf", "The TCB signer stands in the PCK's place.", (signer, pck_ca, root)),
        (
            "strange-leaf",
            "The PCK certificate is of another world.",
            (theirs.pck.certificate_pem, pck_ca, root),
        ),
        (
            "strange-ca",
            "The PCK's CA is of another world.",
            (pck, theirs.platform_ca.certificate_pem, root),
        ),
        (
            "strange-root",
            "The root CA in the chain is of another world, and not the trust root.",
            (pck, pck_ca, theirs.root_ca.certificate_pem),
        ),
    ):
        evidence = original.with_chain(*chain)
        latitude = {
            "without-root": ROOT_BY_NAME,
            "strange-root": ROOT_BY_NAME,
            "with-fourth": EXTRA_CERTIFICATE,
        }.get(name)
        yield original.reject(
            _GROUP, f"pck-chain-{name}", change, Code.PCK_CHAIN, evidence, latitude
        )


def _signatures(original: Original) -> Iterator[Case]:
    """Certificates that nobody signed, or somebody who may not."""
    ours, theirs = original.authorities, original.stranger.authorities
    pck, pck_ca = ours.pck, ours.platform_ca
    same = Difference(issuer_name=pck_ca.certificate.subject)
    for name, change, chain in (
        (
            "leaf-signature",
            "One bit of the PCK certificate's signature is flipped.",
            (_with_broken_signature(pck), ours.platform_chain),
        ),
        (
            "ca-signature",
            "One bit of the signature of the PCK's CA is flipped.",
            (pck.certificate_pem, _with_broken_signature(pck_ca), ours.root_ca.certificate_pem),
        ),
        (
            "leaf-by-root",
            "The root CA signed the PCK certificate in the name of its CA.",
            (reissue(pck, ours.root_ca, same).certificate_pem, ours.platform_chain),
        ),
        (
            "leaf-by-itself",
            "The PCK certificate is signed by its own key, in the name of its CA.",
            (reissue(pck, pck, same).certificate_pem, ours.platform_chain),
        ),
        (
            "leaf-by-stranger",
            "The PCK certificate is issued by a CA of the same name and another key.",
            (reissue(pck, theirs.platform_ca, Difference()).certificate_pem, ours.platform_chain),
        ),
        (
            "ca-by-itself",
            "The PCK's CA is signed by itself, in the root's name.",
            (
                pck.certificate_pem,
                reissue(
                    pck_ca, pck_ca, Difference(issuer_name=ours.root_ca.certificate.subject)
                ).certificate_pem,
                ours.root_ca.certificate_pem,
            ),
        ),
    ):
        evidence = original.with_chain(*chain)
        yield original.reject(_GROUP, f"pck-chain-{name}", change, Code.PCK_CHAIN, evidence)


def _with_broken_signature(holder: pki.Holder) -> bytes:
    der = holder.certificate.public_bytes(Encoding.DER)
    broken = x509.load_der_x509_certificate(flipped(der, _SIGNATURE_END))
    return broken.public_bytes(Encoding.PEM)
