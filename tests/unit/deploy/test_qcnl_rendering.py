"""The quote provider's configuration for each cloud, byte for byte, and what holds for all."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golden import assert_golden
from sealserve.deploy.clouds import CLOUDS, load_cloud
from sealserve.deploy.clouds.model import METADATA_HOST
from sealserve.deploy.clouds.qcnl import render_qcnl
from sealserve.deploy.clouds.qcnl_lint import lint_qcnl
from sealserve.errors import UsageError

URLS = ("pccs_url", "collateral_service", "local_pck_url")


def test_the_file_for_each_cloud_is_the_one_that_was_looked_at() -> None:
    """Anolis has a PCCS of one's own, as generic machines have: the same file, kept once."""
    assert render_qcnl(load_cloud("anolis")) == render_qcnl(load_cloud("generic"))
    others = [name for name in CLOUDS if name != "anolis"]
    found = {f"{name}.qcnl.conf": render_qcnl(load_cloud(name)) for name in others}
    assert_golden("clouds", found)


def test_azure_has_pck_certificates_from_thim_and_the_rest_from_intel() -> None:
    found = json.loads(render_qcnl(load_cloud("azure")))
    assert urlsplit(found["local_pck_url"]).hostname == METADATA_HOST
    assert urlsplit(found["pccs_url"]).hostname == "global.acccache.azure.net"
    assert urlsplit(found["collateral_service"]).hostname == "api.trustedservices.intel.com"
    asked = found["custom_request_options"]["get_cert"]
    assert asked["headers"] == {"metadata": "true"}
    assert asked["params"] == {"api-version": "2021-07-22-preview"}


def test_a_region_names_the_host() -> None:
    found = json.loads(render_qcnl(load_cloud("tencent"), region="gz"))
    assert urlsplit(found["pccs_url"]).hostname == "sgx-dcap-server-tc.gz.tencent.cn"


def test_a_service_of_one_s_own_takes_the_place_of_the_cloud_s() -> None:
    text = render_qcnl(load_cloud("tencent"), pccs="https://p:8081/sgx/certification/v4")
    found = json.loads(text)
    assert found["pccs_url"] == "https://p:8081/sgx/certification/v4/"
    assert "collateral_service" not in found


def test_beside_a_service_of_one_s_own_azure_s_pck_certificates_still_come_from_thim() -> None:
    url = "https://p:8081/sgx/certification/v4/"
    usual = json.loads(render_qcnl(load_cloud("azure")))
    found = json.loads(render_qcnl(load_cloud("azure"), pccs=url))
    assert found == usual | {"collateral_service": url}


@pytest.mark.parametrize(
    ("pccs", "says"),
    [
        ("http://pccs.example/sgx/certification/v4/", "https"),
        ("http://localhost:8081/sgx/certification/v4/", "https"),
        ("https://pccs.example/certification/v4/", "/sgx/"),
        ("https://api.trustedservices.intel.com/sgx/certification/v3/", "v4"),
        ("pccs.example", "https"),
        ("", "https"),
        ("https://[", "https"),
    ],
)
def test_a_service_that_would_not_do_is_refused(pccs: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        render_qcnl(load_cloud("generic"), pccs=pccs)
    assert says in str(caught.value.hint)


@pytest.mark.parametrize(
    ("name", "pccs"),
    [
        ("azure", None),
        ("generic", None),
        ("alibaba", "https://pccs.example/sgx/certification/v4/"),
    ],
)
def test_a_region_that_changes_nothing_is_refused(name: str, pccs: str | None) -> None:
    with pytest.raises(UsageError, match="changes nothing"):
        render_qcnl(load_cloud(name), region="cn-hangzhou", pccs=pccs)


@given(
    name=st.sampled_from(CLOUDS),
    region=st.none()
    | st.text(max_size=20)
    | st.from_regex(r"[a-z]{2}(-[a-z0-9]+)?", fullmatch=True),
    pccs=st.none()
    | st.text(max_size=40)
    | st.builds(
        "{}://{}/sgx/certification/v{}".format,
        st.sampled_from(["http", "https", "ftp"]),
        st.text(max_size=10),
        st.integers(0, 9),
    ),
)
def test_what_is_rendered_is_json_that_verifies_tls(
    name: str, region: str | None, pccs: str | None
) -> None:
    try:
        text = render_qcnl(load_cloud(name), region=region, pccs=pccs)
    except UsageError:
        return
    found = json.loads(text)
    assert found["use_secure_cert"] is True
    assert "/sgx/" in found["pccs_url"]
    for key in URLS:
        url = urlsplit(found.get(key, ""))
        assert url.scheme in ("", "https") or url.hostname == METADATA_HOST
    assert not any(fault.is_error for fault in lint_qcnl(text))
