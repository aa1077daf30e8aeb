from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sealserve.deploy.certificates import (
    CLOCK_SKEW,
    KEY_TYPES,
    KeyType,
    Pair,
    Validity,
    make_authority,
    make_client,
    make_server,
)
from sealserve.errors import UsageError

NOW = datetime.now(UTC).replace(microsecond=0)
VALIDITY = Validity(NOW, 30)
NAME = "grpc.tf-serving.service.com"


def _context(protocol: int, pair: Pair | None, trusted: Pair, folder: Path) -> ssl.SSLContext:
    """OpenSSL in its strict mode, as Python has it by default from 3.13 on."""
    context = ssl.SSLContext(protocol)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.load_verify_locations(cadata=trusted.certificate_pem.decode())
    if pair is not None:
        (folder / "pair.pem").write_bytes(pair.certificate_pem + pair.key_pem)
        context.load_cert_chain(folder / "pair.pem")
    return context


def _shake_hands(
    folder: Path, trusted: Pair, server: Pair, client: Pair | None = None, *, name: str = NAME
) -> None:
    """A TLS handshake in memory; raises ssl.SSLError if either side distrusts the other."""
    serving = _context(ssl.PROTOCOL_TLS_SERVER, server, trusted, folder)
    serving.verify_mode = ssl.CERT_REQUIRED if client else ssl.CERT_NONE
    calling = _context(ssl.PROTOCOL_TLS_CLIENT, client, trusted, folder)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = calling.wrap_bio(back, there, server_hostname=name)
    far = serving.wrap_bio(there, back, server_side=True)
    done = 0
    while done < 2:
        done = sum(_advances(side) for side in (near, far))


def _advances(side: ssl.SSLObject) -> bool:
    try:
        side.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True


@pytest.mark.parametrize("key_type", KEY_TYPES)
def test_openssl_in_strict_mode_accepts_each_certificate_for_its_purpose_alone(
    key_type: KeyType, tmp_path: Path
) -> None:
    authority = make_authority(VALIDITY, key_type=key_type)
    server = make_server([NAME], VALIDITY, issuer=authority, key_type=key_type)
    client = make_client(NAME, VALIDITY, issuer=authority, key_type=key_type)
    _shake_hands(tmp_path, authority, server, client)
    for wrong_server, wrong_client in ((server, server), (client, client)):
        with pytest.raises(ssl.SSLCertVerificationError, match="purpose"):
            _shake_hands(tmp_path, authority, wrong_server, wrong_client)


def test_a_self_signed_server_is_its_own_root_and_signs_nothing(tmp_path: Path) -> None:
    server = make_server([NAME], VALIDITY, issuer=None)
    _shake_hands(tmp_path, server, server)
    with pytest.raises(ssl.SSLCertVerificationError):
        _shake_hands(tmp_path, server, make_server([NAME], VALIDITY, issuer=server))


@pytest.mark.parametrize("name", ["grpc.tf-serving.service.com", "127.0.0.1", "a.example.com"])
def test_every_name_of_a_server_is_accepted_and_no_other(name: str, tmp_path: Path) -> None:
    server = make_server([NAME, "127.0.0.1", "*.example.com"], VALIDITY, issuer=None)
    _shake_hands(tmp_path, server, server, name=name)
    with pytest.raises(ssl.SSLCertVerificationError, match=r"mismatch|not valid for"):
        _shake_hands(tmp_path, server, server, name=f"{name[:-1]}x")


def test_an_authority_signs_no_further_authority() -> None:
    constraints = make_authority(VALIDITY).certificate.extensions.get_extension_for_class(
        x509.BasicConstraints
    )
    assert constraints.critical
    assert constraints.value == x509.BasicConstraints(ca=True, path_length=0)


def test_names_go_into_the_subject_alternative_name_once_and_by_their_kind() -> None:
    names = [NAME, "127.0.0.1", "::1", "*.Example.com", NAME]
    certificate = make_server(names, VALIDITY, issuer=None).certificate
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert found.get_values_for_type(x509.DNSName) == [NAME, "*.example.com"]
    assert [str(ip) for ip in found.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]


def test_a_name_longer_than_a_common_name_still_makes_a_certificate() -> None:
    name = ".".join(["service", *["namespace"] * 10])
    certificate = make_server([name], VALIDITY, issuer=None).certificate
    assert certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "service"
    san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert san.get_values_for_type(x509.DNSName) == [name]


def test_a_client_certificate_is_for_clients_and_names_one() -> None:
    client = make_client("Alice", VALIDITY, issuer=make_authority(VALIDITY)).certificate
    usage = client.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    with pytest.raises(UsageError):
        make_client("*.example.com", VALIDITY, issuer=make_authority(VALIDITY))


def test_key_types_are_those_asked_for() -> None:
    keys = {
        kind: make_server([NAME], VALIDITY, issuer=None, key_type=kind).key for kind in KEY_TYPES
    }
    p256, p384, rsa3072 = (keys[kind] for kind in ("p256", "p384", "rsa3072"))
    assert isinstance(p256, ec.EllipticCurvePrivateKey) and p256.curve.name == "secp256r1"
    assert isinstance(p384, ec.EllipticCurvePrivateKey) and p384.curve.name == "secp384r1"
    assert isinstance(rsa3072, rsa.RSAPrivateKey) and rsa3072.key_size == 3072


def test_a_certificate_holds_for_the_days_asked_for_and_for_clocks_that_are_behind() -> None:
    certificate = make_server([NAME], Validity(NOW, 7), issuer=None).certificate
    assert certificate.not_valid_before_utc == NOW - CLOCK_SKEW
    assert certificate.not_valid_after_utc == NOW + timedelta(days=7)


@pytest.mark.parametrize("days", [0, -1, 3651])
def test_a_validity_without_sense_is_refused(days: int) -> None:
    with pytest.raises(UsageError):
        Validity(NOW, days)


def test_two_authorities_have_different_names() -> None:
    first, second = (make_authority(VALIDITY).certificate.subject for _ in range(2))
    assert first != second


def test_a_pair_does_not_show_its_key() -> None:
    pair = make_server([NAME], VALIDITY, issuer=None)
    assert "key" not in repr(pair).lower()
