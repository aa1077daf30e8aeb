from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)

from sealserve.client.credentials import load_credentials
from sealserve.deploy.certificates import Pair, Validity, make_authority, make_client
from sealserve.errors import ConfigError, UsageError


@pytest.fixture(scope="module")
def authority() -> Pair:
    return make_authority(Validity(datetime.now(UTC), 1))


@pytest.fixture(scope="module")
def client(authority: Pair) -> Pair:
    return make_client("client", Validity(datetime.now(UTC), 1), issuer=authority)


def _files(folder: Path, authority: Pair, client: Pair) -> tuple[Path, Path, Path]:
    ca, certificate, key = (folder / name for name in ("ca.pem", "cert.pem", "key.pem"))
    ca.write_bytes(authority.certificate_pem)
    certificate.write_bytes(client.certificate_pem)
    key.write_bytes(client.key_pem)
    key.chmod(0o600)
    return ca, certificate, key


def test_files_and_bytes_give_the_same(tmp_path: Path, authority: Pair, client: Pair) -> None:
    ca, certificate, key = _files(tmp_path, authority, client)
    from_bytes = load_credentials(authority.certificate_pem, client.certificate_pem, client.key_pem)
    assert load_credentials(ca, certificate, key) == from_bytes
    assert load_credentials(str(ca), str(certificate), str(key)) == from_bytes


def test_a_private_key_shows_in_no_repr(authority: Pair, client: Pair) -> None:
    credentials = load_credentials(
        authority.certificate_pem, client.certificate_pem, client.key_pem
    )
    assert client.key_pem.decode() not in repr(credentials)
    assert "PRIVATE" not in repr(credentials)


def test_the_standard_library_gets_the_same_certificates_without_a_file(
    authority: Pair, client: Pair
) -> None:
    context = load_credentials(
        authority.certificate_pem, client.certificate_pem, client.key_pem
    ).for_ssl()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert len(context.get_ca_certs()) == 1


def test_a_key_that_others_can_read_is_refused(
    tmp_path: Path, authority: Pair, client: Pair
) -> None:
    ca, certificate, key = _files(tmp_path, authority, client)
    key.chmod(0o644)
    with pytest.raises(ConfigError) as caught:
        load_credentials(ca, certificate, key)
    assert f"chmod 600 {key}" in str(caught.value.hint)


@pytest.mark.parametrize("half", ["certificate", "private_key"])
def test_half_a_pair_is_refused(half: str, client: Pair) -> None:
    pair = {"certificate": client.certificate_pem, "private_key": client.key_pem}
    with pytest.raises(UsageError, match="go together"):
        load_credentials(None, **({"certificate": None, "private_key": None} | {half: pair[half]}))


def test_a_key_of_another_certificate_is_named_as_such(authority: Pair, client: Pair) -> None:
    with pytest.raises(ConfigError, match="is not the client certificate's"):
        load_credentials(None, client.certificate_pem, authority.key_pem)


def _encrypted(pair: Pair) -> bytes:
    return pair.key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password")
    )


@pytest.mark.parametrize(
    ("ca", "certificate", "key", "expected"),
    [
        pytest.param(b"", None, None, "no CA certificate", id="empty CA"),
        pytest.param(b"\x30\x82", None, None, "no CA certificate", id="DER CA"),
        pytest.param("key", None, None, "no CA certificate", id="a key as CA"),
        pytest.param(None, b"x", "key", "no client certificate", id="garbage certificate"),
        pytest.param(None, "certificate", b"x", "no usable private key", id="garbage key"),
        pytest.param(None, "certificate", "certificate", "no usable private key", id="no key"),
        pytest.param(None, "certificate", "encrypted", "unencrypted PEM", id="encrypted key"),
    ],
)
def test_unusable_pem_is_refused_without_being_quoted(
    ca: bytes | str | None,
    certificate: bytes | str | None,
    key: bytes | str | None,
    expected: str,
    client: Pair,
) -> None:
    named = {
        "key": client.key_pem,
        "certificate": client.certificate_pem,
        "encrypted": _encrypted(client),
    }
    pems = [named.get(pem, b"") if isinstance(pem, str) else pem for pem in (ca, certificate, key)]
    with pytest.raises(ConfigError, match=expected) as caught:
        load_credentials(*pems)
    assert "the bytes given" in str(caught.value)
    assert "-----BEGIN PRIVATE" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no-such\.pem"):
        load_credentials(tmp_path / "no-such.pem", None, None)


def test_pem_given_as_text_is_refused_and_not_repeated(client: Pair) -> None:
    with pytest.raises(UsageError) as caught:
        load_credentials(None, client.certificate_pem, client.key_pem.decode())
    assert client.key_pem.decode().splitlines()[1] not in str(caught.value)
