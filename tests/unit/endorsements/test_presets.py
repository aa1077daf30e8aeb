"""Collateral services by name and by URL: what each means, and what is refused."""

from __future__ import annotations

import pytest

from sealserve.endorsements.pccs import service
from sealserve.endorsements.pccs.interface import API_PATH, REGION
from sealserve.endorsements.pccs.presets import PRESETS
from sealserve.errors import ConfigError


def example(name: str) -> str:
    preset = PRESETS[name]
    return f"{name}:{preset.example}" if preset.example else name


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_has_a_source_with_a_date_and_is_asked_over_https(name: str) -> None:
    assert "202" in PRESETS[name].source or name == "alibaba-vpc"
    made = service(example(name))
    for interface in filter(None, (made.sgx, made.tdx)):
        requests = [interface.root_ca_crl, *interface.pck_crl.values()]
        urls = [interface.base_url, *(request.url for request in requests)]
        assert all(url.startswith("https://") and REGION not in url for url in urls)
        assert API_PATH.search(interface.base_url)


@pytest.mark.parametrize(
    ("name", "base_url", "tdx", "version"),
    [
        ("intel", "https://api.trustedservices.intel.com/sgx/certification/v4", True, 4),
        ("azure", "https://global.acccache.azure.net/sgx/certification/v4", False, 4),
        ("azure:westeurope", "https://global.acccache.azure.net/sgx/certification/v4", True, 4),
        (
            "alibaba:cn-hongkong",
            "https://sgx-dcap-server.cn-hongkong.aliyuncs.com/sgx/certification/v4",
            True,
            4,
        ),
        (
            "alibaba-vpc:ap-southeast-5",
            "https://sgx-dcap-server-vpc.ap-southeast-5.aliyuncs.com/sgx/certification/v4",
            True,
            4,
        ),
        ("tencent:bj", "https://sgx-dcap-server-tc.bj.tencent.cn/sgx/certification/v3", False, 3),
        ("bytedance", "https://sgx-dcap-server.bytedance.com/sgx/certification/v3", False, 3),
    ],
)
def test_a_preset_is_the_service_that_its_cloud_documents(
    name: str, base_url: str, tdx: bool, version: int
) -> None:
    made = service(name)
    assert (made.name, made.base_url, made.api_version) == (name, base_url, version)
    assert (made.interface("TDX") is not None) == tdx


def test_the_tdx_interface_of_alibaba_is_beside_that_of_sgx() -> None:
    tdx = service("alibaba:cn-beijing").interface("TDX")
    assert tdx is not None
    assert tdx.base_url == "https://sgx-dcap-server.cn-beijing.aliyuncs.com/tdx/certification/v4"
    assert tdx.root_ca_crl.url.endswith("aliyuncs.com/sgx/certification/v4/rootcacrl")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("tencent:sh", ("only version 3 of Tencent's service is documented", "ended it")),
        ("bytedance", ("not confirmed", "ended it")),
        ("azure", ("older than Intel's on purpose",)),
        ("https://pccs.example/sgx/certification/v3", ("ended it",)),
    ],
)
def test_what_is_old_or_unconfirmed_is_remarked(name: str, told: tuple[str, ...]) -> None:
    remarks = service(name).remarks
    assert len(remarks) == len(told)
    assert all(text in remark for text, remark in zip(told, remarks, strict=True))


@pytest.mark.parametrize("name", ["intel", "alibaba:cn-beijing", "https://pccs.example"])
def test_what_is_confirmed_is_not_remarked(name: str) -> None:
    assert service(name).remarks == ()


@pytest.mark.parametrize(
    ("name", "told", "hint"),
    [
        pytest.param("inte1", "neither a URL nor", "known are intel, azure", id="unknown"),
        pytest.param("", "neither a URL nor", "https://", id="nothing"),
        pytest.param("pccs.example", "neither a URL nor", "https://", id="no-scheme"),
        pytest.param("localhost:8081", "neither a URL nor", "https://", id="host-and-port"),
        pytest.param("alibaba", "needs a region", "alibaba:cn-hangzhou", id="no-region"),
        pytest.param("tencent", "needs a region", "known: bj, gz, sh", id="no-city"),
        pytest.param("tencent:hk", "no region 'hk'", "known: bj, gz, sh", id="other-city"),
        pytest.param("intel:us", "no region 'us'", "it has no regions", id="region-too-many"),
        pytest.param("bytedance:", "no region ''", "it has no regions", id="colon"),
        pytest.param("azure:", "no region ''", "azure:eastus2", id="empty-region"),
        pytest.param("azure:evil.example/", "no region", "azure:eastus2", id="region-of-host"),
        pytest.param("alibaba:a.b", "no region", "alibaba:", id="region-of-labels"),
        pytest.param("alibaba:-a", "no region", "alibaba:", id="region-of-hyphen"),
        pytest.param("alibaba:cn-é", "no region", "alibaba:", id="region-not-ASCII"),
        pytest.param("alibaba:" + "a" * 41, "no region", "alibaba:", id="long-region"),
        pytest.param("alibaba:cn-hangzhou\n", "no region", "alibaba:", id="line"),
    ],
)
def test_what_names_no_service_is_refused_with_what_would(name: str, told: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        service(name)
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("http://pccs.example:8081", id="http-to-elsewhere"),
        pytest.param("http://10.0.0.1", id="http-to-a-private-address"),
        pytest.param("http://127.0.0.1.example", id="http-to-a-name-like-loopback"),
        pytest.param("http://localhost.example", id="http-to-a-name-like-localhost"),
        pytest.param("ftp://127.0.0.1/", id="ftp"),
        pytest.param("file:///etc/passwd", id="file"),
        pytest.param("https://", id="no-host"),
        pytest.param("https://user:secret@pccs.example", id="credentials"),
        pytest.param("https://pccs.example/?a=b", id="query"),
        pytest.param("https://pccs.example/#a", id="fragment"),
        pytest.param("https://[::1", id="no-url"),
        pytest.param("https://user:secret@[::1", id="no-url-with-credentials"),
        pytest.param("https://user:secret@", id="no-host-with-credentials"),
        pytest.param("https://pccs.example/collateral", id="other-path"),
        pytest.param("https://pccs.example/sgx/certification/v5", id="version-5"),
        pytest.param("https://pccs.example/sgx/certification/v4/tcb", id="one-request"),
        pytest.param("https://pccs.example/sgx/certification/", id="no-version"),
    ],
)
def test_a_url_that_is_unsafe_or_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        service(url)
    assert "secret" not in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "[::1]", "localhost"])
def test_plain_http_is_for_this_machine(host: str) -> None:
    assert service(f"http://{host}:8081").is_local


@pytest.mark.parametrize(
    ("url", "base_url"),
    [
        ("https://pccs.example", "https://pccs.example/sgx/certification/v4"),
        (
            "https://Pccs.Example:443/sgx/certification/v3/",
            "https://pccs.example/sgx/certification/v3",
        ),
        (
            "https://proxy.example/pccs/sgx/certification/v4",
            "https://proxy.example/pccs/sgx/certification/v4",
        ),
        (
            "https://pccs.example/tdx/certification/v4",
            "https://pccs.example/sgx/certification/v4",
        ),
    ],
)
def test_a_url_is_read_to_its_base(url: str, base_url: str) -> None:
    assert service(url).base_url == base_url


def test_only_the_interface_part_of_a_path_is_exchanged_for_tdx() -> None:
    tdx = service("https://pccs.example/sgx/sgx/certification/v4").interface("TDX")
    assert tdx is not None
    assert tdx.base_url == "https://pccs.example/sgx/tdx/certification/v4"


def test_early_data_is_refused_of_a_service_that_is_not_known_to_have_any() -> None:
    with pytest.raises(ConfigError, match="early TCB data"):
        service("azure", update="early")
    assert service("intel", update="early").update == "early"


@pytest.mark.parametrize("stage", ["", "validation.", "sbx."])
def test_every_stage_of_intels_service_has_the_root_cas_crl_elsewhere(stage: str) -> None:
    made = service(f"https://{stage}api.trustedservices.intel.com")
    assert made.sgx.root_ca_crl == service("intel").sgx.root_ca_crl


def test_a_host_that_only_looks_like_intels_is_any_pccs() -> None:
    made = service("https://api.trustedservices.intel.com.example")
    assert made.sgx.root_ca_crl.url.endswith("/sgx/certification/v4/rootcacrl")
