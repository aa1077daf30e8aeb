"""Platforms that were seen are noted by their versions, once a day, never by who they are."""

from __future__ import annotations

import dataclasses
import itertools
from datetime import timedelta

import pytest

from sealserve.collateral import sightings
from sealserve.collateral.sightings import PlatformTcb, Sightings, tcb_of
from sealserve.errors import ConfigError
from sealserve.evidence.quote import parse_quote, serialize_quote
from sealserve.evidence.report import SgxReport
from sealserve.evidence.td_report import TdReport
from sealserve.lab import levels
from sealserve.lab.authorities import FMSPC
from sealserve.verifier import Claims, Platform, verify

REPORT = SgxReport(
    cpu_svn=bytes(16),
    misc_select=0,
    isv_ext_prod_id=bytes(16),
    attributes=bytes.fromhex("0500000000000000e700000000000000"),
    mr_enclave=b"\x11" * 32,
    mr_signer=b"\x22" * 32,
    config_id=bytes(64),
    isv_prod_id=7,
    isv_svn=3,
    config_svn=0,
    isv_family_id=bytes(16),
    report_data=b"\x33" * 64,
)
TCB = PlatformTcb(Platform("SGX", FMSPC, "platform"), levels.UP_TO_DATE.component_svns, 13, 8, ())


@pytest.fixture
def seen(tmp_path):
    return Sightings(tmp_path)


@pytest.fixture
def quote(world):
    return world.quote(REPORT)


@pytest.fixture
def claims(world, quote, now) -> Claims:
    return verify(quote, world.collateral(), trust_root=world.root_ca_pem, now=now)


def test_a_platform_is_its_versions(seen, quote, claims, now):
    seen.saw(quote, claims)
    assert seen.all() == {TCB: now.replace(hour=0)}


def test_nothing_that_tells_a_machine_or_an_enclave_is_written(seen, quote, claims):
    seen.saw(quote, claims)
    text = seen.path.read_text()
    standing = claims.standing
    for secret in (standing.ppid, standing.platform_instance_id, REPORT.mr_enclave):
        assert secret.hex() not in text
    assert set(TCB.__slots__) == {
        "platform", "component_svns", "pce_svn", "qe_isv_svn", "tee_tcb_svns",
    }  # fmt: skip


def test_the_same_on_the_same_day_is_written_once(seen, quote, claims, tmp_path, now):
    seen.saw(quote, claims)
    before = seen.path.stat().st_ino
    seen.saw(quote, claims)
    Sightings(tmp_path).saw(quote, claims)  # another process
    assert seen.path.stat().st_ino == before
    tomorrow = dataclasses.replace(claims, verified_at=now + timedelta(days=1))
    seen.saw(quote, tomorrow)
    assert seen.all() == {TCB: now.replace(hour=0) + timedelta(days=1)}


def test_a_chain_in_any_order_names_the_same_platform(quote, world, now):
    """It verifies in any, so whoever sends it chooses."""
    parsed = parse_quote(quote)
    begin = b"-----BEGIN CERTIFICATE-----"
    _, *certificates = parsed.certification_data.rstrip(b"\x00").split(begin)
    for order in itertools.permutations(certificates):
        chain = b"".join(begin + each.rstrip() + b"\n" for each in order)
        shuffled = serialize_quote(dataclasses.replace(parsed, certification_data=chain))
        verify(shuffled, world.collateral(), trust_root=world.root_ca_pem, now=now)
        assert tcb_of(shuffled) == TCB


def test_a_trust_domain_brings_the_versions_of_its_module(world):
    report = TdReport(
        **{
            field.name: bytes(48)
            for field in dataclasses.fields(TdReport)
            if field.name.startswith("mr_")
        }
        | {
            "tee_tcb_svn": bytes(16),
            "seam_attributes": bytes(8),
            "td_attributes": bytes(8),
            "xfam": bytes(8),
            "rtmrs": (bytes(48),) * 4,
            "report_data": bytes(64),
            "tee_tcb_svn_2": None,
            "mr_service_td": None,
        }
    )
    found = tcb_of(world.td_quote(report))
    assert found.platform.tee == "TDX"
    assert [len(svn) for svn in found.tee_tcb_svns] == [16]


def test_what_is_damaged_begins_anew_and_is_told_to_who_asks(seen, quote, claims, caplog):
    seen.path.write_text("{")
    with pytest.raises(ConfigError, match=r"platforms\.json") as caught:
        seen.all()
    assert "delete it" in caught.value.hint
    seen.saw(quote, claims)
    assert "event=platforms_forgotten" in caplog.text
    assert list(seen.all()) == [TCB]


def test_what_cannot_be_noted_is_logged_and_stops_nobody(quote, claims, tmp_path, caplog):
    Sightings(tmp_path / "nowhere").saw(quote, claims)
    assert "event=platform_not_noted" in caplog.text


def test_the_number_is_bounded_and_what_was_not_seen_for_longest_goes(
    seen, quote, claims, now, monkeypatch
):
    monkeypatch.setattr(sightings, "MAX_PLATFORMS", 2)
    for days in range(3):
        other = dataclasses.replace(TCB, pce_svn=days)
        seen._note(other, now + timedelta(days=days))
    assert [tcb.pce_svn for tcb in seen.all()] == [2, 1]
