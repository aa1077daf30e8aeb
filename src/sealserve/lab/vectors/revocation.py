"""Cases of revocation: every CRL, its issuer and its form, and every serial number it may name."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from cryptography import x509

from sealserve.endorsements.chain import Role
from sealserve.lab import pki
from sealserve.lab.vectors.case import CRL_CHAIN_UNREAD, PROFILE, Case, Evidence
from sealserve.lab.vectors.original import EVALUATION_TIME, Original, flipped
from sealserve.lab.vectors.reissuing import Difference, issue_crl, key_usage, reissue
from sealserve.verifier import Code

_GROUP = "revocation"
_START = EVALUATION_TIME - timedelta(days=1)
_END = EVALUATION_TIME + timedelta(days=29)
_SIGNATURE_END = -40  # in a CRL's DER, in the midst of its signature


def cases(original: Original) -> Iterator[Case]:
    """Of one form of quote."""
    yield from _serials(original)
    yield from _missing(original)
    yield from _other_cas(original)
    yield from _forms(original)
    yield from _signatures(original)
    yield from _chains(original)


def _root_ca_crl(original: Original, *serials: int) -> Evidence:
    crl = issue_crl(original.authorities.root_ca, _START, _END, serials=serials)
    return original.evidence.with_collateral(root_ca_crl=crl)


def _pck_crl(original: Original, *serials: int) -> Evidence:
    crl = issue_crl(original.authorities.platform_ca, _START, _END, serials=serials)
    return original.evidence.with_collateral(pck_crl=crl)


def _serials(original: Original) -> Iterator[Case]:
    ours = original.authorities
    pck, pck_ca, signer = (
        holder.certificate.serial_number for holder in (ours.pck, ours.platform_ca, ours.tcb_signer)
    )
    for name, change, evidence in (
        ("pck", "The PCK CRL names the PCK certificate.", _pck_crl(original, pck)),
        (
            "pck-among-others",
            "The PCK CRL names the PCK certificate as the last of three.",
            _pck_crl(original, 1, pck - 1, pck),
        ),
        ("pck-ca", "The root CA's CRL names the PCK's CA.", _root_ca_crl(original, pck_ca)),
        ("tcb-signer", "The root CA's CRL names the TCB signer.", _root_ca_crl(original, signer)),
        (
            "pck-ca-of-quote",
            "The CA in the quote has a serial number of its own, which the root CA's CRL names.",
            _own_ca(original),
        ),
        *((f"signer-of-{part}", change, made) for part, change, made in _own_signers(original)),
    ):
        yield original.reject(_GROUP, f"revoked-{name}", change, Code.REVOKED, evidence)
    for name, change, evidence in (
        (
            "neighbours",
            "The PCK CRL names the serial numbers beside the PCK's.",
            _pck_crl(original, pck - 1, pck + 1),
        ),
        (
            "ca-in-pck-crl",
            "The PCK CRL names the serial number of the PCK's CA.",
            _pck_crl(original, pck_ca),
        ),
        (
            "pck-in-root-crl",
            "The root CA's CRL names the serial number of the PCK.",
            _root_ca_crl(original, pck),
        ),
    ):
        yield original.accept(_GROUP, f"not-revoked-{name}", change, evidence)


def _own_ca(original: Original) -> Evidence:
    ours = original.authorities
    serial = ours.platform_ca.certificate.serial_number + 1
    crl = issue_crl(ours.root_ca, _START, _END, serials=[serial])
    return original.with_pck_ca(Difference(serial_number=serial)).with_collateral(root_ca_crl=crl)


def _own_signers(original: Original) -> Iterator[tuple[str, str, Evidence]]:
    """One statement's signer has a certificate of its own, which is revoked."""
    ours = original.authorities
    serial = ours.tcb_signer.certificate.serial_number + 1
    signer = reissue(ours.tcb_signer, ours.root_ca, Difference(serial_number=serial))
    chain = signer.certificate_pem + ours.root_ca.certificate_pem
    for part, words in (("tcb_info", "TCB info"), ("qe_identity", "the QE identity")):
        made = _root_ca_crl(original, serial).with_collateral(**{f"{part}_issuer_chain": chain})
        change = f"The root CA's CRL names the certificate that signed {words} alone."
        yield part.replace("_", "-"), change, made


def _missing(original: Original) -> Iterator[Case]:
    """An empty part stands for one that is not there."""
    collateral = original.collateral
    for name, change, parts in (
        ("root-ca-crl", "The root CA's CRL is missing.", {"root_ca_crl": b""}),
        ("pck-crl", "The PCK CRL is missing.", {"pck_crl": b""}),
        (
            "pck-crl-twice",
            "The PCK CRL stands in the place of the root CA's, too.",
            {"root_ca_crl": collateral.pck_crl},
        ),
        (
            "root-ca-crl-twice",
            "The root CA's CRL stands in the place of the PCK CRL, too.",
            {"pck_crl": collateral.root_ca_crl},
        ),
    ):
        evidence = original.evidence.with_collateral(**parts)
        yield original.reject(_GROUP, f"missing-{name}", change, Code.CRL_MISSING, evidence)


def _other_cas(original: Original) -> Iterator[Case]:
    """The CRL of another CA under the same root says nothing about this platform."""
    ours = original.authorities
    processor_ca = pki.issue(pki.PROCESSOR_CA, EVALUATION_TIME, issuer=ours.root_ca)
    namesake = pki.issue(pki.PLATFORM_CA, EVALUATION_TIME, issuer=ours.root_ca)
    renamed = reissue(ours.platform_ca, ours.root_ca, Difference(common_name=Role.PROCESSOR_CA))
    for name, change, pck_ca in (
        (
            "processor-ca",
            "The PCK CRL is the Processor CA's; the PCK is of the Platform CA.",
            processor_ca,
        ),
        ("same-name", "The PCK CRL is of a CA of the same name and another key.", namesake),
        ("same-key", "The PCK CRL is of a CA of the same key and another name.", renamed),
    ):
        evidence = original.evidence.with_collateral(
            pck_crl_issuer_chain=pck_ca.certificate_pem + ours.root_ca.certificate_pem,
            pck_crl=issue_crl(pck_ca, _START, _END),
        )
        yield original.reject(_GROUP, f"crl-of-{name}", change, Code.CRL_MISSING, evidence)


def _forms(original: Original) -> Iterator[Case]:
    for part, holder, words in _crls(original):
        found = getattr(original.collateral, part)
        delta = ((x509.DeltaCRLIndicator(1), True),)
        for name, change, crl in (
            ("no-crl", "is no CRL", b"no CRL"),
            ("truncated", "lacks its last byte", found[:-1]),
            ("followed", "has a byte behind it", found + b"\0"),
            (
                "delta",
                "is a delta CRL, which tells of changes alone",
                issue_crl(holder, _START, _END, and_also=delta),
            ),
            (
                "without-number",
                "has no number",
                issue_crl(holder, _START, _END, without=x509.CRLNumber),
            ),
            (
                "without-authority",
                "has no authority key identifier",
                issue_crl(holder, _START, _END, without=x509.AuthorityKeyIdentifier),
            ),
        ):
            latitude = PROFILE if name.startswith("without") else None
            yield original.reject(
                _GROUP,
                f"{part.replace('_', '-')}-{name}",
                f"{words} {change}.",
                Code.CRL_FORMAT,
                original.evidence.with_collateral(**{part: crl}),
                latitude,
            )


def _signatures(original: Original) -> Iterator[Case]:
    ours, theirs = original.authorities, original.stranger.authorities
    strangers = {"root_ca_crl": theirs.root_ca, "pck_crl": theirs.platform_ca}
    others = {"root_ca_crl": ours.platform_ca, "pck_crl": ours.root_ca}
    for part, holder, words in _crls(original):
        found = getattr(original.collateral, part)
        for name, change, crl in (
            ("signature", "has one bit of its signature flipped", flipped(found, _SIGNATURE_END)),
            (
                "by-stranger",
                "is signed by its issuer's namesake in another world",
                issue_crl(holder, _START, _END, key=strangers[part].key),
            ),
            (
                "by-other-ca",
                "is signed by the other CA, in its issuer's name",
                issue_crl(holder, _START, _END, key=others[part].key),
            ),
        ):
            yield original.reject(
                _GROUP,
                f"{part.replace('_', '-')}-{name}",
                f"{words} {change}.",
                Code.CRL_SIGNATURE,
                original.evidence.with_collateral(**{part: crl}),
            )


def _chains(original: Original) -> Iterator[Case]:
    """The chain of the PCK CRL's issuer, which is collateral like the CRL itself."""
    ours, theirs = original.authorities, original.stranger.authorities
    no_crls = {x509.KeyUsage: key_usage("key_cert_sign")}
    mute = reissue(ours.platform_ca, ours.root_ca, Difference(extensions=no_crls))
    strange = reissue(ours.platform_ca, theirs.root_ca, Difference())
    root = ours.root_ca.certificate_pem
    for name, change, chain in (
        ("missing", "is missing", b""),
        ("no-pem", "is not PEM", b"chain"),
        ("root-alone", "is the root alone", root),
        ("of-tcb-signer", "is the TCB signer's", ours.tcb_chain),
        ("with-leaf", "begins with the PCK certificate", ours.pck_chain),
        ("strange", "is another world's", theirs.platform_chain),
        (
            "strange-ca",
            "holds a CA that another world's root issued",
            strange.certificate_pem + root,
        ),
        ("no-crl-signer", "holds a CA that may not sign CRLs", mute.certificate_pem + root),
    ):
        yield original.reject(
            _GROUP,
            f"crl-chain-{name}",
            f"The chain of the PCK CRL's issuer {change}.",
            Code.CRL_CHAIN,
            original.evidence.with_collateral(pck_crl_issuer_chain=chain),
            CRL_CHAIN_UNREAD,
        )


def _crls(original: Original) -> Iterator[tuple[str, pki.Holder, str]]:
    yield "root_ca_crl", original.authorities.root_ca, "The root CA's CRL"
    yield "pck_crl", original.authorities.platform_ca, "The PCK CRL"
