"""Certificates of a cluster for tests: two authorities, and who is who under them.

Source: Kubernetes, "PKI certificates and requirements" (names and organisations of the parts).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAYS = 2
PRIVATE = 0o600


@dataclass(frozen=True)
class Authority:
    """A CA, its files in `folder` as NAME.pem and NAME.key."""

    folder: Path
    name: str
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> Path:
        return self.folder / f"{self.name}.pem"

    @property
    def private(self) -> Path:
        return self.folder / f"{self.name}.key"

    def issue(
        self, file: str, name: str, *, groups: tuple[str, ...] = (), hosts: tuple[str, ...] = ()
    ) -> None:
        """Write FILE.pem and FILE.key: a client, and with `hosts` a server too."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
        subject += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, each) for each in groups]
        uses = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
        made = _builder(x509.Name(subject), self.certificate.subject, key)
        made = made.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        made = made.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        if hosts:
            names = x509.SubjectAlternativeName([_host(each) for each in hosts])
            made = made.add_extension(names, critical=False)
        _write(self.folder, file, made.sign(self.key, hashes.SHA256()), key)


def authority(folder: Path, name: str) -> Authority:
    """Make a CA."""
    folder.mkdir(exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = _builder(subject, subject, key)
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    certificate = made.sign(key, hashes.SHA256())
    _write(folder, name, certificate, key)
    return Authority(folder, name, certificate, key)


def kubeconfig(ca: Authority, file: str, server: str) -> Path:
    """How the holder of FILE.pem speaks to the API server."""
    path = ca.folder / f"{file}.kubeconfig"
    cluster = {"server": server, "certificate-authority": str(ca.pem)}
    user = {
        "client-certificate": str(ca.folder / f"{file}.pem"),
        "client-key": str(ca.folder / f"{file}.key"),
    }
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": file, "user": user}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": file}}],
        "current-context": "test",
    }
    path.write_text(json.dumps(document))
    return path


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=DAYS))
    )


def _host(host: str) -> x509.GeneralName:
    if host[0].isdigit():
        return x509.IPAddress(ip_address(host))
    return x509.DNSName(host)


def _write(
    folder: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
) -> None:
    (folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = folder / f"{name}.key"
    private.touch(PRIVATE)
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
