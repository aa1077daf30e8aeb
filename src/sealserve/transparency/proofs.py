"""Proofs that a record is in the log, and that a log only grew: made here, and verified here.

Making reads stored nodes (level 0, 8, 16...) through a function that the caller hands over;
verifying reads nothing and trusts nothing: sizes, indexes, hashes and proofs may all be an
attacker's. The two halves share no code but the hash.
Source: RFC 9162, sections 2.1.3 (inclusion) and 2.1.4 (consistency).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NoReturn, TypeAlias

from sealserve.errors import AuditError, UsageError
from sealserve.transparency.tree import (
    EMPTY_ROOT,
    HASH_BYTES,
    SIZE_LIMIT,
    TILE_LEVELS,
    fold,
    node_hash,
)

# (level, start, stop) -> hashes of the stored nodes start to stop - 1 of that level, in order.
Read: TypeAlias = Callable[[int, int, int], Sequence[bytes]]

PROOF_LIMIT: Final = 64
_INCLUSION: Final = "audit.inclusion"
_CONSISTENCY: Final = "audit.consistency"


class Subtrees:
    """The complete subtrees of a log, computed from its stored nodes."""

    def __init__(self, read: Read) -> None:
        self._read = read

    def root(self, level: int, index: int) -> bytes:
        """The root of the complete subtree of 2**level leaves that begins at index * 2**level.

        Reads at most 128 hashes of one level. Raises AuditError (`audit.tree`) when a stored node
        is missing or no hash.
        """
        above = level % TILE_LEVELS
        stored, start, stop = level - above, index << above, (index + 1) << above
        hashes = list(self._read(stored, start, stop))
        if len(hashes) != stop - start or any(len(found) != HASH_BYTES for found in hashes):
            raise AuditError(
                f"the log's tree is not whole: of level {stored}, nodes {start} to {stop - 1} were "
                f"expected, each of {HASH_BYTES} bytes, and {len(hashes)} found",
                code="audit.tree",
                hint="the database was damaged or changed: restore it from a backup",
            )
        while len(hashes) > 1:
            hashes = [node_hash(*hashes[at : at + 2]) for at in range(0, len(hashes), 2)]
        return hashes[0]


def root_of(size: int, subtrees: Subtrees) -> bytes:
    """The root of the log's first `size` leaves, which all are there."""
    _check_range(0, size, SIZE_LIMIT)
    return _root_between(0, size, subtrees)


def inclusion_proof(index: int, size: int, subtrees: Subtrees) -> tuple[bytes, ...]:
    """The path from leaf `index` to the root of the first `size` leaves, lowest hash first.

    Raises UsageError (`audit.range`) for a leaf that is not among these.
    """
    _check_range(0, index, size - 1)
    start, stop = 0, size
    path = []
    while stop - start > 1:
        middle = _middle(start, stop)
        if index < middle:
            path.append(_root_between(middle, stop, subtrees))
            stop = middle
        else:
            path.append(_root_between(start, middle, subtrees))
            start = middle
    return tuple(reversed(path))


def consistency_proof(old_size: int, new_size: int, subtrees: Subtrees) -> tuple[bytes, ...]:
    """The hashes from which both the root at `old_size` and the one at `new_size` follow.

    None are needed where the sizes are equal or the old log was empty. Raises UsageError
    (`audit.range`) for an old size beyond the new one.
    """
    _check_range(0, old_size, new_size)
    if old_size == 0:
        return ()
    start, stop = 0, new_size
    path = []
    while stop != old_size:
        middle = _middle(start, stop)
        if old_size <= middle:
            path.append(_root_between(middle, stop, subtrees))
            stop = middle
        else:
            path.append(_root_between(start, middle, subtrees))
            start = middle
    if start:  # else what is left is the old tree whole, whose root a verifier has
        path.append(_root_between(start, stop, subtrees))
    return tuple(reversed(path))


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Check that the hash `leaf` is leaf `index` of the log of `size` leaves that has this `root`.

    `leaf` is what `leaf_hash` makes of the record. Raises AuditError (`audit.inclusion`).
    """
    _check_hashes(proof, (leaf, root), _INCLUSION)
    if not 0 <= index < size <= SIZE_LIMIT:
        _refuse(_INCLUSION, f"a log of {_said(size)} leaves has no leaf {_said(index)}")
    at, last = index, size - 1
    found = leaf
    for sibling in proof:
        if last == 0:
            _refuse(_INCLUSION, "the proof has more hashes than the tree has levels")
        if at & 1 or at == last:
            found = node_hash(sibling, found)
            at, last = _climbed(at, last)
        else:
            found = node_hash(found, sibling)
        at, last = at >> 1, last >> 1
    if last or found != root:
        _refuse(_INCLUSION, "the proof does not lead from this record to this root")


def verify_consistency(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Check that the log of `new_size` leaves begins with the log of `old_size` leaves.

    The roots have 32 bytes. Raises AuditError (`audit.consistency`).
    """
    _check_hashes(proof, (old_root, new_root), _CONSISTENCY)
    if not 0 <= old_size <= new_size <= SIZE_LIMIT:
        _refuse(
            _CONSISTENCY, f"a log of {_said(old_size)} leaves does not grow to {_said(new_size)}"
        )
    for size, root in ((old_size, old_root), (new_size, new_root)):
        if size == 0 and root != EMPTY_ROOT:
            _refuse(_CONSISTENCY, "a log without leaves has another root")
    if old_size in (0, new_size):
        if proof:
            _refuse(_CONSISTENCY, "a proof was given where nothing is to be proved")
        if old_size == new_size and old_root != new_root:
            _refuse(_CONSISTENCY, f"two logs of {new_size} leaves have different roots")
        return
    _verify_growth(old_size, old_root, new_size, new_root, proof)


def _verify_growth(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Section 2.1.4.2, for 0 < old_size < new_size."""
    whole = old_size.bit_count() == 1  # the old tree is one complete subtree: its root begins
    path = iter((old_root, *proof) if whole else proof)
    first = next(path, None)
    if first is None or not proof:
        _refuse(_CONSISTENCY, "the proof is empty")
    at, last = old_size - 1, new_size - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    old = new = first
    for sibling in path:
        if last == 0:
            _refuse(_CONSISTENCY, "the proof has more hashes than the tree has levels")
        if at & 1 or at == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            at, last = _climbed(at, last)
        else:
            new = node_hash(new, sibling)
        at, last = at >> 1, last >> 1
    if last or old != old_root or new != new_root:
        _refuse(_CONSISTENCY, "the proof does not lead to both roots")


def _climbed(at: int, last: int) -> tuple[int, int]:
    """Past the levels on which a node at the right edge has no sibling and so is no hash of two."""
    while at and not at & 1:
        at, last = at >> 1, last >> 1
    return at, last


def _middle(start: int, stop: int) -> int:
    """Where two leaves or more are parted: the left part is the larger power of two."""
    return start + (1 << ((stop - start - 1).bit_length() - 1))


def _root_between(start: int, stop: int, subtrees: Subtrees) -> bytes:
    """The root of the leaves start to stop - 1, where a node of the tree begins at `start`."""
    return fold(subtrees.root(level, index) for level, index in _complete(start, stop))


def _complete(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Level and index of the maximal complete subtrees of these leaves, rightmost first."""
    rest = stop - start
    while rest:
        level = (rest & -rest).bit_length() - 1
        rest &= rest - 1
        yield level, (start + rest) >> level


def _check_range(low: int, value: int, high: int) -> None:
    if not low <= value <= high:
        raise UsageError(
            f"the log proves nothing about {_said(value)}; expected {_said(low)} to {_said(high)}",
            code="audit.range",
        )


def _check_hashes(proof: Sequence[bytes], ends: tuple[bytes, bytes], code: str) -> None:
    if len(proof) > PROOF_LIMIT:
        _refuse(code, f"{len(proof)} hashes; a proof has at most {PROOF_LIMIT}")
    for value in (*ends, *proof):
        if len(value) != HASH_BYTES:
            _refuse(code, f"a hash of {len(value)} bytes; a hash has {HASH_BYTES}")


def _said(number: int) -> str:
    """A stranger's number, at a length that a person reads."""
    return str(number) if abs(number) <= SIZE_LIMIT else "more than 2**63"


def _refuse(code: str, problem: str) -> NoReturn:
    raise AuditError(
        f"the audit log does not prove what it says: {problem}",
        code=code,
        hint="keep both ends of the comparison: the log was changed, or they are of two logs",
    )
