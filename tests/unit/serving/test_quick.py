"""What is taken to be quick is what was quick lately."""

from __future__ import annotations

import numpy as np

from sealserve.serving.quick import QUICK_SECONDS, SMALL_BYTES, Expectation, is_small

QUICK, SLOW = QUICK_SECONDS / 10, QUICK_SECONDS * 10


def test_nothing_is_quick_before_it_has_been() -> None:
    expected = Expectation()
    assert not expected.quick
    expected.learn(QUICK)
    assert expected.quick


def test_what_becomes_slow_is_quick_again_only_after_a_while() -> None:
    expected = Expectation()
    expected.learn(QUICK)
    expected.learn(SLOW)
    assert not expected.quick
    expected.learn(QUICK)
    assert not expected.quick
    for _ in range(20):
        expected.learn(QUICK)
    assert expected.quick


def test_inputs_are_small_together() -> None:
    half = np.zeros(SMALL_BYTES // 2, np.uint8)
    assert is_small({"x": half, "y": half})
    assert not is_small({"x": half, "y": half, "z": half[:1]})
