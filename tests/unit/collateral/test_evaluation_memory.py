"""What was seen once is remembered: numbers rise, for each platform and edition by itself."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from sealserve.collateral.evaluations import EvaluationMemory
from sealserve.collateral.key import CollateralKey
from sealserve.errors import CollateralError
from sealserve.verifier import Evaluations

KEY = CollateralKey("SGX", bytes.fromhex("00606a000000"), "platform", "standard")
OTHER = CollateralKey("SGX", bytes(6), "processor", "standard")


@pytest.fixture
def memory(tmp_path):
    return EvaluationMemory(tmp_path)


def test_what_was_never_seen_is_zero(memory):
    assert memory.highest(KEY) == Evaluations(0, 0)


@pytest.mark.parametrize(
    ("second", "highest"),
    [
        (Evaluations(18, 18), Evaluations(18, 18)),
        (Evaluations(16, 16), Evaluations(17, 17)),
        (Evaluations(18, 16), Evaluations(18, 17)),
    ],
)
def test_each_number_rises_and_never_falls(memory, second, highest):
    memory.remember(KEY, Evaluations(17, 17), "intel")
    memory.remember(KEY, second, "intel")
    assert memory.highest(KEY) == highest


def test_another_process_reads_the_same(memory, tmp_path):
    memory.remember(KEY, Evaluations(17, 16), "intel")
    assert EvaluationMemory(tmp_path).highest(KEY) == Evaluations(17, 16)


def test_tees_platforms_and_editions_are_apart_and_cas_are_not(memory):
    memory.remember(KEY, Evaluations(17, 17), "intel")
    for other in (
        CollateralKey("TDX", KEY.fmspc, KEY.ca, KEY.update),
        CollateralKey(KEY.tee, KEY.fmspc, KEY.ca, "early"),
    ):
        assert memory.highest(other) == Evaluations(0, 0)
    same = CollateralKey(KEY.tee, KEY.fmspc, "processor", KEY.update)
    assert memory.highest(same) == Evaluations(17, 17)


def test_the_identity_of_a_tee_is_that_of_all_its_platforms(memory):
    memory.remember(KEY, Evaluations(17, 18), "intel")
    assert memory.highest(OTHER) == Evaluations(0, 18)
    memory.remember(OTHER, Evaluations(16, 19), "intel")
    assert memory.highest(KEY) == Evaluations(17, 19)


def test_one_row_is_given_up_and_what_others_saw_stays(memory):
    memory.remember(KEY, Evaluations(18, 19), "intel")
    memory.remember(OTHER, Evaluations(17, 18), "intel")
    assert memory.forget(KEY) == Evaluations(18, 19)
    assert memory.highest(KEY) == Evaluations(0, 18)
    assert memory.highest(OTHER) == Evaluations(17, 18)
    assert memory.forget(KEY) is None


def test_a_number_that_rises_is_logged_with_its_source_and_the_first_is_not(memory, caplog):
    memory.remember(KEY, Evaluations(17, 17), "intel")
    assert not caplog.records
    memory.remember(KEY, Evaluations(18, 17), "https://pccs.example.com")
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    for fact in ("evaluation_number_raised", "old=17", "new=18", "pccs.example.com"):
        assert fact in record.message


def test_what_many_remember_at_once_is_all_there(tmp_path):
    keys = [CollateralKey("SGX", n.to_bytes(6), "platform", "standard") for n in range(24)]

    def remember(key):
        EvaluationMemory(tmp_path).remember(key, Evaluations(17, 17), "intel")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(remember, keys))
    assert {EvaluationMemory(tmp_path).highest(key).tcb_info for key in keys} == {17}


def test_what_is_no_news_is_not_written(memory):
    memory.remember(KEY, Evaluations(17, 17), "intel")
    before = memory.path.stat().st_ino
    memory.remember(KEY, Evaluations(17, 16), "intel")
    assert memory.path.stat().st_ino == before


@pytest.mark.parametrize(
    "row",
    [
        '{"tee": "SEV", "fmspc": "00606a000000", "update": "standard"}',
        '{"tee": "SGX", "fmspc": "00606a", "update": "standard"}',
        '{"tee": "SGX", "fmspc": "00606a000000", "update": "standard", "tcb_info": -1}',
        '{"tee": "SGX", "fmspc": "00606a000000", "update": "standard", "tcb_info": 17}',
    ],
)
def test_a_memory_with_a_row_that_is_none_is_an_error(memory, row):
    memory.path.write_text(f'{{"format": "sealserve evaluations 1", "highest": [{row}]}}')
    with pytest.raises(CollateralError, match="cannot be read"):
        memory.highest(KEY)
