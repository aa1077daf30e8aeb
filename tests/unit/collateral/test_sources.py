"""A source is a folder, a file or a service, by what its text is."""

from __future__ import annotations

import json

import pytest

from sealserve.collateral.source import (
    CollateralFile,
    CollateralFolder,
    CollateralService,
    parse_source,
)
from sealserve.endorsements.collateral import FILE_NAMES
from sealserve.errors import CollateralError, ConfigError, FormatError, UsageError
from sealserve.lab.authorities import FMSPC
from sealserve.verifier import Platform

PLATFORM = Platform("SGX", FMSPC, "platform")


@pytest.fixture
def place(tmp_path, world, monkeypatch):
    """A folder with a folder of collateral and a file of it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "collateral").mkdir()
    for name, data in world.collateral().to_files().items():
        (tmp_path / "collateral" / name).write_bytes(data)
    (tmp_path / "collateral.json").write_bytes(world.collateral().to_json())
    return tmp_path


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("collateral", CollateralFolder),
        ("./collateral", CollateralFolder),
        ("collateral.json", CollateralFile),
    ],
)
def test_what_is_there_is_read(place, world, text, kind):
    source = parse_source(text)
    assert isinstance(source, kind)
    assert (source.name, source.is_local, source.remarks) == (text.removeprefix("./"), True, ())
    assert source.collateral(PLATFORM) == world.collateral()


@pytest.mark.parametrize(
    "text", ["intel", "azure", "alibaba:cn-hangzhou", "https://pccs.example:8081"]
)
def test_urls_and_known_names_are_services_even_where_a_file_has_the_name(place, text):
    (place / "intel").write_text("")
    source = parse_source(text)
    assert isinstance(source, CollateralService)
    assert (source.name, source.is_local) == (text, False)
    assert isinstance(parse_source("./intel"), CollateralFile)


def test_what_is_to_be_known_about_a_service_is_said():
    assert "older" in parse_source("azure").remarks[0]


@pytest.mark.parametrize(
    ("text", "error", "told"),
    [
        pytest.param("nowhere", CollateralError, "no such folder", id="nothing"),
        pytest.param("inteI", CollateralError, "no such folder", id="a typo"),
        pytest.param("http://pccs.example", ConfigError, "https", id="an unsafe URL"),
        pytest.param("alibaba", ConfigError, "region", id="a service without its region"),
    ],
)
def test_what_is_no_source_is_told(place, text, error, told):
    with pytest.raises(error, match=told):
        parse_source(text)


@pytest.mark.parametrize("option", ["ca_file", "subscription_key_file"])
def test_options_of_services_are_refused_for_files(place, option):
    with pytest.raises(UsageError, match="no service"):
        parse_source("collateral", **{option: place / "x"})


def test_a_folder_is_read_each_time(place, world, now):
    source = parse_source("collateral")
    source.collateral(PLATFORM)
    newer = world.renew(now=now.replace(day=2)).collateral()
    (place / "collateral" / "tcb_info.json").write_bytes(newer.tcb_info)
    assert source.collateral(PLATFORM).tcb_info == newer.tcb_info


@pytest.mark.parametrize("name", ["pck.crl", "root_ca.crl"])
def test_a_crl_that_a_folder_lacks_is_empty_and_the_verifier_decides(place, name):
    (place / "collateral" / name).unlink()
    assert b"" in parse_source("collateral").collateral(PLATFORM).to_files().values()


@pytest.mark.parametrize("name", sorted(set(FILE_NAMES.values()) - {"pck.crl", "root_ca.crl"}))
def test_any_other_file_that_a_folder_lacks_makes_it_none(place, name):
    (place / "collateral" / name).unlink()
    with pytest.raises(CollateralError, match=name):
        parse_source("collateral").collateral(PLATFORM)
    assert CollateralFolder(place / "collateral").missing() == [name]


def test_a_part_that_is_too_large_makes_a_folder_none(place):
    (place / "collateral" / "tcb_info.json").write_bytes(bytes((1 << 20) + 1))
    with pytest.raises(CollateralError, match="larger"):
        parse_source("collateral").collateral(PLATFORM)


@pytest.mark.parametrize(
    ("text", "error"),
    [("{}", CollateralError), ("[]", FormatError), (json.dumps({"tcb_info": 7}), FormatError)],
)
def test_a_file_of_something_else_is_none(place, text, error):
    (place / "collateral.json").write_text(text)
    with pytest.raises(error):
        parse_source("collateral.json").collateral(PLATFORM)
