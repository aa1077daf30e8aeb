"""The tree: its hashes, and a frontier that grows as the whole tree would."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grown_log import REFERENCE_LEAVES, GrownLog, numbered
from sealserve.errors import FormatError
from sealserve.transparency.tree import (
    EMPTY_ROOT,
    HASH_BYTES,
    SIZE_LIMIT,
    Frontier,
    Node,
    leaf_hash,
    node_hash,
)

unhurried = settings(deadline=None)  # a loaded machine is no failure

# Roots over the first none, one, two... of the reference leaves.
REFERENCE_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def test_a_leaf_and_a_node_are_hashed_apart() -> None:
    left, right = b"l" * 32, b"r" * 32
    assert leaf_hash(b"record") == hashlib.sha256(b"\x00record").digest()
    assert node_hash(left, right) == hashlib.sha256(b"\x01" + left + right).digest()
    assert leaf_hash(left + right) != node_hash(left, right)


@pytest.mark.parametrize("size", range(len(REFERENCE_ROOTS)))
def test_the_reference_leaves_have_the_published_roots(size: int) -> None:
    assert GrownLog(REFERENCE_LEAVES[:size]).frontier.root.hex() == REFERENCE_ROOTS[size]


def test_a_log_without_leaves_has_the_hash_of_nothing() -> None:
    assert Frontier.empty() == Frontier(0, ())
    assert Frontier.empty().root == EMPTY_ROOT == hashlib.sha256(b"").digest()


def test_a_log_has_the_root_of_the_definition_at_every_size(
    defined: Callable[[list[bytes]], Any],
) -> None:
    records = numbered(300)
    tree, log = defined(records), GrownLog()
    for size, record in enumerate(records, start=1):
        log.append([record])
        assert log.frontier.root == tree.mth(0, size)


@pytest.mark.parametrize("size", [65535, 65536, 65537, 65792, 65795])
def test_a_large_log_has_the_root_of_the_definition(size: int, large_tree: Any) -> None:
    assert GrownLog(numbered(size)).frontier.root == large_tree.mth(0, size)


def test_nodes_of_every_eighth_level_are_given_away_once_complete(large_log: GrownLog) -> None:
    assert set(large_log.nodes) == {*((8, index) for index in range(257)), (16, 0)}


def test_a_node_that_is_given_away_is_the_root_of_its_leaves(
    large_log: GrownLog, large_tree: Any
) -> None:
    for (level, index), found in large_log.nodes.items():
        assert found == large_tree.mth(index << level, (index + 1) << level)


def test_a_node_is_given_away_with_the_leaf_that_completes_it() -> None:
    before, none = Frontier.empty().extended(map(leaf_hash, numbered(255)))
    after, complete = before.extended([leaf_hash(numbered(256)[-1])])
    assert none == []
    assert complete == [Node(8, 0, after.root)]


@unhurried
@given(
    batches=st.lists(st.lists(st.binary(max_size=8), max_size=40), max_size=12),
    start=st.integers(0, 600),
)
def test_a_log_does_not_show_in_what_batches_it_grew(
    batches: list[list[bytes]], start: int
) -> None:
    begun = Frontier.empty().extended(map(leaf_hash, numbered(start)))[0]
    grown, given_away = begun, []
    for batch in batches:
        grown, complete = grown.extended(map(leaf_hash, batch))
        given_away += complete
    at_once = begun.extended(leaf_hash(record) for batch in batches for record in batch)
    assert (grown, given_away) == at_once


def test_a_frontier_is_extended_by_nothing_to_itself() -> None:
    frontier = GrownLog(numbered(7)).frontier
    assert frontier.extended([]) == (frontier, [])


@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 8, 255, 256, 300])
def test_a_frontier_comes_back_as_it_was_stored(size: int) -> None:
    frontier = GrownLog(numbered(size)).frontier
    assert len(frontier.to_bytes()) == HASH_BYTES * size.bit_count()
    assert Frontier.from_bytes(size, frontier.to_bytes()) == frontier


def test_the_largest_log_is_full_of_one_peak() -> None:
    assert Frontier.from_bytes(SIZE_LIMIT, b"p" * 32).root == b"p" * 32


STORED = {
    "no peaks": (1, b""),
    "a peak of none": (0, bytes(32)),
    "a peak too few": (3, bytes(32)),
    "a peak too many": (4, bytes(64)),
    "a peak cut off": (3, bytes(63)),
    "a byte more": (3, bytes(65)),
    "a negative size": (-1, bytes(32)),
    "a size beyond all": (SIZE_LIMIT + 1, bytes(64)),
}


@pytest.mark.parametrize(("size", "data"), STORED.values(), ids=STORED)
def test_a_frontier_that_does_not_fit_its_size_is_refused(size: int, data: bytes) -> None:
    with pytest.raises(FormatError) as error:
        Frontier.from_bytes(size, data)
    assert error.value.code == "audit.frontier"


@pytest.mark.parametrize("leaf", [b"", bytes(31), bytes(33)], ids=len)
def test_a_leaf_that_is_no_hash_is_refused(leaf: bytes) -> None:
    for leaves in ([leaf], [leaf, bytes(32)]):
        with pytest.raises(FormatError):
            Frontier.empty().extended(leaves)
