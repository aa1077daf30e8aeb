"""ssl.cfg into credentials: what fits is taken, the rest refused before anybody connects."""

from __future__ import annotations

import hashlib
import os
import ssl
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives import serialization

from sealserve.deploy.certificates import Pair, Validity, make_authority, make_server
from sealserve.errors import ConfigError
from sealserve.serving.textconfig import TlsSettings
from sealserve.serving.tls import fingerprint, grpc_credentials, require_usable, ssl_context

Use = Callable[[TlsSettings], object]
both_faces = pytest.mark.parametrize("use", [ssl_context, require_usable])


@pytest.fixture(scope="module")
def authority() -> Pair:
    return make_authority(Validity(datetime.now(UTC), 1))


@pytest.fixture(scope="module")
def server(authority: Pair) -> Pair:
    return make_server(["localhost"], Validity(datetime.now(UTC), 1), issuer=authority)


@pytest.fixture
def tls(server: Pair, authority: Pair) -> TlsSettings:
    return TlsSettings(server.key_pem, server.certificate_pem, authority.certificate_pem)


def test_clients_must_show_a_certificate_where_an_authority_is_named(tls: TlsSettings) -> None:
    assert ssl_context(tls).verify_mode == ssl.CERT_REQUIRED
    assert ssl_context(replace(tls, client_ca=None)).verify_mode == ssl.CERT_NONE
    assert grpc_credentials(tls) is not None


def test_old_tls_is_not_spoken(tls: TlsSettings) -> None:
    assert ssl_context(tls).minimum_version == ssl.TLSVersion.TLSv1_2


def test_the_fingerprint_is_that_of_the_servers_own_certificate(
    tls: TlsSettings, server: Pair, authority: Pair
) -> None:
    der = server.certificate.public_bytes(serialization.Encoding.DER)
    chain = replace(tls, certificates=tls.certificates + authority.certificate_pem)
    assert fingerprint(chain) == hashlib.sha256(der).hexdigest()


def test_what_belongs_together_is_usable_without_any_file(
    tls: TlsSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "memfd_create")
    require_usable(tls)
    assert grpc_credentials(tls) is not None


@both_faces
def test_a_key_of_another_certificate_is_refused(
    use: Use, tls: TlsSettings, authority: Pair
) -> None:
    with pytest.raises(ConfigError, match="MISMATCH") as caught:
        use(replace(tls, private_key=authority.key_pem))
    assert caught.value.__cause__ is None


@both_faces
def test_a_key_with_a_password_is_refused_and_nobody_is_asked(
    use: Use, tls: TlsSettings, server: Pair
) -> None:
    locked = server.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"password"),
    )
    with pytest.raises(ConfigError, match="encrypted with a password"):
        use(replace(tls, private_key=locked))


@both_faces
@pytest.mark.parametrize("field", ["private_key", "certificates", "client_ca"])
def test_what_is_not_pem_is_refused(use: Use, field: str, tls: TlsSettings) -> None:
    with pytest.raises(ConfigError, match="cannot be used"):
        use(replace(tls, **{field: b"not PEM"}))
