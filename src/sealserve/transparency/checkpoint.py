"""Checkpoints: what the head of a log is, signed by the log.

The text of the note, five lines:

    keys.example.com/audit                              the log's name (origin)
    20852163                                            leaves in the tree
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=        root, base64
    sealserve-revision 57                               state of the key service
    sealserve-rules 12                                  state of its rules

The last two are extension lines of ours: they tie the head of the log to the state that the key
service decided by, so that an older database cannot be put under a newer log, nor the reverse.
This module does not say whether one checkpoint follows another (`proofs.verify_consistency` does).
Source: C2SP tlog-checkpoint; the signature, C2SP signed-note (`note`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from sealserve.errors import FormatError
from sealserve.transparency.note import (
    NOTE_LIMIT,
    LogKey,
    LogVerifier,
    check_origin,
    decode_base64,
    encode_base64,
    open_note,
    refuse,
    sign_note,
)
from sealserve.transparency.tree import EMPTY_ROOT, HASH_BYTES, SIZE_LIMIT

__all__ = ["NOTE_LIMIT", "Checkpoint", "LogKey", "LogVerifier", "read_checkpoint", "sign"]

_CODE: Final = "audit.checkpoint"
_NUMBER = r"(0|[1-9][0-9]{0,18})"
_TEXT = re.compile(
    rf"([^\n]+)\n{_NUMBER}\n([A-Za-z0-9+/]{{43}}=)\n"
    rf"sealserve-revision {_NUMBER}\nsealserve-rules {_NUMBER}\n"
)


@dataclass(frozen=True)
class Checkpoint:
    """The head of a log: its name, its leaves, their root (32 bytes), and the state it belongs to.

    Raises FormatError (`audit.checkpoint`) for values that no checkpoint can have.
    """

    origin: str
    size: int
    root: bytes
    revision: int
    rules: int

    def __post_init__(self) -> None:
        check_origin(self.origin)
        for name in ("size", "revision", "rules"):
            if not 0 <= getattr(self, name) <= SIZE_LIMIT:
                raise _impossible(f"{name} is not 0 to 2**63")
        if len(self.root) != HASH_BYTES:
            raise _impossible(f"a root of {len(self.root)} bytes; expected {HASH_BYTES}")
        if self.size == 0 and self.root != EMPTY_ROOT:
            raise _impossible("no leaves, and another root than that of the empty tree")

    @property
    def text(self) -> str:
        """The five lines that are signed."""
        return (
            f"{self.origin}\n{self.size}\n{encode_base64(self.root)}\n"
            f"sealserve-revision {self.revision}\nsealserve-rules {self.rules}\n"
        )


def sign(checkpoint: Checkpoint, key: LogKey) -> str:
    """The signed note of `checkpoint`; raises FormatError for one of a log of another name.

    Ed25519 signs without randomness: the same checkpoint gives the same note.
    """
    if checkpoint.origin != key.origin:
        raise _impossible(f"it is of the log {checkpoint.origin}, and the key of {key.origin}")
    return sign_note(checkpoint.text, key)


def read_checkpoint(note: str, verifier: LogVerifier) -> Checkpoint:
    """The checkpoint that `verifier`'s log signed as `note`, of at most 4 KiB.

    Lines of other signers are passed over. Raises AuditError (`audit.checkpoint`) for a note that
    this log's key did not sign, and for a text that is anything but the five lines.
    """
    lines = _TEXT.fullmatch(open_note(note, verifier))
    root = decode_base64(lines[3]) if lines else None
    if lines is None or root is None:
        refuse("expected name, size, root, sealserve-revision and sealserve-rules, a line each")
    if lines[1] != verifier.origin:
        refuse(f"its name is {lines[1][:80]!a}, and the key is that of {verifier.origin}")
    try:
        return Checkpoint(verifier.origin, int(lines[2]), root, int(lines[4]), int(lines[5]))
    except FormatError as error:
        refuse(error.message)


def _impossible(problem: str) -> FormatError:
    return FormatError(f"no head of a log: {problem}", code=_CODE)
