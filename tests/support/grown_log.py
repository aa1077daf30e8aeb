"""A log in memory: the leaves, and the nodes that its frontier gave away to be stored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sealserve.transparency.proofs import Subtrees, root_of
from sealserve.transparency.tree import Frontier, leaf_hash


class GrownLog:
    """Every read is kept in `reads` as (level, start, stop)."""

    def __init__(self, records: Iterable[bytes] = ()) -> None:
        self.leaves: list[bytes] = []
        self.nodes: dict[tuple[int, int], bytes] = {}
        self.frontier = Frontier.empty()
        self.reads: list[tuple[int, int, int]] = []
        self.subtrees = Subtrees(self._read)
        self.append(records)

    def append(self, records: Iterable[bytes]) -> None:
        leaves = [leaf_hash(record) for record in records]
        self.frontier, complete = self.frontier.extended(leaves)
        self.leaves += leaves
        for node in complete:
            assert (node.level, node.index) not in self.nodes
            self.nodes[node.level, node.index] = node.hash

    def root(self, size: int) -> bytes:
        return root_of(size, self.subtrees)

    def _read(self, level: int, start: int, stop: int) -> Sequence[bytes]:
        self.reads.append((level, start, stop))
        if level == 0:
            return self.leaves[start:stop]
        return [self.nodes[level, index] for index in range(start, stop)]


def numbered(count: int) -> list[bytes]:
    """Records that differ: the numbers 0 to count - 1, 4 bytes each."""
    return [number.to_bytes(4, "big") for number in range(count)]


# The eight leaves that implementations of RFC 6962 are held against, and the roots over the first
# one, two... of them (certificate-transparency, `merkletree/merkle_tree_test.cc`).
REFERENCE_LEAVES = [
    bytes.fromhex(leaf)
    for leaf in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
