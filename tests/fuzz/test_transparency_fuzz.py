"""Whatever claims to be of a log: it is refused by an error of ours, or it is what was signed."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from grown_log import GrownLog, numbered
from sealserve.errors import AuditError, FormatError
from sealserve.transparency.checkpoint import (
    Checkpoint,
    LogKey,
    LogVerifier,
    read_checkpoint,
    sign,
)
from sealserve.transparency.note import open_note, sign_note
from sealserve.transparency.proofs import (
    consistency_proof,
    inclusion_proof,
    verify_consistency,
    verify_inclusion,
)
from sealserve.transparency.tree import SIZE_LIMIT, Frontier

unhurried = settings(deadline=None)  # a loaded machine is no failure

KEY = LogKey.from_seed("keys.example.com/audit", bytes(range(32)))
SIZE = 40
LOG = GrownLog(numbered(SIZE))
CHECKPOINT = Checkpoint(KEY.origin, SIZE, LOG.root(SIZE), 5, 3)
NOTE = sign(CHECKPOINT, KEY)
VERIFIER = str(KEY.verifier)

NUMBER = st.one_of(st.integers(-2, SIZE + 2), st.integers(0, SIZE_LIMIT + 2), st.integers())
KNOWN = st.sampled_from([*LOG.leaves, *(LOG.root(size) for size in range(SIZE + 1))])
HASH = st.one_of(KNOWN, st.binary(min_size=32, max_size=32), st.binary(max_size=40))
PROOF = st.lists(HASH, max_size=70)
COUNT = st.integers(0, SIZE_LIMIT)


def near(text: str) -> st.SearchStrategy[str]:
    """`text` with a stretch of it replaced."""
    return st.builds(
        lambda start, length, put: text[:start] + put + text[start + length :],
        st.integers(0, len(text)),
        st.integers(0, 8),
        st.one_of(st.text(max_size=8), st.sampled_from(["\n", "\n\n", " ", "—", "+", "="])),
    )


@given(note=st.one_of(st.text(max_size=300), near(NOTE)))
def test_no_note_is_read_but_the_one_that_was_signed(note: str) -> None:
    try:
        checkpoint = read_checkpoint(note, KEY.verifier)
    except AuditError:
        assert note != NOTE
    else:
        assert checkpoint == CHECKPOINT
        # Others may have signed, too: their lines are not ours to judge.
        assert note.rpartition("\n\n")[0] == NOTE.rpartition("\n\n")[0]


@given(text=st.one_of(st.text(max_size=300), near(CHECKPOINT.text)))
def test_a_text_that_the_log_signed_is_a_checkpoint_or_refused(text: str) -> None:
    try:
        note = sign_note(text + "\n", KEY)
        checkpoint = read_checkpoint(note, KEY.verifier)
    except AuditError:
        return
    assert sign(checkpoint, KEY) == note


@given(size=COUNT, revision=COUNT, rules=COUNT, root=st.binary(min_size=32, max_size=32))
def test_every_checkpoint_comes_back(size: int, revision: int, rules: int, root: bytes) -> None:
    root = root if size else Frontier.empty().root
    checkpoint = Checkpoint(KEY.origin, size, root, revision, rules)
    assert read_checkpoint(sign(checkpoint, KEY), KEY.verifier) == checkpoint


@given(text=st.one_of(st.text(max_size=300), near(VERIFIER)))
def test_a_key_that_is_read_is_written_back(text: str) -> None:
    try:
        verifier = LogVerifier.parse(text)
    except FormatError:
        return
    assert str(verifier) == text


@given(text=st.text(max_size=60))
def test_what_one_end_signs_the_other_opens(text: str) -> None:
    try:
        note = sign_note(text + "\n", KEY)
        opened = open_note(note, KEY.verifier)
    except AuditError:
        return
    assert opened == text + "\n"


@given(size=NUMBER, data=st.binary(max_size=200))
def test_a_frontier_that_is_read_is_written_back(size: int, data: bytes) -> None:
    try:
        frontier = Frontier.from_bytes(size, data)
    except FormatError:
        return
    assert frontier.to_bytes() == data
    assert len(frontier.root) == 32


@unhurried
@given(leaf=HASH, index=NUMBER, size=NUMBER, proof=PROOF, root=HASH)
def test_inclusion_is_never_proved_by_chance(
    leaf: bytes, index: int, size: int, proof: list[bytes], root: bytes
) -> None:
    try:
        verify_inclusion(leaf, index, size, proof, root)
    except AuditError:
        return
    assert root == leaf if size == 1 else root in {LOG.root(known) for known in range(SIZE + 1)}


@unhurried
@given(old=NUMBER, old_root=HASH, new=NUMBER, new_root=HASH, proof=PROOF)
def test_consistency_is_never_proved_by_chance(
    old: int, old_root: bytes, new: int, new_root: bytes, proof: list[bytes]
) -> None:
    try:
        verify_consistency(old, old_root, new, new_root, proof)
    except AuditError:
        return
    assert (old == 0 and old_root == Frontier.empty().root) or old_root == new_root or proof


@unhurried
@given(
    place=st.integers(0, SIZE - 1),
    size=st.integers(1, SIZE),
    other=st.integers(0, SIZE + 1),
    other_size=st.integers(0, SIZE + 1),
)
def test_a_proof_of_one_leaf_is_none_of_another(
    place: int, size: int, other: int, other_size: int
) -> None:
    index = place % size
    proof = inclusion_proof(index, size, LOG.subtrees)
    root = LOG.root(min(other_size, SIZE))
    try:
        verify_inclusion(LOG.leaves[index], other, other_size, proof, root)
    except AuditError:
        assert (other, other_size) != (index, size)
    else:
        assert (other, other_size) == (index, size)


@unhurried
@given(data=st.data(), flip=st.integers(0, 255))
def test_a_bit_of_a_proof_is_not_changed_unseen(data: st.DataObject, flip: int) -> None:
    new = data.draw(st.integers(3, SIZE))
    old = data.draw(st.integers(1, new - 1))
    for proof, verify in (
        (
            inclusion_proof(old, new, LOG.subtrees),
            lambda changed: verify_inclusion(LOG.leaves[old], old, new, changed, LOG.root(new)),
        ),
        (
            consistency_proof(old, new, LOG.subtrees),
            lambda changed: verify_consistency(old, LOG.root(old), new, LOG.root(new), changed),
        ),
    ):
        verify(proof)
        place = data.draw(st.integers(0, len(proof) - 1))
        value = bytearray(proof[place])
        value[flip // 8] ^= 1 << flip % 8
        try:
            verify((*proof[:place], bytes(value), *proof[place + 1 :]))
        except AuditError:
            continue
        raise AssertionError("a changed proof was accepted")
