"""Certificate paths and revocation, for the few paths that DCAP has.

    PCK Certificate <- PCK Platform CA or Processor CA <- Root CA    signs the QE's report
    PCK Platform CA or Processor CA <- Root CA                       signs the PCK CRL
    TCB Signing <- Root CA                                           signs TCB info, QE identity

A path is accepted when it has exactly these certificates, each with the extensions of its role,
each signed by the next, each valid now, and the last byte for byte the root that the caller named.
Source: Intel SGX PCK Certificate and Certificate Revocation List Profile Specification; RFC 5280.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import pairwise

from cryptography import x509

from sealserve.endorsements.chain import (
    ALTERED_KEY,
    PCK_CAS,
    Certificate,
    Role,
    parse_certificates,
    read_blocks,
    shown,
)
from sealserve.endorsements.crl import Crl, parse_crl
from sealserve.errors import FormatError
from sealserve.verifier import signatures
from sealserve.verifier.codes import Code, rejecting, rejection

PCK_PATH = ((Role.PCK,), PCK_CAS, (Role.ROOT_CA,))
PCK_CA_PATH = (PCK_CAS, (Role.ROOT_CA,))
TCB_SIGNING_PATH = ((Role.TCB_SIGNING,), (Role.ROOT_CA,))

CHAINS_REMEMBERED = 160
# Profile, sections 1.3 and 2.3: how many CAs may stand below; None is no CA.
_PATH_LENGTHS = {
    Role.ROOT_CA: 1,
    Role.PLATFORM_CA: 0,
    Role.PROCESSOR_CA: 0,
    Role.PCK: None,
    Role.TCB_SIGNING: None,
}
_REQUIRED_EXTENSIONS = (
    x509.AuthorityKeyIdentifier,
    x509.CRLDistributionPoints,
    x509.SubjectKeyIdentifier,
    x509.KeyUsage,
    x509.BasicConstraints,
)
_CRITICAL_EXTENSIONS = (x509.KeyUsage, x509.BasicConstraints)


@dataclass(frozen=True, slots=True, eq=False)
class PathCodes:
    """What a path is rejected with: bytes that are no chain, a wrong path, wrong dates."""

    format: Code
    path: Code
    validity: Code


def verify_path(
    pem: bytes,
    path: tuple[tuple[Role, ...], ...],
    root: Certificate,
    now: datetime,
    codes: PathCodes,
    known: tuple[Certificate, ...] = (),
) -> tuple[Certificate, ...]:
    """The certificates of `pem` in the order of `path`, which they were verified to be, valid now.

    The order in `pem` is free, since each role can stand in one place only. Certificates in `known`
    were verified under `root` before: of them only the dates are checked again.
    """
    with rejecting(codes.format):
        blocks = read_blocks(pem)
    ordered = _verify_signatures(blocks, path, root, codes, known)
    _check_dates(ordered, now, codes.validity)
    return ordered


@lru_cache(maxsize=CHAINS_REMEMBERED)
def _verify_signatures(
    blocks: tuple[bytes, ...],
    path: tuple[tuple[Role, ...], ...],
    root: Certificate,
    codes: PathCodes,
    known: tuple[Certificate, ...],
) -> tuple[Certificate, ...]:
    """All but the dates: what holds of a chain once holds of it at any time.

    So it is remembered: one platform's chain comes with each of its quotes, and all collateral has
    the same CAs and the same signer. It is remembered by its DER, since PEM can be spelt in many
    ways and a stranger may choose. Rejections are none of what `lru_cache` keeps, so that nothing
    is remembered but what verified under the root, and a stranger's certificates take no memory.
    """
    try:
        certificates = parse_certificates(blocks, known=(*known, root))
    except FormatError as error:
        code = codes.path if error.code == ALTERED_KEY else codes.format
        raise rejection(code, error.message, error.hint) from error
    ordered = _in_order(certificates, path, codes.path)
    if ordered[-1] is not root:
        raise rejection(
            codes.path,
            "the chain does not end in the trust root that was named",
            hint="a chain of the lab needs the lab's root named, and Intel's needs Intel's",
        )
    for certificate, issuer in pairwise(ordered):
        if not any(certificate is other for other in known):
            check_profile(certificate, codes.path)
            check_issued_by(certificate, issuer, codes.path)
    return ordered


def _check_dates(certificates: Iterable[Certificate], now: datetime, code: Code) -> None:
    """Reject certificates of which one is not valid now, at both ends."""
    for certificate in certificates:
        if not certificate.not_before <= now <= certificate.not_after:
            raise rejection(
                code,
                f"{_name(certificate)} is valid from {certificate.not_before} "
                f"to {certificate.not_after}, and it is {now}",
                hint="if these dates look right, look at this machine's clock",
            )


def verify_crl(
    data: bytes, issuer: Certificate, now: datetime, grace: timedelta = timedelta(0)
) -> Crl:
    """The CRL in `data`, which `issuer` was verified to have issued and which is valid now.

    `grace` is how long it is used past its next update.
    """
    if not data:
        raise rejection(Code.CRL_MISSING, f"there is no CRL of {_name(issuer)}")
    with rejecting(Code.CRL_FORMAT):
        crl = parse_crl(data)
    if crl.issuer != issuer.subject:
        raise rejection(
            Code.CRL_MISSING,
            f"there is no CRL of {_name(issuer)}, only one of {shown(crl.issuer)}",
        )
    if not signatures.is_der_valid(issuer.public_key, crl.parsed.signature, crl.signed):
        raise rejection(Code.CRL_SIGNATURE, f"the CRL of {_name(issuer)} is not signed by it")
    if not crl.this_update <= now <= crl.next_update + grace:
        raise rejection(
            Code.CRL_VALIDITY,
            f"the CRL of {_name(issuer)} is valid from {crl.this_update} to {crl.next_update}, "
            f"and it is {now}",
            hint="fetch fresh collateral; if it is fresh, look at this machine's clock",
        )
    return crl


def check_not_revoked(certificate: Certificate, crl: Crl) -> None:
    """Reject a certificate that the CRL of its issuer names."""
    with rejecting(Code.CRL_FORMAT):
        revoked = crl.names(certificate.serial_number)
    if revoked:
        raise rejection(
            Code.REVOKED,
            f"{_name(certificate)} with serial {certificate.serial_number:x} is revoked",
            hint="the platform or Intel's signer lost its standing: nothing here can restore it",
        )


def check_profile(certificate: Certificate, code: Code) -> None:
    """Reject a certificate that lacks what Intel's profile gives its role, or has more to say."""
    extensions = {type(extension.value): extension for extension in certificate.extensions}
    for kind in _REQUIRED_EXTENSIONS:
        if kind not in extensions:
            raise rejection(code, f"{_name(certificate)} has no {kind.__name__}")
    for extension in certificate.extensions:
        if extension.critical != isinstance(extension.value, _CRITICAL_EXTENSIONS):
            oid = extension.oid.dotted_string
            raise rejection(code, f"{_name(certificate)}: extension {oid} is wrongly critical")
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    path_length = _PATH_LENGTHS[certificate.role] if certificate.role else None
    is_ca = path_length is not None
    if constraints.ca != is_ca or constraints.path_length != path_length:
        raise rejection(code, f"{_name(certificate)} has wrong basic constraints")
    if (usage.key_cert_sign, usage.crl_sign, usage.digital_signature) != (is_ca, is_ca, not is_ca):
        raise rejection(code, f"{_name(certificate)} has the wrong key usage")


def check_issued_by(certificate: Certificate, issuer: Certificate, code: Code) -> None:
    """Reject a certificate that `issuer` did not sign, or that names another issuer."""
    if certificate.issuer != issuer.subject or not signatures.is_der_valid(
        issuer.public_key, certificate.signature, certificate.signed
    ):
        raise rejection(code, f"{_name(certificate)} is not issued by {_name(issuer)}")


def _in_order(
    certificates: Sequence[Certificate], path: Sequence[Collection[Role]], code: Code
) -> tuple[Certificate, ...]:
    found = [
        [certificate for certificate in certificates if certificate.role in roles] for roles in path
    ]
    if len(certificates) != len(path) or any(len(place) != 1 for place in found):
        names = ", ".join(_name(certificate) for certificate in certificates)
        expected = ", ".join(" or ".join(roles) for roles in path)
        raise rejection(code, f"the chain holds {names}; expected {expected}")
    return tuple(place[0] for place in found)


def _name(certificate: Certificate) -> str:
    return certificate.role or shown(certificate.subject)
