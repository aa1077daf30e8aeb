"""What one process gets of collateral: verified, never rolled back, one fetch for all."""

from __future__ import annotations

import base64
import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from sealserve.collateral.attempts import FIRST_PAUSE
from sealserve.collateral.held import RESPITE
from sealserve.collateral.key import CollateralKey
from sealserve.collateral.source import CollateralFolder
from sealserve.endorsements.collateral import FILE_NAMES
from sealserve.errors import CollateralError, VerificationError
from sealserve.lab.authorities import FMSPC
from sealserve.lab.faults import Faults
from sealserve.lab.world import World
from sealserve.verifier import Code, Platform

SGX, TDX = Platform("SGX", FMSPC, "platform"), Platform("TDX", FMSPC, "platform")
KEY = CollateralKey.of(SGX, "standard")
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def test_what_was_fetched_is_kept_and_the_next_process_asks_nobody(make_shared, source, now):
    first = make_shared().obtain(SGX, now)
    second = make_shared().obtain(SGX, now + 59 * MINUTE)
    assert source.asked == [SGX]
    assert second.fetched_at == now
    assert second.verified == first.verified


def test_each_kind_of_tee_has_collateral_of_its_own(make_shared, source, now):
    shared = make_shared()
    assert [shared.obtain(each, now).verified.tee for each in (SGX, TDX)] == ["SGX", "TDX"]
    assert source.asked == [SGX, TDX]


def test_early_data_is_kept_beside_the_standard(make_shared, source, now):
    standard = make_shared().obtain(SGX, now)
    source.update = "early"
    early = make_shared(update="early").obtain(SGX, now)
    numbers = [held.verified.tcb_info.evaluation_data_number for held in (standard, early)]
    assert numbers[0] < numbers[1]
    source.update = "standard"
    make_shared().obtain(SGX, now + 2 * HOUR)  # early data does not make the standard a rollback


@pytest.mark.parametrize("age", [HOUR, 10 * DAY], ids=str)
def test_what_reached_its_age_is_fetched_again(make_shared, source, world, now, age):
    make_shared().obtain(SGX, now)
    source.world = world.renew(now=now + age)
    held = make_shared().obtain(SGX, now + age)
    assert len(source.asked) == 2
    assert held.fetched_at >= now + age


def test_the_folder_of_the_operator_is_read_by_each_process(make_shared, world, tmp_path, now):
    world.save(tmp_path / "lab")
    folder = CollateralFolder(tmp_path / "lab" / "collateral")
    make_shared(source=folder).obtain(SGX, now)
    world.renew(now=now + HOUR).publish(tmp_path / "lab")
    held = make_shared(source=folder).obtain(SGX, now + HOUR)
    assert held.verified.tcb_info.issue_date > now - HOUR


def spoil(folder, change):
    path = folder.path / "collateral" / f"{KEY.name}.json"
    entry = json.loads(path.read_text())
    change(entry)
    path.write_text(json.dumps(entry))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda entry: entry["parts"].update(tcb_info="e30="), id="altered"),
        pytest.param(
            lambda entry: entry["parts"].update(pck_crl=entry["parts"]["root_ca_crl"]), id="swapped"
        ),
        pytest.param(lambda entry: entry.update(format="another"), id="foreign"),
        pytest.param(lambda entry: entry.update(fetched_at="2026-06-01T13:00:01Z"), id="future"),
    ],
)
def test_what_is_on_the_disk_is_verified_before_its_use_and_else_fetched_anew(
    make_shared, source, folder, now, change
):
    make_shared().obtain(SGX, now)
    spoil(folder, change)
    assert make_shared().obtain(SGX, now).fetched_at < now + MINUTE
    assert len(source.asked) == 2
    make_shared().obtain(SGX, now + MINUTE)
    assert len(source.asked) == 2, "the disk has been mended"


def test_collateral_of_another_root_is_never_met(make_shared, source, folder, now):
    """Even in the right place: the bytes are another world's, and good there."""
    make_shared().obtain(SGX, now)
    other = World.create(now=now).collateral()
    spoil(folder, lambda entry: entry.update(parts=_encoded(other)))
    make_shared().obtain(SGX, now)
    assert len(source.asked) == 2


def _encoded(collateral):
    return {part: base64.b64encode(getattr(collateral, part)).decode() for part in FILE_NAMES}


class TestFailure:
    """When fetching fails: what there is goes on while it is good; the service is left in peace."""

    def test_what_is_good_goes_on_in_use_and_is_asked_for_after_a_pause(
        self, make_shared, source, now, caplog
    ):
        shared = make_shared()
        held = shared.obtain(SGX, now)
        source.go_down()
        later = shared.obtain(SGX, now + HOUR, present=held)
        assert later.verified is held.verified
        assert "event=collateral_fetch_failed" in caplog.text
        assert "present_valid_until=" in caplog.text
        assert later.is_young(now + HOUR + RESPITE)  # nobody waits for the next attempt
        assert not later.is_young(now + HOUR + FIRST_PAUSE + RESPITE + MINUTE)
        assert FIRST_PAUSE <= later.renew_from - (now + HOUR) < FIRST_PAUSE + MINUTE

    def test_a_process_that_begins_in_an_outage_goes_on_with_what_the_disk_has(
        self, make_shared, source, now
    ):
        make_shared().obtain(SGX, now)
        source.go_down()
        assert make_shared().obtain(SGX, now + 29 * DAY).fetched_at == now

    def test_past_its_end_nothing_goes_on(self, make_shared, source, now):
        shared = make_shared()
        held = shared.obtain(SGX, now)
        source.go_down()
        with pytest.raises(CollateralError, match="nobody there"):
            shared.obtain(SGX, held.verified.valid_until + timedelta(seconds=1), present=held)

    def test_past_its_end_it_goes_on_within_the_grace_alone(self, make_shared, source, now):
        shared = make_shared()
        end = shared.obtain(SGX, now).verified.valid_until
        source.go_down()
        assert shared.obtain(SGX, end + HOUR, grace=2 * HOUR).verified.valid_until == end
        with pytest.raises(CollateralError):
            shared.obtain(SGX, end + 3 * HOUR, grace=2 * HOUR)
        with pytest.raises(CollateralError):
            shared.obtain(SGX, end + HOUR)

    def test_a_failure_is_told_to_every_process_until_the_pause_is_over(
        self, make_shared, source, now
    ):
        source.go_down()
        for _ in range(5):
            with pytest.raises(CollateralError, match="nobody there") as caught:
                make_shared().obtain(SGX, now)
            assert caught.value.hint == "is it up?"
        assert len(source.asked) == 1
        source.come_back()
        make_shared().obtain(SGX, now + FIRST_PAUSE + timedelta(seconds=1))
        assert len(source.asked) == 2

    def test_a_folder_is_read_again_without_a_pause(self, make_shared, world, tmp_path, now):
        world.save(tmp_path / "lab")
        shared = make_shared(source=CollateralFolder(tmp_path / "lab" / "collateral"))
        crl = tmp_path / "lab" / "collateral" / "pck.crl"
        crl.unlink()
        with pytest.raises(CollateralError, match="no CRLs"):
            shared.obtain(SGX, now)
        world.publish(tmp_path / "lab")
        shared.obtain(SGX, now)

    def test_what_does_not_verify_is_a_failure_too(self, make_shared, source, world, now):
        shared = make_shared()
        held = shared.obtain(SGX, now)
        source.world = World.create(now=now)  # of another root
        assert shared.obtain(SGX, now + HOUR, present=held).verified is held.verified

    def test_what_did_not_verify_is_told_by_its_code(self, make_shared, source, now):
        source.world = World.create(now=now)
        codes = set()
        for _ in range(2):  # from the verifier, and from the record of it
            with pytest.raises(VerificationError) as caught:
                make_shared().obtain(SGX, now)
            codes.add(caught.value.code)
        assert codes == {Code.CRL_SIGNATURE}

    def test_collateral_for_another_platform_is_none(self, make_shared, now):
        other = Platform("SGX", bytes(6), "platform")
        with pytest.raises(VerificationError) as caught:
            make_shared().obtain(other, now)
        assert caught.value.code == Code.TCB_INFO_MISMATCH

    def test_collateral_of_another_ca_is_none(self, make_shared, now):
        with pytest.raises(VerificationError) as caught:
            make_shared().obtain(Platform("SGX", FMSPC, "processor"), now)
        assert caught.value.code == Code.CRL_MISSING

    def test_a_disk_that_takes_nothing_is_logged_and_stops_nobody(
        self, make_shared, source, folder, now, caplog
    ):
        (folder.path / "collateral" / f"{KEY.name}.json").mkdir()
        with caplog.at_level(logging.WARNING):
            make_shared().obtain(SGX, now)
        assert "event=collateral_not_kept" in caplog.text


class TestRollback:
    """Older evaluation data than was seen once is refused, by whoever saw it."""

    @pytest.fixture
    def after_recovery(self, make_shared, source, now):
        """The service has served what comes after a TCB recovery, and turns back."""
        source.update = "early"
        make_shared().obtain(SGX, now)
        source.update = "standard"

    def refused(self, shared, now, **options):
        with pytest.raises(VerificationError) as caught:
            shared.obtain(SGX, now, **options)
        return caught.value.code

    def test_it_is_refused_by_the_next_process_too(self, make_shared, after_recovery, folder, now):
        (folder.path / "collateral" / f"{KEY.name}.json").unlink()
        assert self.refused(make_shared(), now) == Code.COLLATERAL_ROLLBACK

    def test_what_is_newer_goes_on_while_the_service_serves_what_is_older(
        self, make_shared, after_recovery, now
    ):
        held = make_shared().obtain(SGX, now + 2 * HOUR)
        assert held.verified.tcb_info.evaluation_data_number > 17

    def test_it_is_refused_from_the_disk_too(self, make_shared, source, folder, now):
        make_shared().obtain(SGX, now)
        older = (folder.path / "collateral" / f"{KEY.name}.json").read_bytes()
        source.update = "early"
        make_shared().obtain(SGX, now + HOUR)
        (folder.path / "collateral" / f"{KEY.name}.json").write_bytes(older)
        source.go_down()
        with pytest.raises(CollateralError):
            make_shared().obtain(SGX, now + HOUR)

    def test_what_was_not_verified_is_not_remembered(self, make_shared, source, folder, now):
        source.world = World.create(now=now, faults=Faults.TAMPERED_TCB_INFO)  # number + 1
        with pytest.raises(VerificationError):
            make_shared().obtain(SGX, now)
        assert not (folder.path / "evaluations.json").exists()

    def test_deleting_the_memory_accepts_it_again(self, make_shared, after_recovery, folder, now):
        (folder.path / "evaluations.json").unlink()
        (folder.path / "collateral" / f"{KEY.name}.json").unlink()
        make_shared().obtain(SGX, now)

    @pytest.mark.parametrize("data", [b"", b"{}", b'{"format":"x"}', b"\xff"], ids=repr)
    def test_a_memory_that_cannot_be_read_is_an_error_and_not_empty(
        self, make_shared, folder, now, data
    ):
        (folder.path / "evaluations.json").write_bytes(data)
        with pytest.raises(CollateralError, match=r"evaluations\.json") as caught:
            make_shared().obtain(SGX, now)
        assert "copy" in caught.value.hint

    def test_a_memory_that_cannot_be_written_lets_nothing_through(
        self, make_shared, folder, now, monkeypatch
    ):
        def full(*arguments, **options):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("sealserve.collateral.evaluations.write_file", full)
        with pytest.raises(CollateralError, match="cannot write"):
            make_shared().obtain(SGX, now)


def test_of_many_who_want_the_same_at_once_one_asks(make_shared, source, now):
    source.stalled["SGX"] = threading.Event()
    everybody = threading.Barrier(8)

    def want():
        everybody.wait()
        return make_shared().obtain(SGX, now)

    with ThreadPoolExecutor(8) as threads:
        answers = [threads.submit(want) for _ in range(8)]
        while not source.asked:
            pass
        source.stalled["SGX"].set()
        assert len({answer.result().verified.valid_until for answer in answers}) == 1
    assert len(source.asked) == 1
