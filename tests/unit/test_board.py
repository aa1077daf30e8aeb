"""Memory that processes share: one writer for each row, places named as they come."""

from __future__ import annotations

import os

import pytest

from sealserve.board import COUNTERS, Board, Table


def test_a_place_holds_as_many_cells_as_were_asked_for() -> None:
    row = Board(1, 0, Table(names=4, name_bytes=16, width=3, kept=1)).row(0)
    cells = row.named("one", "rest")
    assert cells is not None
    cells[2] = 7
    row.named("two", "rest")[0] = 5  # type: ignore[index]
    assert {name: list(values) for name, values in row.places().items()} == {
        "one": [0, 0, 7],
        "two": [5, 0, 0],
    }


def test_what_finds_no_place_is_counted_with_the_rest() -> None:
    row = Board(1, 0, Table(names=3, name_bytes=16, width=1, kept=1)).row(0)
    for name in ("a", "b", "c", "d", "a", "a name that is too long"):
        cells = row.named(name, "rest")
        assert cells is not None
        cells[0] += 1
    assert row.counts() == {"a": 2, "b": 1, "rest": 3}
    assert row.named("e", "another rest") is None


def test_who_follows_in_a_row_finds_what_its_predecessor_named() -> None:
    board = Board(2, 1, COUNTERS)
    process = os.fork()
    if process == 0:
        try:
            board.row(1).count("a", "rest")
            board.row(1).add({0: 2.5})
        finally:
            os._exit(0)
    os.waitpid(process, 0)
    row = board.row(1)
    row.count("a", "rest")
    assert row.counts() == {"a": 2}
    assert row.cell(0) == 2.5
    assert board.row(0).counts() == {}


def test_a_row_that_is_not_there_is_a_fault() -> None:
    with pytest.raises(IndexError):
        Board(2, 1).row(2)
