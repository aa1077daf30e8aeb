"""Clients that offer what Gramine's old and new client libraries offer, byte for byte on the wire.

The ClientHellos were recorded from the real ones; here `openssl s_client` offers the same ciphers,
groups and signature algorithms, as far as OpenSSL knows them, and nothing else.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from fixed_decisions import RESULT, Fixed, make_identity, released, serve
from sealserve.keyservice.asking import Answer

PROJECT = Path(__file__).parents[3]
HELLOS = PROJECT / "tests" / "data" / "gramine" / "ratls"

REQUEST = b"SECRET_PROVISION_RA_TLS_REQUEST_V1\0"
RESPONSE = b"SECRET_PROVISION_RA_TLS_RESPONSE_V1:\0\0\0\0\x10"
KEY = bytes.fromhex("5ea15e4ce0ff1cea5ea15e4ce0ff1cea")
SIGNATURES = {
    "0403": "ECDSA+SHA256", "0503": "ECDSA+SHA384", "0603": "ECDSA+SHA512",
    "0401": "RSA+SHA256", "0501": "RSA+SHA384", "0601": "RSA+SHA512",
    "0804": "RSA-PSS+SHA256", "0805": "RSA-PSS+SHA384", "0806": "RSA-PSS+SHA512",
}  # fmt: skip
GROUPS = {
    "x25519": "X25519", "x448": "X448",
    "secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521",
}  # fmt: skip

pytestmark = [
    pytest.mark.skipif(not shutil.which("openssl"), reason="the openssl command is missing"),
]


def openssl_names(codes: list[str]) -> tuple[list[str], list[str]]:
    """TLS 1.2 ciphers and TLS 1.3 suites of a hello, by OpenSSL's names, in the hello's order."""
    listing = subprocess.run(
        ["openssl", "ciphers", "-V", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    known = {
        (high + low).lower(): name
        for high, low, name in re.findall(r"0x(..),0x(..) +- +(\S+)", listing)
    }
    names = [known[code] for code in codes if code in known]
    return (
        [name for name in names if not name.startswith("TLS_")],
        [name for name in names if name.startswith("TLS_")],
    )


def client(hello: dict, fixed: Fixed, identity, folder: Path) -> list[str]:
    """The s_client command that offers what `hello` offers."""
    key, certificate = folder / "client.key", folder / "client.pem"
    key.write_bytes(
        identity.private_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    parsed = x509.load_der_x509_certificate(identity.certificate_der)
    certificate.write_bytes(parsed.public_bytes(serialization.Encoding.PEM))
    ciphers, suites = openssl_names(hello["ciphers"])
    command = [
        "openssl", "s_client", "-quiet", "-verify_quiet", "-verify_return_error", "-ign_eof",
        "-connect", f"127.0.0.1:{fixed.port}", "-servername", "localhost",
        "-verify_hostname", "localhost", "-CAfile", str(fixed.ca_file),
        "-cert", str(certificate), "-key", str(key),
        "-cipher", ":".join([*ciphers, "@SECLEVEL=0"]),
        "-groups", ":".join(GROUPS[name] for name in hello["groups"] if name in GROUPS),
        "-sigalgs", ":".join(SIGNATURES[code] for code in hello["sigalgs"] if code in SIGNATURES),
    ]  # fmt: skip
    return [*command, "-ciphersuites", ":".join(suites)] if suites else [*command, "-tls1_2"]


@pytest.mark.parametrize("server_key", ["p256", "rsa3072"])
@pytest.mark.parametrize(
    ("hello", "identity"),
    [
        pytest.param("old", {"key_type": "rsa3072", "style": "legacy"}, id="old"),
        pytest.param("new", {"key_type": "p384", "style": "both"}, id="new"),
    ],
)
def test_a_client_that_offers_what_gramine_offers_gets_the_secret(
    tmp_path, server_key, hello, identity
):
    offer = json.loads((HELLOS / f"{hello}.clienthello.json").read_text())
    answer = Answer((released(None, KEY),), RESULT)
    with serve(tmp_path, lambda ask: answer, server_key=server_key) as fixed:
        finished = subprocess.run(
            client(offer, fixed, make_identity(**identity), tmp_path),
            input=REQUEST, capture_output=True, timeout=60, check=False,
        )  # fmt: skip
    assert finished.stdout == RESPONSE + KEY, finished.stderr.decode()
    (ask,) = fixed.asks
    assert ask.server_name == "localhost"
    assert ask.names is None
