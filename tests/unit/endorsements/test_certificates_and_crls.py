"""Chains, certificates and CRLs, read from the forms in which they come."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealserve.endorsements.chain import (
    ALTERED_KEY,
    CHAIN_LIMIT,
    MAX_CERTIFICATES,
    Role,
    parse_certificate,
    parse_chain,
)
from sealserve.endorsements.crl import CRL_LIMIT, parse_crl, to_der
from sealserve.errors import FormatError
from sealserve.lab import pki

NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def root() -> pki.Holder:
    return pki.issue(pki.ROOT_CA, NOW)


def test_certificates_keep_their_order_and_have_the_role_of_their_name(root: pki.Holder) -> None:
    signer = pki.issue(pki.TCB_SIGNING, NOW, issuer=root)
    chain = parse_chain(signer.certificate_pem + root.certificate_pem)
    assert [certificate.role for certificate in chain] == [Role.TCB_SIGNING, Role.ROOT_CA]


@pytest.mark.parametrize(
    "name", ["Intel SGX Root CA ", "intel sgx root ca", "Intel SGX Root CA 2", "x"]
)
def test_a_name_that_is_almost_intels_gives_no_role(name: str) -> None:
    role = pki.Role(name, pki.ROOT_CA.lifetime, "/", 1)
    (certificate,) = parse_chain(pki.issue(role, NOW).certificate_pem)
    assert certificate.role is None


def test_a_name_of_more_bytes_than_are_read_is_refused() -> None:
    name = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "a" * 64)] * 16)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, NOW, NOW)
        .add_extension(x509.BasicConstraints(True, 1), critical=True)
        .sign(key, hashes.SHA256())
    )
    with pytest.raises(FormatError, match="a name has"):
        parse_certificate(certificate.public_bytes(Encoding.DER))


def test_a_tls_feature_that_nobody_knows_is_a_format_error() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    feature = x509.UnrecognizedExtension(
        x509.ObjectIdentifier("1.3.6.1.5.5.7.1.24"), bytes.fromhex("3003020163")
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW)
        .add_extension(feature, critical=False)
        .sign(key, hashes.SHA256())
    )
    with pytest.raises(FormatError):
        parse_certificate(certificate.public_bytes(Encoding.DER))


def test_a_known_certificate_is_not_parsed_again(root: pki.Holder) -> None:
    (known,) = parse_chain(root.certificate_pem)
    (again,) = parse_chain(root.certificate_pem, known=[known])
    assert again is known


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda pem: b"", id="empty"),
        pytest.param(lambda pem: b"\0\0", id="only-nul"),
        pytest.param(lambda pem: b"x" + pem, id="text-before"),
        pytest.param(lambda pem: pem + b"x", id="text-after"),
        pytest.param(lambda pem: pem + b"# note\n" + pem, id="text-between"),
        pytest.param(lambda pem: pem.replace(b"END", b"FIN"), id="no-end"),
        pytest.param(lambda pem: pem.replace(b"\nMII", b"\nMI-"), id="no-base64"),
        pytest.param(lambda pem: pem.replace(b"CERTIFICATE", b"X509 CRL"), id="another-label"),
        pytest.param(lambda pem: pem * (MAX_CERTIFICATES + 1), id="too-many"),
        pytest.param(lambda pem: b" " * CHAIN_LIMIT + pem, id="too-long"),
    ],
)
def test_what_is_no_chain_is_refused(root: pki.Holder, spoil: object) -> None:
    with pytest.raises(FormatError):
        parse_chain(spoil(root.certificate_pem))


def signed_with(key: object, algorithm: hashes.HashAlgorithm) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, Role.ROOT_CA.value)])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW)
        .sign(key, algorithm)
        .public_bytes(Encoding.DER)
    )


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(
            lambda: signed_with(ec.generate_private_key(ec.SECP384R1()), hashes.SHA256()),
            id="p384",
        ),
        pytest.param(
            lambda: signed_with(ec.generate_private_key(ec.SECP256R1()), hashes.SHA384()),
            id="sha384",
        ),
        pytest.param(
            lambda: signed_with(rsa.generate_private_key(65537, 2048), hashes.SHA256()), id="rsa"
        ),
        pytest.param(
            lambda: signed_with(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).replace(
                bytes.fromhex("03420004"), bytes.fromhex("03420004ff")
            )[:-1],
            id="point-not-on-the-curve",
        ),
    ],
)
def test_only_p256_with_sha256_is_read(make: object) -> None:
    with pytest.raises(FormatError):
        parse_certificate(make())


def test_a_crl_says_whom_it_revokes_and_when_it_speaks(root: pki.Holder) -> None:
    signer = pki.issue(pki.TCB_SIGNING, NOW, issuer=root)
    crl = parse_crl(pki.issue_crl(root, NOW, revoked=[signer.certificate]))
    assert crl.issuer == parse_certificate(root.certificate.public_bytes(Encoding.DER)).subject
    assert crl.names(signer.certificate.serial_number)
    assert not crl.names(signer.certificate.serial_number + 1)
    assert crl.this_update < NOW < crl.next_update


def test_a_crl_may_come_as_der_pem_or_hex(root: pki.Holder) -> None:
    der = pki.issue_crl(root, NOW)
    text = base64.encodebytes(der)
    pem = b"-----BEGIN X509 CRL-----\n%s-----END X509 CRL-----\n" % text
    assert to_der(der) == to_der(pem) == to_der(der.hex().encode()) == der
    assert to_der(der.hex().upper().encode() + b"\n") == der


@pytest.mark.parametrize("data", [b"", b"crl", b"30820", b"-----BEGIN X509 CRL-----\n"])
def test_what_is_no_crl_in_any_form_is_left_for_the_verifier_to_refuse(data: bytes) -> None:
    assert to_der(data) == data
    with pytest.raises(FormatError):
        parse_crl(data)


def test_a_crl_of_more_bytes_than_are_read_is_refused(root: pki.Holder) -> None:
    with pytest.raises(FormatError, match="at most 262144 are read"):
        parse_crl(pki.issue_crl(root, NOW).ljust(CRL_LIMIT + 1, b"\0"))


def test_a_key_that_is_no_point_of_the_curve_is_told_from_bytes_that_are_no_certificate(
    root: pki.Holder,
) -> None:
    point = root.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    off_the_curve = point[:-1] + bytes([point[-1] ^ 1])
    with pytest.raises(FormatError) as caught:
        parse_certificate(root.certificate.public_bytes(Encoding.DER).replace(point, off_the_curve))
    assert caught.value.code == ALTERED_KEY


ECDSA_WITH_SHA256 = bytes.fromhex("06082a8648ce3d040302")
ECDSA_WITH_SHA384 = bytes.fromhex("06082a8648ce3d040303")


@pytest.mark.parametrize("kind", ["certificate", "crl"])
def test_an_algorithm_that_stands_in_one_of_its_two_places_only_is_refused(
    root: pki.Holder, kind: str
) -> None:
    signed = (
        root.certificate.public_bytes(Encoding.DER)
        if kind == "certificate"
        else pki.issue_crl(root, NOW)
    )
    parse = parse_certificate if kind == "certificate" else parse_crl
    inside = signed.replace(ECDSA_WITH_SHA256, ECDSA_WITH_SHA384, 1)
    beside = ECDSA_WITH_SHA384.join(signed.rsplit(ECDSA_WITH_SHA256, 1))
    for changed in (inside, beside):
        with pytest.raises(FormatError, match=r"algorithm|SHA-256"):
            parse(changed)


def test_a_crl_signed_in_another_way_is_refused(root: pki.Holder) -> None:
    builder = crl_builder(root).add_extension(x509.CRLNumber(1), critical=False)
    data = builder.sign(root.key, hashes.SHA384()).public_bytes(Encoding.DER)
    with pytest.raises(FormatError, match="not ECDSA with SHA-256"):
        parse_crl(data)


def crl_builder(root: pki.Holder) -> x509.CertificateRevocationListBuilder:
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(root.key.public_key())
    return (
        x509.CertificateRevocationListBuilder()
        .issuer_name(root.certificate.subject)
        .last_update(NOW)
        .next_update(NOW)
        .add_extension(authority, critical=False)
    )


def test_a_crl_whose_extensions_are_large_is_refused_before_they_are_read(
    root: pki.Holder,
) -> None:
    assert parse_crl(crl_of_names(root, 1000)).this_update == NOW
    with pytest.raises(FormatError, match="at most 4096 are read"):
        parse_crl(crl_of_names(root, 2000))


def crl_of_names(root: pki.Holder, count: int) -> bytes:
    """A CRL whose issuer has this many names, of 3 bytes each."""
    builder = x509.CertificateRevocationListBuilder(root.certificate.subject, NOW, NOW)
    issuer = x509.AuthorityKeyIdentifier(b"key", [x509.DNSName("a")] * count, 1)
    crl = (
        builder.add_extension(x509.CRLNumber(1), critical=False)
        .add_extension(issuer, critical=False)
        .sign(root.key, hashes.SHA256())
    )
    return crl.public_bytes(Encoding.DER)


@pytest.mark.parametrize(
    "extend",
    [
        pytest.param(lambda builder: builder, id="without-number"),
        pytest.param(
            lambda builder: builder.add_extension(x509.CRLNumber(1), critical=True),
            id="critical-number",
        ),
        pytest.param(
            lambda builder: builder.add_extension(x509.CRLNumber(1), critical=False).add_extension(
                x509.DeltaCRLIndicator(1), critical=True
            ),
            id="delta",
        ),
    ],
)
def test_a_crl_outside_intels_profile_is_refused(root: pki.Holder, extend: object) -> None:
    crl = extend(crl_builder(root)).sign(root.key, hashes.SHA256())
    with pytest.raises(FormatError):
        parse_crl(crl.public_bytes(Encoding.DER))
