"""Whom the PCCS client believes to be the service, and to whom it shows its subscription key."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sealserve.endorsements.collateral import Collateral
from sealserve.endorsements.pccs import PccsClient, service
from sealserve.errors import CollateralError, ConfigError

KEY = "5f4dcc3b5aa765d61d8327deb882cf99"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "pcs.key"
    path.write_text(f"{KEY}\n")
    path.chmod(0o600)
    return path


def test_a_private_authority_is_trusted_when_it_is_named(
    tls_server: Any, authority: Any, fmspc: bytes, sgx: Collateral
) -> None:
    client = PccsClient(service(tls_server.url, ca_file=authority.certificate))
    assert client.collateral(fmspc, "platform") == sgx


def test_an_unknown_authority_is_refused_at_once_and_hears_nothing(
    tls_server: Any, fmspc: bytes, key_file: Path
) -> None:
    client = PccsClient(service(tls_server.url, subscription_key_file=key_file))
    with pytest.raises(CollateralError, match=r"cannot trust 127\.0\.0\.1: self-signed") as caught:
        client.collateral(fmspc, "platform")
    assert "private authority" in (caught.value.hint or "")
    assert tls_server.asked == []


def test_a_certificate_for_another_host_is_refused(
    proxy: Any, tls_server: Any, authority: Any, fmspc: bytes
) -> None:
    client = PccsClient(service("https://other.example", ca_file=authority.certificate))
    with pytest.raises(CollateralError, match=r"cannot trust other\.example: Hostname mismatch"):
        client.collateral(fmspc, "platform")
    assert proxy.asked == ["CONNECT other.example:443"]
    assert tls_server.asked == []


def test_a_service_that_has_only_older_versions_of_tls_is_no_service(
    speaking: Callable[[Callable[[socket.socket], None]], str], authority: Any, fmspc: bytes
) -> None:
    url = speaking(lambda connection: connection.sendall(b"\x15\x03\x01\x00\x02\x02\x46"))
    https = url.replace("http://", "https://")
    client = PccsClient(service(https, ca_file=authority.certificate))
    with pytest.raises(CollateralError, match=r"cannot reach 127\.0\.0\.1: .*(?i:version)"):
        client.collateral(fmspc, "platform")


def test_the_key_goes_with_every_request_to_the_service(
    tls_server: Any, authority: Any, fmspc: bytes, key_file: Path
) -> None:
    asked = service(tls_server.url, ca_file=authority.certificate, subscription_key_file=key_file)
    PccsClient(asked).collateral(fmspc, "platform")
    assert [asked.key for asked in tls_server.asked] == [KEY] * 4


def test_without_a_key_none_is_sent(server: Any, fmspc: bytes) -> None:
    PccsClient(service(server.url)).collateral(fmspc, "platform")
    assert {asked.key for asked in server.asked} == {None}


def test_the_key_is_not_shown_to_the_host_of_the_root_cas_crl(
    proxy: Any, tls_server: Any, authority: Any, fmspc: bytes, key_file: Path
) -> None:
    asked = service("intel", ca_file=authority.certificate, subscription_key_file=key_file)
    PccsClient(asked).collateral(fmspc, "platform")
    pcs, certificates = "api.trustedservices.intel.com", "certificates.trustedservices.intel.com"
    assert [(asked.host, asked.key) for asked in tls_server.asked] == [
        (pcs, KEY),
        (pcs, KEY),
        (pcs, KEY),
        (certificates, None),
    ]


def test_the_key_is_not_shown_to_another_host_of_the_same_service(
    proxy: Any, tls_server: Any, authority: Any, fmspc: bytes, key_file: Path
) -> None:
    asked = service("azure:eastus2", ca_file=authority.certificate, subscription_key_file=key_file)
    PccsClient(asked).collateral(fmspc, "platform", "TDX")
    assert {(asked.host, asked.key) for asked in tls_server.asked} == {
        ("eastus2.thim.azure.net", None)
    }


def test_the_key_is_in_no_log_and_no_text(
    tls_server: Any,
    authority: Any,
    fmspc: bytes,
    key_file: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    asked = service(tls_server.url, ca_file=authority.certificate, subscription_key_file=key_file)
    PccsClient(asked).collateral(fmspc, "platform")
    tls_server.spoil = lambda path, count, answer: None
    with pytest.raises(CollateralError) as caught:
        PccsClient(
            service(
                tls_server.url,
                ca_file=authority.certificate,
                subscription_key_file=key_file,
                timeout=0.5,
            )
        ).collateral(fmspc, "platform")
    assert "httpcore" in caplog.text
    assert KEY not in caplog.text
    assert KEY not in repr(asked)
    assert KEY not in f"{caught.value!r} {caught.value.hint}"


@pytest.mark.parametrize(
    ("content", "mode", "told"),
    [
        pytest.param(KEY, 0o644, "mode 0644", id="readable-by-others"),
        pytest.param("", 0o600, "holds no subscription key", id="empty"),
        pytest.param(f"{KEY}\nX-Other: 1", 0o600, "holds no subscription key", id="two-lines"),
        pytest.param(f"key = {KEY}", 0o600, "holds no subscription key", id="a-setting"),
        pytest.param(KEY + "é", 0o600, "holds no subscription key", id="not-ASCII"),
        pytest.param(KEY * 9, 0o600, "holds no subscription key", id="long"),
        pytest.param(KEY * 999, 0o600, "larger than", id="endless"),
    ],
)
def test_a_key_file_that_is_open_or_holds_no_key_is_refused_without_showing_it(
    key_file: Path, content: str, mode: int, told: str
) -> None:
    key_file.write_text(content)
    key_file.chmod(mode)
    with pytest.raises(ConfigError, match=told) as caught:
        service("intel", subscription_key_file=key_file)
    assert KEY not in f"{caught.value!r} {caught.value.hint}"


def test_a_key_is_refused_where_it_would_be_sent_in_the_clear(key_file: Path) -> None:
    with pytest.raises(ConfigError, match="over https alone"):
        service("http://127.0.0.1:8081", subscription_key_file=key_file)


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_an_authority_that_cannot_be_read_is_told(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "authority.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError, match=r"authority\.pem"):
        PccsClient(service("https://pccs.example", ca_file=file))
