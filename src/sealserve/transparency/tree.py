"""The Merkle tree of a log: its hashes, and the frontier by which it grows.

A tree of n leaves is known by its frontier: the roots of its maximal complete subtrees, one for
each bit that is set in n. A leaf is added to that alone, and over many leaves one costs the hashing
of two nodes, however large n is. Of the complete subtrees, the leaves (level 0) and those of level
8, 16, 24... are for a caller to store; all others are computed from these (`proofs.Subtrees`).

This module neither keeps nor looks up a node. Hashes are SHA-256: a leaf's begins with 0x00 and an
inner node's with 0x01, so that none can be taken for the other.
Source: RFC 9162, section 2.1.1; the levels that are stored follow C2SP tlog-tiles.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

from sealserve.errors import FormatError

HASH_BYTES: Final = 32
TILE_LEVELS: Final = 8
# The most leaves that a tree may have: a path has then fewer than 64 hashes.
SIZE_LIMIT: Final = 1 << 63
EMPTY_ROOT: Final = hashlib.sha256().digest()

_LEAF = b"\x00"
_NODE = b"\x01"
_FORMAT: Final = "audit.frontier"


def leaf_hash(data: bytes) -> bytes:
    """The 32 bytes that stand in the tree for a record of `data`."""
    return hashlib.sha256(_LEAF + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of the node over two nodes, each of 32 bytes."""
    return hashlib.sha256(_NODE + left + right).digest()


def fold(roots: Iterable[bytes]) -> bytes:
    """The root over complete subtrees of falling size, given rightmost (smallest) first.

    The root over none is that of the empty tree.
    """
    rest = iter(roots)
    root = next(rest, EMPTY_ROOT)
    for left in rest:
        root = node_hash(left, root)
    return root


@dataclass(frozen=True, slots=True)
class Node:
    """The root of the complete subtree of 2**level leaves that begins at leaf index * 2**level."""

    level: int
    index: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Frontier:
    """A tree of `size` leaves by the roots of its maximal complete subtrees, largest first.

    Raises FormatError (`audit.frontier`) unless there is one of 32 bytes for each bit of `size`.
    """

    size: int
    peaks: tuple[bytes, ...]

    def __post_init__(self) -> None:
        if not 0 <= self.size <= SIZE_LIMIT:
            raise _malformed("its size is none; a tree has 0 to 2**63 leaves")
        if len(self.peaks) != self.size.bit_count():
            raise _malformed(
                f"{len(self.peaks)} hashes; a tree of {self.size} leaves has "
                f"{self.size.bit_count()}"
            )
        for peak in self.peaks:
            _check_hash(peak)

    @classmethod
    def empty(cls) -> Self:
        """The frontier of the tree without a leaf."""
        return cls(0, ())

    @classmethod
    def from_bytes(cls, size: int, data: bytes) -> Self:
        """The frontier that `to_bytes` wrote for `size` leaves; FormatError for another length."""
        pieces = (data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES))
        return cls(size, tuple(pieces))

    def to_bytes(self) -> bytes:
        """The peaks one after the other, 32 bytes each."""
        return b"".join(self.peaks)

    @property
    def root(self) -> bytes:
        """The root of the tree, 32 bytes: what a checkpoint signs."""
        return fold(reversed(self.peaks))

    def extended(self, leaf_hashes: Iterable[bytes]) -> tuple[Frontier, list[Node]]:
        """The frontier after these leaves, and the nodes to store that became complete by them.

        The nodes are those of level 8, 16, 24..., in the order in which they became complete; the
        leaves themselves are not among them. Raises FormatError for a hash that has not 32 bytes.
        """
        size, peaks = self.size, list(self.peaks)
        complete: list[Node] = []
        for leaf in leaf_hashes:
            _check_hash(leaf)
            level, index, root = 0, size, leaf
            while index & 1:  # a subtree as large stands to the left of this one
                level, index, root = level + 1, index >> 1, node_hash(peaks.pop(), root)
                if level % TILE_LEVELS == 0:
                    complete.append(Node(level, index, root))
            peaks.append(root)
            size += 1
        return Frontier(size, tuple(peaks)), complete


def _check_hash(value: bytes) -> None:
    if len(value) != HASH_BYTES:
        raise _malformed(f"a hash of {len(value)} bytes; a hash has {HASH_BYTES}")


def _malformed(problem: str) -> FormatError:
    return FormatError(f"no frontier of a log: {problem}", code=_FORMAT)
