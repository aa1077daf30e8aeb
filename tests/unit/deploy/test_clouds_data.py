"""What is known of each cloud: whole, sourced, in accord with what collateral is fetched by."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from sealserve.deploy.clouds import CLOUDS, common, load_cloud
from sealserve.deploy.clouds.endings import days_left, endings, is_near, sentence
from sealserve.deploy.clouds.model import METADATA_HOST, Cloud, Fact, Service
from sealserve.deploy.clouds.rows import cloud_rows, common_rows
from sealserve.endorsements.pccs.presets import PRESETS
from sealserve.errors import UsageError

SERVICE = {"pccs_url": "https://pccs.example/sgx/certification/v4/", "source": "somewhere"}


@pytest.mark.parametrize("name", CLOUDS)
def test_every_fact_of_a_cloud_has_a_source(name: str) -> None:
    rows = [*cloud_rows(load_cloud(name)), *common_rows()]
    assert {"machines", "collateral", "devices", "ports", "software"} <= {row.area for row in rows}
    assert all(row.source and row.value for row in rows)


@pytest.mark.parametrize("name", CLOUDS)
def test_a_name_stands_once_in_its_area(name: str) -> None:
    rows = [(row.area, row.name, row.value) for row in cloud_rows(load_cloud(name))]
    assert len(rows) == len(set(rows))


@pytest.mark.parametrize("name", CLOUDS)
def test_no_address_of_a_cloud_is_plain_http_but_the_machine_s_own(name: str) -> None:
    for row in (*cloud_rows(load_cloud(name)), *common_rows()):
        assert row.value.count("http://") == row.value.count(f"http://{METADATA_HOST}/")


@pytest.mark.parametrize(
    ("cloud", "preset"),
    [
        ("azure", "azure"),
        ("alibaba", "alibaba"),
        ("tencent", "tencent"),
        ("bytedance", "bytedance"),
    ],
)
def test_the_addresses_are_those_that_collateral_is_fetched_from(cloud: str, preset: str) -> None:
    known = PRESETS[preset].sgx.base_url
    assert load_cloud(cloud).service.pccs_url == f"{known}/"


def test_what_comes_from_intel_comes_from_its_version_4() -> None:
    known = f"{PRESETS['intel'].sgx.base_url}/"
    named = {load_cloud(name).service.collateral_url for name in CLOUDS}
    assert named == {None, known}


def test_the_regions_of_tencent_are_those_of_its_service() -> None:
    regions = load_cloud("tencent").regions
    assert regions is not None
    assert set(regions.names) == PRESETS["tencent"].regions


@pytest.mark.parametrize(
    ("vcpus", "epc"),
    [(1, 4), (2, 8), (4, 16), (8, 32), (16, 64), (24, 128), (32, 192), (48, 256)],
)
def test_azure_s_machines_have_the_epc_that_is_published(vcpus: int, epc: int) -> None:
    sizes = {size.name: size for size in load_cloud("azure").sizes}
    assert sizes[f"Standard_DC{vcpus}s_v3"].epc == f"{epc} GiB"


@pytest.mark.parametrize(
    ("cloud", "says"),
    [
        ("alibaba", "list"),
        ("tencent", "version 4"),
        ("bytedance", "version 4"),
        ("azure", "DCsv3 today"),
        ("generic", "neither"),
        ("anolis", "older kernels"),
    ],
)
def test_what_no_document_confirms_is_marked(cloud: str, says: str) -> None:
    doubts = [row.unconfirmed for row in cloud_rows(load_cloud(cloud)) if row.unconfirmed]
    assert any(says in doubt for doubt in doubts)


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"pccs_url": "http://pccs.example/sgx/certification/v4/"}, id="plain http"),
        pytest.param({"pccs_url": "https://pccs.example/certification/v4/"}, id="no /sgx/"),
        pytest.param({"pccs_url": "https://pccs.example/sgx/certification/v4"}, id="no slash"),
        pytest.param({"pccs_url": "https://a@b/sgx/certification/v4/"}, id="a user"),
        pytest.param({"collateral_url": "http://x/sgx/certification/v4/"}, id="collateral"),
        pytest.param({"local_pck_url": "http://10.0.0.100/sgx/"}, id="another local host"),
        pytest.param({"local_pck_url": "http://169.254.169.254.example/"}, id="a longer host"),
        pytest.param({"unknown": "key"}, id="unknown key"),
        pytest.param({"source": ""}, id="no source"),
        pytest.param({"own": "yes"}, id="wrong type"),
    ],
)
def test_a_service_that_would_not_do_is_no_service(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Service.model_validate(SERVICE | wrong)


def test_a_fact_without_a_source_is_none() -> None:
    with pytest.raises(ValidationError):
        Fact.model_validate({"name": "a", "value": "b"})


def test_a_cloud_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        load_cloud("azure").title = "another"  # type: ignore[misc]


def test_an_unknown_cloud_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError) as caught:
        load_cloud("../common")
    assert "azure" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("cloud", "region", "found"),
    [
        ("tencent", None, "sh"),
        ("tencent", "bj", "bj"),
        ("alibaba", None, "cn-hangzhou"),
        ("alibaba", "cn-beijing", "cn-beijing"),
        ("azure", "weu", "weu"),
        ("generic", None, ""),
    ],
)
def test_a_region_is_the_one_named_or_the_default(
    cloud: str, region: str | None, found: str
) -> None:
    assert load_cloud(cloud).region(region) == found


@pytest.mark.parametrize(
    ("cloud", "region"),
    [
        pytest.param("tencent", "hk", id="not one of all"),
        pytest.param("alibaba", "cn-hangzhou.evil.example/", id="another host"),
        pytest.param("alibaba", "", id="empty"),
        pytest.param("alibaba", "a" * 41, id="too long"),
        pytest.param("alibaba", "CN", id="capitals"),
        pytest.param("generic", "eu", id="no regions"),
    ],
)
def test_a_region_that_a_cloud_has_not_is_refused(cloud: str, region: str) -> None:
    with pytest.raises(UsageError):
        load_cloud(cloud).region(region)


def azure_sentences(now: datetime) -> list[str]:
    cloud: Cloud = load_cloud("azure")
    return [sentence(each, now) for each in endings(cloud)]


def test_what_is_over_is_said_to_be_over_and_what_comes_to_come() -> None:
    said = azure_sentences(datetime(2026, 11, 29, tzinfo=UTC))
    assert "DCsv2: ended on 2026-06-30 (152 days ago); then DCesv6 (TDX), DCasv6 (SEV-SNP)" in said
    closed = "has been closed to new subscriptions since 2026-11-01 (28 days ago)"
    assert any(closed in each for each in said)
    assert any("DCsv3 and DCdsv3: ends on 2029-10-31 (in 1067 days)" in each for each in said)


def test_before_the_day_it_is_still_to_come() -> None:
    said = azure_sentences(datetime(2026, 6, 30, 23, tzinfo=UTC))
    assert any("DCsv2: ends on 2026-06-30 (in 0 days)" in each for each in said)
    assert any("closes to new subscriptions on 2026-11-01" in each for each in said)


@pytest.mark.parametrize(
    ("now", "near"),
    [
        ("2028-10-30", False),
        ("2028-10-31", True),
        ("2029-10-31", True),
        ("2029-11-01", False),
    ],
)
def test_a_year_before_the_end_it_is_near(now: str, near: bool) -> None:
    moment = datetime.fromisoformat(now).replace(tzinfo=UTC)
    last = endings(load_cloud("azure"))[-1]
    assert last.what == "DCsv3 and DCdsv3"
    assert is_near(last, moment) == near


def test_days_are_those_of_utc() -> None:
    last = endings(load_cloud("azure"))[-1]
    assert days_left(last, datetime.fromisoformat("2029-10-31T23:30:00-02:00")) == -1


def test_dates_are_in_their_order() -> None:
    dates = [each.date for each in endings(load_cloud("azure"))]
    assert dates == sorted(dates)
    assert len(dates) == len(load_cloud("azure").endings) + len(common().endings)
