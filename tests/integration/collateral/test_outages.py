"""The outage suite: what a collateral service can do, and what a key service does then.

Each case is one test, against real sockets through the whole key service, and one sentence in
docs/operations.md; the last test here looks for the sentence.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from sealserve.collateral.key import CollateralKey
from sealserve.endorsements.collateral import PART_LIMIT
from sealserve.errors import DeniedError, NetworkError
from sealserve.lab.authorities import FMSPC
from sealserve.lab.faults import Faults

PAGE = Path(__file__).parents[3] / "docs" / "operations.md"
SECRET = bytes.fromhex("5ea15e4ce0ff1cea5ea15e4ce0ff1cea")
KEY = CollateralKey("SGX", FMSPC, "platform", "standard")
HOUR = timedelta(hours=1)
MONTH = timedelta(days=31)  # past the end of what is issued today
CASES: set[str] = set()


def case(name):
    """The name under which the case has its sentence."""
    CASES.add(name)
    return lambda test: test


def refused(service, code, outcome="failed"):
    """The enclave gets nothing, and the record says why."""
    with pytest.raises((NetworkError, DeniedError)):
        service.ask()
    assert service.site.last == (outcome, code)


def released(service):
    assert service.ask() == SECRET
    assert service.site.last == ("released", "policy.allowed")


def goes_on_and_ends(service, code, outcome="failed"):
    """With what came when all was well: past its age, and until its end."""
    site = service.site
    site.clock.ahead += 2 * HOUR
    released(service)
    assert (site.cache.path / "locks" / KEY.name).read_bytes(), "no failure on record"
    site.clock.ahead += MONTH
    site.pccs.world = site.pccs.world.renew(now=site.clock())  # no less wrong
    refused(service, code, outcome)


def recovers(service):
    """Once the service is well, so is everything, after the pause."""
    site = service.site
    site.pccs.world = site.world.renew(now=site.clock())
    site.pccs.behave()
    site.clock.ahead += HOUR
    released(service)


@case("Slow")
def test_a_slow_service_is_waited_for_no_longer_than_its_deadline(site, pccs, start):
    with start(site) as service:
        pccs.spoil_only("qe/identity", lambda answer: None)
        refused(service, "collateral")
        recovers(service)
        pccs.spoil_only("tcb", lambda answer: None)
        goes_on_and_ends(service, "collateral")


@case("Down")
def test_while_the_service_is_down_what_there_is_goes_on_until_it_ends(site, pccs, start):
    with start(site) as service:
        released(service)
        pccs.stop()
        goes_on_and_ends(service, "collateral")
    with start(site) as again:  # nor does a restart bring anything back
        refused(again, "collateral")


@case("Garbage")
def test_garbage_is_never_used_and_takes_the_place_of_nothing(site, pccs, start):
    def garbage(answer):
        return replace(answer, body=b"<html>It works!</html>")

    with start(site) as service:
        pccs.spoil_only("tcb", garbage)
        refused(service, "TCB_INFO_FORMAT", "rejected")
        recovers(service)
        pccs.spoil_only("tcb", garbage)
        goes_on_and_ends(service, "TCB_INFO_FORMAT", "rejected")
        assert b"It works" not in b"".join(
            path.read_bytes() for path in site.cache.path.rglob("*.json")
        )


@case("Oversized")
def test_an_oversized_answer_is_not_read_to_its_end(site, pccs, start):
    endless = 1 << 40
    pccs.spoil_only(
        "tcb",
        lambda answer: replace(
            answer,
            body=bytes(2 * PART_LIMIT),
            headers=answer.headers | {"Content-Length": str(endless)},
        ),
    )
    with start(site) as service:
        refused(service, "collateral")
        assert "exceeds" in site.records()[-1]["explanation"][0]
        recovers(service)
        pccs.spoil_only("pckcrl", lambda answer: replace(answer, body=bytes(2 * PART_LIMIT)))
        goes_on_and_ends(service, "collateral")


@case("Lying about its length")
def test_an_answer_of_another_length_than_announced_is_none(site, pccs, start):
    def announce(difference):
        def lie(answer):
            length = {"Content-Length": str(len(answer.body) + difference)}
            return replace(answer, headers=answer.headers | length)

        return lie

    with start(site) as service:
        pccs.spoil_only("tcb", announce(+1000))
        refused(service, "collateral")
        recovers(service)
        pccs.spoil_only("tcb", announce(-1000))
        goes_on_and_ends(service, "TCB_INFO_FORMAT", "rejected")


@case("Another platform's TCB info")
def test_tcb_info_of_another_platform_is_as_none(site, pccs, start):
    with start(site) as service:
        pccs.misissue(Faults.WRONG_FMSPC)
        refused(service, "TCB_INFO_MISMATCH", "rejected")
        recovers(service)
        pccs.misissue(Faults.WRONG_FMSPC)
        goes_on_and_ends(service, "TCB_INFO_MISMATCH", "rejected")


@case("An expired CRL")
def test_an_expired_crl_is_refused_with_all_that_came_with_it(site, pccs, start):
    with start(site) as service:
        pccs.misissue(Faults.EXPIRED_CRLS)
        refused(service, "CRL_VALIDITY", "rejected")
        recovers(service)
        pccs.misissue(Faults.EXPIRED_CRLS)
        goes_on_and_ends(service, "CRL_VALIDITY", "rejected")


@case("Rolled-back TCB info")
def test_tcb_info_from_before_the_last_recovery_is_refused_though_it_is_valid(site, pccs, start):
    site.write_policy('tcb_statuses = ["OutOfDate"]\nadvisory_ids = ["INTEL-SA-01313"]')
    pccs.edition = "early"  # what is served after a TCB recovery
    with start(site) as service:
        released(service)
        pccs.edition = "standard"  # what was served before it
        site.clock.ahead += 2 * HOUR
        released(service)
        assert site.records()[-1]["claims"]["tcb_evaluation_data_number"] == 18
    (site.cache.path / "collateral" / f"{KEY.name}.json").unlink()
    with start(site) as again:
        refused(again, "COLLATERAL_ROLLBACK", "rejected")
    (site.cache.path / "evaluations.json").unlink()  # the operator's act
    site.clock.ahead += HOUR
    with start(site) as forgetful:
        released(forgetful)
        assert site.records()[-1]["claims"]["tcb_evaluation_data_number"] == 17


def test_the_grace_of_a_policy_carries_over_an_outage_and_is_on_record(site, pccs, start):
    site.write_policy("collateral_grace_hours = 24")
    with start(site) as service:
        released(service)
        assert site.records()[-1]["exceptions"] == []
        end = service.site.records()[-1]["claims"]["collateral_valid_until"]
        pccs.stop()
        site.clock.ahead += timedelta(days=30, hours=1)
        assert site.clock().isoformat() > end
        released(service)
        record = site.records()[-1]
        assert record["exceptions"] == ["for a test"]
        assert 0 < record["collateral_overdue_seconds"] < 24 * 3600
        site.clock.ahead += timedelta(days=1)
        refused(service, "collateral")


def test_each_case_has_its_sentence_in_the_operations_page():
    section = PAGE.read_text().partition("### Collateral and outages")[2].partition("\n### ")[0]
    sentences = dict(re.findall(r"^- \*\*(.+?)\*\*: (.+)$", section, re.MULTILINE))
    assert set(sentences) == CASES
    for name, sentence in sentences.items():
        assert re.fullmatch(r"[^.]+(\.[^ ][^.]*)*\.", sentence), f"{name}: not one sentence"
