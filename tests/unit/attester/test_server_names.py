"""Which certificates are for a server's name (RFC 9525), and which are not."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from sealserve.attester.tls import is_for

KEY = ec.generate_private_key(ec.SECP256R1())


def certificate(*names, common_name="keys.example.com"):
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2040, 1, 1, tzinfo=UTC))
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(KEY, hashes.SHA256())


DNS = x509.DNSName


@pytest.mark.parametrize(
    ("names", "name"),
    [
        pytest.param([DNS("keys.example.com")], "keys.example.com", id="the name"),
        pytest.param([DNS("a.b"), DNS("localhost")], "localhost", id="one of several"),
        pytest.param([DNS("Keys.Example.com")], "keys.eXample.com", id="any case"),
        pytest.param([DNS("keys.example.com")], "keys.example.com.", id="with the root's dot"),
        pytest.param([DNS("*.example.com")], "keys.example.com", id="wildcard"),
        pytest.param([x509.IPAddress(ip_address("192.0.2.1"))], "192.0.2.1", id="IPv4"),
        pytest.param([x509.IPAddress(ip_address("::1"))], "0:0:0:0:0:0:0:1", id="IPv6"),
    ],
)
def test_the_certificate_is_for(names, name):
    assert is_for(certificate(*names), name)


@pytest.mark.parametrize(
    ("names", "name"),
    [
        pytest.param([], "keys.example.com", id="common name alone"),
        pytest.param([DNS("example.com")], "keys.example.com", id="the domain above"),
        pytest.param([DNS("keys.example.com")], "example.com", id="a name below"),
        pytest.param([DNS("*.example.com")], "example.com", id="wildcard for its own domain"),
        pytest.param([DNS("*.example.com")], "a.keys.example.com", id="wildcard over two labels"),
        pytest.param([DNS("*.com")], "example.com", id="wildcard for a top-level domain"),
        pytest.param([DNS("*")], "localhost", id="wildcard alone"),
        pytest.param([DNS("k*.example.com")], "keys.example.com", id="wildcard in a label"),
        pytest.param([DNS("keys.*.com")], "keys.example.com", id="wildcard in the middle"),
        pytest.param([DNS("192.0.2.1")], "192.0.2.1", id="an address as a DNS name"),
        pytest.param([x509.IPAddress(ip_address("192.0.2.2"))], "192.0.2.1", id="other address"),
    ],
)
def test_the_certificate_is_not_for(names, name):
    assert not is_for(certificate(*names), name)
