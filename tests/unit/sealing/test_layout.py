"""The arithmetic of protected files, against numbers worked out by hand from Gramine's format."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealserve.sealing import layout


@pytest.mark.parametrize(
    ("size", "data", "mht", "inner", "nodes"),
    [
        (0, 0, 0, 0, 1),
        (3072, 0, 0, 0, 1),
        (3073, 1, 1, 0, 3),
        (3072 + 4096, 1, 1, 0, 3),
        (3072 + 4097, 2, 1, 0, 4),
        (3072 + 96 * 4096, 96, 1, 0, 98),
        (3072 + 96 * 4096 + 1, 97, 2, 1, 100),
        (3072 + 33 * 96 * 4096, 33 * 96, 33, 1, 1 + 33 * 97),
        (3072 + 33 * 96 * 4096 + 1, 33 * 96 + 1, 34, 2, 1 + 33 * 97 + 2),
    ],
)
def test_a_size_decides_how_many_nodes_there_are(
    size: int, data: int, mht: int, inner: int, nodes: int
) -> None:
    assert layout.data_nodes(size) == data
    assert layout.mht_nodes(size) == mht
    assert layout.inner_mht_nodes(size) == inner
    assert layout.node_count(size) == nodes


@given(st.integers(0, 400 * layout.GROUP_BYTES))
def test_every_place_in_the_file_belongs_to_exactly_one_node(size: int) -> None:
    places = [0]
    places += [layout.physical_mht_node(index) for index in range(layout.mht_nodes(size))]
    places += [layout.physical_data_node(index) for index in range(layout.data_nodes(size))]
    assert sorted(places) == list(range(layout.node_count(size)))


def test_every_mht_node_but_the_root_has_its_own_entry_in_a_parent_before_it() -> None:
    children = range(1, 3000)
    entries = {(layout.parent_mht_node(child), layout.child_entry(child)) for child in children}
    assert len(entries) == len(children)
    assert all(layout.parent_mht_node(child) < child for child in children)
    assert {at for _, at in entries} == set(range(96 * 32, 4096, 32))
