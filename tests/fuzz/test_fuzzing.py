"""The fuzzer's own parts: its inputs are what they say, and its judge convicts the guilty alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuzz.cost import BYTES_LIMIT, forget, peak_bytes
from fuzz.judge import judge
from fuzz.minimise import escape, minimise
from fuzz.target import Target
from fuzz.targets import TARGETS
from sealserve.endorsements.chain import CHAIN_LIMIT
from sealserve.errors import FormatError

MIB = 1 << 20
# `cryptography` warns of oddities (a serial number of zero, say) that are no concern of ours.
pytestmark = pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")


def refusing(data: bytes) -> None:
    raise FormatError("no")


def escaping(data: bytes) -> None:
    if b"!" in data:
        raise KeyError("escaped")


def allocating(data: bytes) -> None:
    bytearray(int.from_bytes(data, "big"))


def after(function, lines: int) -> int:
    return function.__code__.co_firstlineno + lines


def target(run, *seeds: bytes) -> Target:
    return Target(run, (FormatError,), lambda: list(seeds))


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_accepts_one_of_its_seeds_and_none_escapes(name: str) -> None:
    chosen = TARGETS[name]
    for seed in chosen.seeds():
        assert escape(chosen.run, chosen.refusals, seed) is None
    chosen.run(chosen.seeds()[0])


@pytest.mark.parametrize("name", sorted(set(TARGETS) - {"policy", "ra-config"}))
def test_no_hostile_input_escapes(name: str) -> None:
    chosen = TARGETS[name]
    for what, data in chosen.hostile().items():
        forget()
        assert escape(chosen.run, chosen.refusals, data) is None, what


def test_hostile_chains_are_as_large_as_their_parser_allows() -> None:
    sizes = [len(data) for data in TARGETS["chain"].hostile().values()]
    assert max(sizes) <= CHAIN_LIMIT
    assert min(sizes) > CHAIN_LIMIT * 3 // 4


def test_a_refusal_is_no_escape_and_another_error_is() -> None:
    assert escape(refusing, (FormatError,), b"") is None
    assert escape(refusing, (), b"") == ("FormatError", __file__, after(refusing, 1))
    assert escape(escaping, (FormatError,), b"a!") == ("KeyError", __file__, after(escaping, 2))


def test_an_escape_is_made_small_and_still_escapes() -> None:
    data = b"some text before it ! and after it" * 20
    assert minimise(data, lambda shorter: escape(escaping, (), shorter) is not None) == b"!"


@pytest.mark.parametrize("size", [1, 8, 40])
def test_memory_is_what_the_input_makes_it_hold(size: int) -> None:
    held = peak_bytes(allocating, (size * MIB).to_bytes(4, "big"))
    assert size * MIB <= held < (size + 1) * MIB


def test_the_judge_finds_nothing_wrong_with_the_innocent(tmp_path: Path) -> None:
    verdict = judge(target(refusing, b"a", b"b"), tmp_path)
    assert (verdict.inputs, verdict.faults) == (2, [])


def test_the_judge_convicts_an_escape_and_keeps_it_small(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "found").write_bytes(b"something !")
    (fault,) = judge(target(escaping, b"a"), tmp_path).faults
    assert "KeyError escapes from test_fuzzing.py" in fault
    assert (tmp_path / "minimal-corpus-found").read_bytes() == b"!"


def test_the_judge_convicts_what_holds_too_much(tmp_path: Path) -> None:
    greedy = (BYTES_LIMIT + 1).to_bytes(4, "big")
    (fault,) = judge(target(allocating, b"\1", greedy), tmp_path).faults
    assert fault == "seed 1: 16.0 MiB of memory"
