"""The PCCS client behind a real CONNECT proxy, which also leads to the hosts of the presets."""

from __future__ import annotations

import base64
import socket
from dataclasses import replace
from typing import Any

import pytest

from sealserve.endorsements.collateral import Collateral, Tee
from sealserve.endorsements.pccs import PccsClient, service
from sealserve.errors import CollateralError

CLIENT = {"clientid": "production_client"}


def fetch(name: str, authority: Any, fmspc: bytes, tee: Tee = "SGX") -> Collateral:
    asked = service(name, ca_file=authority.certificate)
    return PccsClient(asked).collateral(fmspc, "platform", tee)


def hosts(server: Any) -> list[tuple[str, str]]:
    return [(asked.host, f"{asked.tee}/{asked.version}/{asked.path}") for asked in server.asked]


def test_the_environments_proxy_is_the_way_to_a_service_elsewhere(
    proxy: Any, tls_server: Any, authority: Any, fmspc: bytes, sgx: Collateral
) -> None:
    assert fetch("https://pccs.example:8081", authority, fmspc) == sgx
    assert proxy.asked == ["CONNECT pccs.example:8081"]
    assert len(tls_server.asked) == 4


def test_no_proxy_leads_to_a_service_on_this_machine(
    proxy: Any, tls_server: Any, authority: Any, fmspc: bytes, sgx: Collateral
) -> None:
    assert fetch(tls_server.url, authority, fmspc) == sgx
    assert proxy.asked == []


def test_hosts_in_no_proxy_are_asked_without_it(
    proxy: Any,
    tls_server: Any,
    authority: Any,
    fmspc: bytes,
    sgx: Collateral,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolve = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest: resolve("127.0.0.1", *rest))
    monkeypatch.setenv("no_proxy", "other.example,pccs.example")
    assert fetch(f"https://pccs.example:{tls_server.port}", authority, fmspc) == sgx
    assert proxy.asked == []


def test_the_proxys_password_goes_to_the_proxy(
    proxy: Any, authority: Any, fmspc: bytes, sgx: Collateral, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", f"http://me:open%20sesame@127.0.0.1:{proxy.port}")
    assert fetch("https://pccs.example", authority, fmspc) == sgx
    assert proxy.credentials == ["Basic " + base64.b64encode(b"me:open sesame").decode()]


@pytest.mark.parametrize(
    ("refusal", "told"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "407 Proxy Authentication"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "403 Forbidden"),
    ],
)
def test_a_proxy_that_refuses_is_told_as_such_and_without_its_password(
    proxy: Any,
    authority: Any,
    fmspc: bytes,
    monkeypatch: pytest.MonkeyPatch,
    refusal: bytes,
    told: str,
) -> None:
    proxy.refusal = refusal
    monkeypatch.setenv("https_proxy", f"http://me:sesame@127.0.0.1:{proxy.port}")
    with pytest.raises(CollateralError, match=f"the proxy does not lead to .*: {told}") as caught:
        fetch("https://pccs.example", authority, fmspc)
    assert "sesame" not in f"{caught.value!r} {caught.value.hint}"


@pytest.mark.parametrize(
    "proxies",
    [
        pytest.param({"https_proxy": "ftp://me:sesame@proxy.example"}, id="ftp"),
        pytest.param({"all_proxy": "socks5://me:sesame@proxy.example"}, id="socks"),
        pytest.param({"https_proxy": "http://me:sesame@proxy.example:port"}, id="no-port"),
        pytest.param({"https_proxy": "http://me:sesame@[::1"}, id="no-URL"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_told_without_its_password(
    authority: Any, fmspc: bytes, monkeypatch: pytest.MonkeyPatch, proxies: dict[str, str]
) -> None:
    for name, value in proxies.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(CollateralError, match="the proxy that the environment names") as caught:
        fetch("https://pccs.example", authority, fmspc)
    assert "sesame" not in f"{caught.value!r} {caught.value.hint}"


def test_intels_service_has_its_root_cas_crl_on_another_host(
    proxy: Any, tls_server: Any, authority: Any, fmspc: bytes, sgx: Collateral
) -> None:
    assert fetch("intel", authority, fmspc) == sgx
    pcs = "api.trustedservices.intel.com"
    assert hosts(tls_server) == [
        (pcs, "sgx/v4/tcb"),
        (pcs, "sgx/v4/qe/identity"),
        (pcs, "sgx/v4/pckcrl"),
        ("certificates.trustedservices.intel.com", "///IntelSGXRootCA.der"),
    ]


def test_azures_cache_is_asked_for_crls_by_their_escaped_urls(
    proxy: Any, tls_server: Any, authority: Any, fmspc: bytes, sgx: Collateral
) -> None:
    tls_server.spoil = lambda path, count, answer: (
        replace(answer, body=sgx.root_ca_crl) if (path, count) == ("pckcrl", 2) else answer
    )
    assert fetch("azure", authority, fmspc) == sgx
    cache = "global.acccache.azure.net"
    assert {asked.host for asked in tls_server.asked} == {cache}
    old, new = {"api-version": "2018-10-01-preview"}, {"api-version": "2020-02-12-preview"}
    intel = "https%3a%2f%2fcertificates.trustedservices.intel.com%2f"
    platform = (
        "https%3a%2f%2fapi.trustedservices.intel.com%2fsgx%2fcertification%2fv3%2fpckcrl"
        "%3fca%3dplatform%26encoding%3dpem"
    )
    assert [(asked.path, asked.query) for asked in tls_server.asked] == [
        ("tcb", {"fmspc": "53494D000000"} | CLIENT | old),
        ("qe/identity", CLIENT | old),
        ("pckcrl", {"uri": platform} | CLIENT | new),
        ("pckcrl", {"uri": intel + "intelsgxrootca.crl"} | CLIENT | new),
    ]


def test_azures_cache_is_asked_in_its_own_way_when_it_is_named_by_its_url(
    proxy: Any, tls_server: Any, authority: Any, fmspc: bytes
) -> None:
    fetch("https://global.acccache.azure.net/sgx/certification/v4/", authority, fmspc)
    assert "uri" in tls_server.asked[3].query


def test_azure_has_tdx_by_region(
    proxy: Any, tls_server: Any, authority: Any, fmspc: bytes, tdx: Collateral
) -> None:
    assert fetch("azure:eastus2", authority, fmspc, tee="TDX") == tdx
    region = "eastus2.thim.azure.net"
    assert hosts(tls_server) == [
        (region, "tdx/v4/tcb"),
        (region, "tdx/v4/qe/identity"),
        (region, "sgx/v4/pckcrl"),
        (region, "sgx/v4/rootcacrl"),
    ]


@pytest.mark.parametrize(
    ("name", "host", "version"),
    [
        ("alibaba:cn-hangzhou", "sgx-dcap-server.cn-hangzhou.aliyuncs.com", "v4"),
        ("tencent:sh", "sgx-dcap-server-tc.sh.tencent.cn", "v3"),
        ("bytedance", "sgx-dcap-server.bytedance.com", "v3"),
    ],
)
def test_the_other_clouds_are_asked_as_a_pccs(
    proxy: Any,
    tls_server: Any,
    authority: Any,
    fmspc: bytes,
    sgx: Collateral,
    name: str,
    host: str,
    version: str,
) -> None:
    assert fetch(name, authority, fmspc) == sgx
    parts = ("tcb", "qe/identity", "pckcrl", "rootcacrl")
    assert hosts(tls_server) == [(host, f"sgx/{version}/{part}") for part in parts]
