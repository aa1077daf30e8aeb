"""Proofs: those of the definition, read sparingly, and no other accepted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grown_log import REFERENCE_LEAVES, GrownLog, numbered
from sealserve.errors import AuditError, UsageError
from sealserve.transparency.proofs import (
    Subtrees,
    consistency_proof,
    inclusion_proof,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from sealserve.transparency.tree import EMPTY_ROOT, SIZE_LIMIT, leaf_hash, node_hash

unhurried = settings(deadline=None)  # a loaded machine is no failure
SIZES = 70
BOUNDARIES = [255, 256, 257, 511, 512, 513, 65535, 65536, 65537, 65791, 65792, 65793, 65795]
AT_BOUNDARY = st.one_of(st.sampled_from(BOUNDARIES), st.integers(1, BOUNDARIES[-1]))

# Of the reference tree of eight leaves: proofs as other implementations publish them.
PATH_0 = (
    "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
    "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
)
PROOF_6 = (
    "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
)


def hexes(proof: tuple[bytes, ...]) -> tuple[str, ...]:
    return tuple(value.hex() for value in proof)


@pytest.fixture(scope="module")
def log() -> GrownLog:
    return GrownLog(numbered(SIZES))


def test_the_reference_tree_has_the_published_proofs() -> None:
    reference = GrownLog(REFERENCE_LEAVES).subtrees
    assert hexes(inclusion_proof(0, 8, reference)) == PATH_0
    assert hexes(consistency_proof(1, 8, reference)) == PATH_0
    assert hexes(consistency_proof(6, 8, reference)) == PROOF_6


def test_proofs_are_those_of_the_definition_at_every_size_and_verify(
    log: GrownLog, defined: Callable[[list[bytes]], Any]
) -> None:
    tree = defined(numbered(SIZES))
    for size in range(1, SIZES + 1):
        root = log.root(size)
        assert root == tree.mth(0, size)
        for index in range(size):
            path = inclusion_proof(index, size, log.subtrees)
            assert list(path) == tree.path(index, 0, size)
            verify_inclusion(log.leaves[index], index, size, path, root)
        for old in range(1, size + 1):
            proof = consistency_proof(old, size, log.subtrees)
            assert list(proof) == tree.proof(old, size)
            verify_consistency(old, tree.mth(0, old), size, root, proof)


@unhurried
@given(size=AT_BOUNDARY, other=AT_BOUNDARY)
def test_proofs_across_stored_levels_are_those_of_the_definition(
    size: int, other: int, large_log: GrownLog, large_tree: Any
) -> None:
    old, new = sorted((size, other))
    root = root_of(new, large_log.subtrees)
    assert root == large_tree.mth(0, new)
    path = inclusion_proof(old - 1, new, large_log.subtrees)
    assert list(path) == large_tree.path(old - 1, 0, new)
    verify_inclusion(large_log.leaves[old - 1], old - 1, new, path, root)
    proof = consistency_proof(old, new, large_log.subtrees)
    assert list(proof) == large_tree.proof(old, new)
    verify_consistency(old, large_tree.mth(0, old), new, root, proof)


@unhurried
@given(size=AT_BOUNDARY, other=AT_BOUNDARY)
def test_a_proof_reads_a_bounded_part_of_each_stored_level(
    size: int, other: int, large_log: GrownLog
) -> None:
    old, new = sorted((size, other))
    for make in (
        lambda: inclusion_proof(old - 1, new, large_log.subtrees),
        lambda: consistency_proof(old, new, large_log.subtrees),
    ):
        large_log.reads.clear()
        make()
        assert all(stop - start <= 128 for _, start, stop in large_log.reads)
        for level in (0, 8, 16):
            read = [(start, stop) for at, start, stop in large_log.reads if at == level]
            # Two tiles, at most: the one that the way leads through, and the one at the edge.
            assert len({start >> 8 for start, _ in read}) <= 2
            assert sum(stop - start for start, stop in read) <= 2 * 256


def test_a_log_without_leaves_is_the_beginning_of_every_log(log: GrownLog) -> None:
    assert root_of(0, log.subtrees) == EMPTY_ROOT
    assert consistency_proof(0, SIZES, log.subtrees) == ()
    verify_consistency(0, EMPTY_ROOT, SIZES, log.root(SIZES), ())
    verify_consistency(0, EMPTY_ROOT, 0, EMPTY_ROOT, ())


OUTSIDE = {
    "a leaf that is not there yet": lambda trees: inclusion_proof(8, 8, trees),
    "a leaf before the first": lambda trees: inclusion_proof(-1, 8, trees),
    "a leaf after all": lambda trees: inclusion_proof(1 << 20000, 8, trees),
    "a leaf of no log": lambda trees: inclusion_proof(0, 0, trees),
    "a log that shrank": lambda trees: consistency_proof(9, 8, trees),
    "a negative log": lambda trees: consistency_proof(-1, 8, trees),
    "the root of a negative log": lambda trees: root_of(-1, trees),
}


@pytest.mark.parametrize("make", OUTSIDE.values(), ids=OUTSIDE)
def test_nothing_is_proved_about_what_is_not_there(make: Any, log: GrownLog) -> None:
    with pytest.raises(UsageError) as error:
        make(log.subtrees)
    assert error.value.code == "audit.range"


STORES = {
    "a node short": lambda level, start, stop: [bytes(32)] * (stop - start - 1),
    "a node more": lambda level, start, stop: [bytes(32)] * (stop - start + 1),
    "empty": lambda level, start, stop: [],
    "no hashes": lambda level, start, stop: [bytes(31)] * (stop - start),
}


@pytest.mark.parametrize("read", STORES.values(), ids=STORES)
def test_a_store_that_lacks_nodes_is_reported_as_damaged(read: Any) -> None:
    with pytest.raises(AuditError) as error:
        Subtrees(read).root(3, 1)
    assert error.value.code == "audit.tree"


class Inclusion(NamedTuple):
    leaf: bytes
    index: int
    size: int
    proof: tuple[bytes, ...]
    root: bytes


class Consistency(NamedTuple):
    old_size: int
    old_root: bytes
    new_size: int
    new_root: bytes
    proof: tuple[bytes, ...]


OTHER = leaf_hash(b"of no record")


def flipped(value: bytes) -> bytes:
    return bytes([value[0] ^ 1]) + value[1:]


PROOF_TAMPERS: dict[str, Callable[[tuple[bytes, ...]], tuple[bytes, ...]]] = {
    "nothing in it": lambda proof: (),
    "cut off at its end": lambda proof: proof[:-1],
    "cut off at its beginning": lambda proof: proof[1:],
    "a hash after it": lambda proof: (*proof, OTHER),
    "a hash before it": lambda proof: (OTHER, *proof),
    "its last hash twice": lambda proof: (*proof, proof[-1]),
    "its first hashes swapped": lambda proof: (proof[1], proof[0], *proof[2:]),
    "turned around": lambda proof: proof[::-1],
    "a bit of the first hash": lambda proof: (flipped(proof[0]), *proof[1:]),
    "a bit of the last hash": lambda proof: (*proof[:-1], flipped(proof[-1])),
    "a short hash": lambda proof: (proof[0][:-1], *proof[1:]),
    "a long hash": lambda proof: (proof[0] + b"\0", *proof[1:]),
    "two hashes run together": lambda proof: (proof[0] + proof[1], *proof[2:]),
    "sixty-five hashes": lambda proof: proof + (OTHER,) * (65 - len(proof)),
    "a million hashes": lambda proof: (OTHER,) * 1_000_000,
}

INCLUSION_TAMPERS: dict[str, Callable[[Inclusion], Inclusion]] = {
    "another record": lambda good: good._replace(leaf=OTHER),
    "a record instead of its hash": lambda good: good._replace(leaf=b"record"),
    "an inner node as a leaf": lambda good: good._replace(
        leaf=node_hash(good.leaf, good.proof[0]), index=good.index >> 1, proof=good.proof[1:]
    ),
    "the leaf before": lambda good: good._replace(index=good.index - 1),
    "the leaf after": lambda good: good._replace(index=good.index + 1),
    "the leaf beside": lambda good: good._replace(index=good.index ^ 1),
    "a leaf far away": lambda good: good._replace(index=good.index ^ 32),
    "a leaf past the end": lambda good: good._replace(index=good.size),
    "a negative leaf": lambda good: good._replace(index=-1),
    "a leaf by counting from the end": lambda good: good._replace(index=good.index - good.size),
    "a log half as long": lambda good: good._replace(size=good.size // 2),
    "a log twice as long": lambda good: good._replace(size=2 * good.size),
    "an empty log": lambda good: good._replace(size=0),
    "a negative log": lambda good: good._replace(size=-good.size),
    "a log beyond all": lambda good: good._replace(size=SIZE_LIMIT + 1),
    "a log of 2**20000 leaves": lambda good: good._replace(index=1 << 19999, size=1 << 20000),
    "another root": lambda good: good._replace(root=OTHER),
    "the empty root": lambda good: good._replace(root=EMPTY_ROOT),
    "a root cut off": lambda good: good._replace(root=good.root[:16]),
    "no root": lambda good: good._replace(root=b""),
}

CONSISTENCY_TAMPERS: dict[str, Callable[[Consistency], Consistency]] = {
    "an older old log": lambda good: good._replace(old_size=good.old_size - 2),
    "the old log as long as the new": lambda good: good._replace(old_size=good.new_size),
    "an empty old log": lambda good: good._replace(old_size=0),
    "an empty old log, with its root": lambda good: good._replace(old_size=0, old_root=EMPTY_ROOT),
    "a negative old log": lambda good: good._replace(old_size=-1),
    "a new log of half the length": lambda good: good._replace(new_size=good.new_size // 2),
    "a new log of twice the length": lambda good: good._replace(new_size=2 * good.new_size),
    "a new log beyond all": lambda good: good._replace(new_size=SIZE_LIMIT + 1),
    "a new log of 2**20000 leaves": lambda good: good._replace(new_size=1 << 20000),
    "sizes swapped": lambda good: good._replace(old_size=good.new_size, new_size=good.old_size),
    "roots swapped": lambda good: good._replace(old_root=good.new_root, new_root=good.old_root),
    "another empty old log": lambda good: good._replace(old_size=0, proof=()),
    "two empty logs": lambda good: good._replace(old_size=0, new_size=0, proof=()),
    "another old root": lambda good: good._replace(old_root=OTHER),
    "another new root": lambda good: good._replace(new_root=OTHER),
    "the old root for both": lambda good: good._replace(new_root=good.old_root),
    "the old root cut off": lambda good: good._replace(old_root=good.old_root[:16]),
    "no new root": lambda good: good._replace(new_root=b""),
}

INCLUSIONS = [(1, 70), (22, 70), (65, 70), (69, 70), (31, 64)]
CONSISTENCIES = [(3, 70), (22, 70), (67, 70), (32, 70), (16, 64)]


@pytest.fixture(params=INCLUSIONS, ids=str)
def inclusion(request: pytest.FixtureRequest, log: GrownLog) -> Inclusion:
    index, size = request.param
    path = inclusion_proof(index, size, log.subtrees)
    return Inclusion(log.leaves[index], index, size, path, log.root(size))


@pytest.fixture(params=CONSISTENCIES, ids=str)
def consistency(request: pytest.FixtureRequest, log: GrownLog) -> Consistency:
    old, new = request.param
    proof = consistency_proof(old, new, log.subtrees)
    return Consistency(old, log.root(old), new, log.root(new), proof)


@pytest.mark.parametrize("tamper", PROOF_TAMPERS.values(), ids=PROOF_TAMPERS)
def test_an_inclusion_proof_that_was_changed_is_refused(
    tamper: Callable[[tuple[bytes, ...]], tuple[bytes, ...]], inclusion: Inclusion
) -> None:
    with pytest.raises(AuditError) as error:
        verify_inclusion(*inclusion._replace(proof=tamper(inclusion.proof)))
    assert error.value.code == "audit.inclusion"


@pytest.mark.parametrize("tamper", INCLUSION_TAMPERS.values(), ids=INCLUSION_TAMPERS)
def test_an_inclusion_proof_proves_nothing_else(
    tamper: Callable[[Inclusion], Inclusion], inclusion: Inclusion
) -> None:
    with pytest.raises(AuditError) as error:
        verify_inclusion(*tamper(inclusion))
    assert error.value.code == "audit.inclusion"


@pytest.mark.parametrize("tamper", PROOF_TAMPERS.values(), ids=PROOF_TAMPERS)
def test_a_consistency_proof_that_was_changed_is_refused(
    tamper: Callable[[tuple[bytes, ...]], tuple[bytes, ...]], consistency: Consistency
) -> None:
    with pytest.raises(AuditError) as error:
        verify_consistency(*consistency._replace(proof=tamper(consistency.proof)))
    assert error.value.code == "audit.consistency"


@pytest.mark.parametrize("tamper", CONSISTENCY_TAMPERS.values(), ids=CONSISTENCY_TAMPERS)
def test_a_consistency_proof_proves_nothing_else(
    tamper: Callable[[Consistency], Consistency], consistency: Consistency
) -> None:
    with pytest.raises(AuditError) as error:
        verify_consistency(*tamper(consistency))
    assert error.value.code == "audit.consistency"


def test_a_log_that_was_rewritten_is_not_consistent_with_what_it_was(log: GrownLog) -> None:
    records = numbered(SIZES)
    rewritten = GrownLog([*records[:10], b"another", *records[11:]])
    for old in range(11, SIZES):
        proof = consistency_proof(old, SIZES, rewritten.subtrees)
        with pytest.raises(AuditError):
            verify_consistency(old, log.root(old), SIZES, rewritten.root(SIZES), proof)


def test_equal_logs_are_consistent_without_a_proof_and_different_ones_never() -> None:
    verify_consistency(5, OTHER, 5, OTHER, ())
    for old_root, proof in ((flipped(OTHER), ()), (OTHER, (OTHER,))):
        with pytest.raises(AuditError):
            verify_consistency(5, old_root, 5, OTHER, proof)


def test_the_largest_log_is_verified_in_as_many_steps_as_it_has_levels() -> None:
    root = leaf = leaf_hash(b"first")
    proof = [leaf_hash(bytes([level])) for level in range(63)]
    for sibling in proof:
        root = node_hash(root, sibling)
    verify_inclusion(leaf, 0, SIZE_LIMIT, proof, root)
    verify_consistency(1, leaf, SIZE_LIMIT, root, proof)


@pytest.mark.parametrize("hashes", [65, 1_000_000])
def test_a_proof_that_is_too_long_is_not_begun(hashes: int) -> None:
    proof = (OTHER,) * hashes
    with pytest.raises(AuditError, match="at most 64"):
        verify_inclusion(OTHER, 0, SIZE_LIMIT, proof, OTHER)
    with pytest.raises(AuditError, match="at most 64"):
        verify_consistency(1, OTHER, SIZE_LIMIT, OTHER, proof)


# Here the attacker has chosen the root, too, so that every hash fits: the shape alone is wrong.
def test_a_proof_higher_than_its_tree_is_refused(log: GrownLog) -> None:
    path = inclusion_proof(69, 70, log.subtrees)
    with pytest.raises(AuditError, match="more hashes"):
        verify_inclusion(log.leaves[69], 69, 70, (*path, OTHER), node_hash(OTHER, log.root(70)))
    proof = consistency_proof(67, 70, log.subtrees)
    old_root, new_root = (node_hash(OTHER, log.root(size)) for size in (67, 70))
    with pytest.raises(AuditError, match="more hashes"):
        verify_consistency(67, old_root, 70, new_root, (*proof, OTHER))


def test_a_leaf_past_the_end_is_refused_under_any_root() -> None:
    with pytest.raises(AuditError):
        verify_inclusion(OTHER, 1, 1, (), OTHER)


def test_a_log_beyond_the_largest_is_refused_under_any_root() -> None:
    root = OTHER
    for _ in range(64):
        root = node_hash(root, OTHER)
    with pytest.raises(AuditError):
        verify_inclusion(OTHER, 0, 2 * SIZE_LIMIT, (OTHER,) * 64, root)
    with pytest.raises(AuditError):
        verify_consistency(1, OTHER, 2 * SIZE_LIMIT, root, (OTHER,) * 64)
