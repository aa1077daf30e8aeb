"""Checkpoints: written as they are read, and only by the log that they are of."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace

import pytest

from grown_log import REFERENCE_LEAVES, GrownLog
from sealserve.errors import AuditError, FormatError
from sealserve.transparency.checkpoint import (
    Checkpoint,
    LogKey,
    LogVerifier,
    read_checkpoint,
    sign,
)
from sealserve.transparency.note import sign_note
from sealserve.transparency.tree import EMPTY_ROOT, SIZE_LIMIT

ORIGIN = "keys.example.com/audit"
KEY = LogKey.from_seed(ORIGIN, bytes(range(32)))
ROOT = GrownLog(REFERENCE_LEAVES).frontier.root
CHECKPOINT = Checkpoint(ORIGIN, 8, ROOT, revision=57, rules=12)
TEXT = (
    "keys.example.com/audit\n8\nXcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=\n"
    "sealserve-revision 57\nsealserve-rules 12\n"
)
NOTE = sign(CHECKPOINT, KEY)


def test_a_checkpoint_is_five_lines_and_a_signature() -> None:
    text, _, signature = NOTE.partition("\n\n")
    assert text + "\n" == CHECKPOINT.text == TEXT
    assert signature.startswith("— keys.example.com/audit ")
    assert signature.count("\n") == 1


def test_the_lines_a_log_must_have_are_those_of_the_specification() -> None:
    published = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="
    checkpoint = Checkpoint(
        "example.com/behind-the-sofa", 20852163, base64.b64decode(published), 0, 0
    )
    assert checkpoint.text.startswith(f"example.com/behind-the-sofa\n20852163\n{published}\n")


CHECKPOINTS = {
    "one of many": CHECKPOINT,
    "of a log without leaves": Checkpoint(ORIGIN, 0, EMPTY_ROOT, 0, 0),
    "the largest": Checkpoint(ORIGIN, SIZE_LIMIT, ROOT, SIZE_LIMIT, SIZE_LIMIT),
}


@pytest.mark.parametrize("checkpoint", CHECKPOINTS.values(), ids=CHECKPOINTS)
def test_a_checkpoint_comes_back_as_it_was_signed(checkpoint: Checkpoint) -> None:
    note = sign(checkpoint, KEY)
    assert read_checkpoint(note, KEY.verifier) == checkpoint
    assert read_checkpoint(note, LogVerifier.parse(str(KEY.verifier))) == checkpoint
    assert sign(read_checkpoint(note, KEY.verifier), KEY) == note


def test_a_witness_may_sign_beside_the_log() -> None:
    witness = LogKey.from_seed("witness.example.org", b"w" * 32)
    note = NOTE + sign_note(TEXT, witness).rpartition("\n\n")[2]
    assert read_checkpoint(note, KEY.verifier) == CHECKPOINT
    with pytest.raises(AuditError):
        read_checkpoint(note, witness.verifier)


# Each is signed by the log's own key, so that only the text can be what is refused.
TEXTS: dict[str, Callable[[str], str]] = {
    "another name": lambda text: text.replace("keys.", "cats."),
    "no name": lambda text: text[text.index("\n") :],
    "a line too few": lambda text: text[: text.index("sealserve-rules")],
    "no extension lines": lambda text: text[: text.index("sealserve-rev")],
    "a line too many": lambda text: text + "more 1\n",
    "an empty line": lambda text: text.replace("sealserve-rev", "\nsealserve-rev"),
    "a line twice": lambda text: text + "sealserve-rules 12\n",
    "extension lines swapped": lambda text: text.replace(
        "sealserve-revision 57\nsealserve-rules 12", "sealserve-rules 12\nsealserve-revision 57"
    ),
    "another extension": lambda text: text.replace("sealserve-rules", "sealserve-rulez"),
    "a size with a zero before it": lambda text: text.replace("\n8\n", "\n08\n"),
    "a size with a sign": lambda text: text.replace("\n8\n", "\n+8\n"),
    "a negative size": lambda text: text.replace("\n8\n", "\n-8\n"),
    "a size in hexadecimal": lambda text: text.replace("\n8\n", "\n0x8\n"),
    "a size with a space": lambda text: text.replace("\n8\n", "\n 8\n"),
    "a size in other digits": lambda text: text.replace("\n8\n", "\n٨\n"),
    "a size with a line of its own": lambda text: text.replace("\n8\n", "\n8\n9\n"),
    "no size": lambda text: text.replace("\n8\n", "\n\n"),
    "a size beyond all": lambda text: text.replace("\n8\n", f"\n{SIZE_LIMIT + 1}\n"),
    "a size of a thousand digits": lambda text: text.replace("\n8\n", f"\n{'8' * 1000}\n"),
    "no leaves and another root": lambda text: text.replace("\n8\n", "\n0\n"),
    "a root cut off": lambda text: text.replace("yg=\n", "y=\n"),
    "a root of 31 bytes": lambda text: text.replace("Qyg=", "Qw=="),
    "a root of 33 bytes": lambda text: text.replace("Qyg=", "Qygg"),
    "a root with bits after its end": lambda text: text.replace("Qyg=", "Qyh="),
    "a root in hexadecimal": lambda text: text.replace(
        "XcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=", ROOT.hex()
    ),
    "a revision that is no number": lambda text: text.replace(" 57", " x"),
    "a revision beyond all": lambda text: text.replace(" 57", f" {SIZE_LIMIT + 1}"),
    "rules with a zero before": lambda text: text.replace(" 12", " 012"),
    "two spaces": lambda text: text.replace(" 12", "  12"),
    "a space at an end": lambda text: text.replace(" 12", " 12 "),
}


@pytest.mark.parametrize("change", TEXTS.values(), ids=TEXTS)
def test_a_text_that_is_not_exactly_a_checkpoint_is_refused_though_signed(
    change: Callable[[str], str],
) -> None:
    changed = change(TEXT)
    assert changed != TEXT
    with pytest.raises(AuditError) as error:
        read_checkpoint(sign_note(changed, KEY), KEY.verifier)
    assert error.value.code == "audit.checkpoint"


@pytest.mark.parametrize("change", TEXTS.values(), ids=TEXTS)
def test_a_text_that_was_changed_is_refused(change: Callable[[str], str]) -> None:
    with pytest.raises(AuditError):
        read_checkpoint(NOTE.replace(TEXT, change(TEXT)), KEY.verifier)


@pytest.mark.parametrize("at", range(len(NOTE)))
def test_a_note_with_one_character_changed_or_lost_is_refused(at: int) -> None:
    other = "A" if NOTE[at] != "A" else "B"
    for note in (NOTE[:at] + other + NOTE[at + 1 :], NOTE[:at] + NOTE[at + 1 :], NOTE[:at]):
        with pytest.raises(AuditError):
            read_checkpoint(note, KEY.verifier)


VERIFIERS = {
    "another key of the same name": LogKey.from_seed(ORIGIN, bytes(32)).verifier,
    "the key under another name": LogKey.from_seed("keys.example.org", KEY.seed).verifier,
    "a key that is no point of the curve": LogVerifier(ORIGIN, b"\xff" * 32),
}


@pytest.mark.parametrize("verifier", VERIFIERS.values(), ids=VERIFIERS)
def test_a_checkpoint_is_not_read_by_another_key(verifier: LogVerifier) -> None:
    with pytest.raises(AuditError) as error:
        read_checkpoint(NOTE, verifier)
    assert error.value.code == "audit.checkpoint"


def test_a_signature_is_not_moved_to_another_checkpoint() -> None:
    later = sign(replace(CHECKPOINT, revision=58), KEY)
    signature = NOTE.rpartition("\n\n")[2]
    with pytest.raises(AuditError):
        read_checkpoint(later.rpartition("\n\n")[0] + "\n\n" + signature, KEY.verifier)


IMPOSSIBLE = {
    "a negative size": {"size": -1},
    "a size beyond all": {"size": SIZE_LIMIT + 1},
    "no leaves and another root": {"size": 0},
    "a root cut off": {"root": ROOT[:31]},
    "a negative revision": {"revision": -1},
    "rules beyond all": {"rules": 1 << 20000},
    "a name of two lines": {"origin": "keys\n8"},
    "no name": {"origin": ""},
}


@pytest.mark.parametrize("change", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_a_checkpoint_that_cannot_be_is_not_made(change: dict) -> None:
    with pytest.raises(FormatError):
        replace(CHECKPOINT, **change)


def test_a_key_signs_for_its_own_log_alone() -> None:
    with pytest.raises(FormatError):
        sign(replace(CHECKPOINT, origin="cats.example.com"), KEY)
