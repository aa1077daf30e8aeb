"""Signed notes: a text of lines, an empty line, and who signed the text. Ed25519 alone.

    text, each line ended by a newline
                                                        (an empty line)
    — <name> <base64 of key id, 4 bytes, and signature, 64 bytes>

The key id is the first 4 bytes of SHA-256(name, newline, 0x01, public key). It helps to find a key
and proves nothing. A verifier's key is written `name+<key id, hex>+<base64 of 0x01, public key>`.

Other keys may sign the same text beside ours (witnesses, say): their lines must be well formed, and
mean nothing here. What the text says is for `checkpoint`. This module stores no key.
Source: C2SP signed-note, which has both from Go's `golang.org/x/mod/sumdb/note`.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from typing import Final, NoReturn, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from sealserve.errors import AuditError, FormatError

NOTE_LIMIT: Final = 4096
ORIGIN_LIMIT: Final = 200
SEED_BYTES: Final = 32
PUBLIC_KEY_BYTES: Final = 32

_CODE: Final = "audit.checkpoint"
_KEY_CODE: Final = "audit.key"
_ED25519: Final = b"\x01"
_KEY_ID_BYTES: Final = 4
# Stricter than the format, which lets a name be any text without spaces and plus: two of ours are
# never told apart by how their letters are composed.
_ORIGIN = re.compile(rf"[!-*,-~]{{1,{ORIGIN_LIMIT}}}")
_VERIFIER_LIMIT: Final = ORIGIN_LIMIT + 64
_CONTROLS = re.compile(r"[\x00-\x09\x0b-\x1f]")


@dataclass(frozen=True)
class LogVerifier:
    """The public half of a log's key: the log's name, and its Ed25519 public key of 32 bytes.

    Raises FormatError (`audit.key`) for a name or a key that is none.
    """

    origin: str
    public_key: bytes

    def __post_init__(self) -> None:
        check_origin(self.origin)
        if len(self.public_key) != PUBLIC_KEY_BYTES:
            raise _no_key(
                f"a public key of {len(self.public_key)} bytes; expected {PUBLIC_KEY_BYTES}"
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """The verifier that `str()` wrote as `text`; raises FormatError (`audit.key`)."""
        parts = text[: _VERIFIER_LIMIT + 1].split("+", 2)
        if len(text) > _VERIFIER_LIMIT or len(parts) != 3:
            raise _no_key("expected name+key id+key in one line")
        origin, key_id, encoded = parts
        key = decode_base64(encoded)
        if key is None or key[:1] != _ED25519:
            raise _no_key("expected an Ed25519 key, in base64 after the byte 01")
        verifier = cls(origin, key[1:])
        if verifier.key_id.hex() != key_id:
            raise _no_key(
                f"it has the id {key_id[:16]!a}; this name and key have {verifier.key_id.hex()}",
                hint="copy it again, whole: the name belongs to the key",
            )
        return verifier

    @property
    def key_id(self) -> bytes:
        """The 4 bytes by which a signature names this key."""
        named = self.origin.encode() + b"\n" + _ED25519 + self.public_key
        return hashlib.sha256(named).digest()[:_KEY_ID_BYTES]

    def __str__(self) -> str:
        key = encode_base64(_ED25519 + self.public_key)
        return f"{self.origin}+{self.key_id.hex()}+{key}"


class LogKey:
    """The private key of a log, and the log's name. Neither shown nor pickled."""

    __slots__ = ("_key", "verifier")

    def __init__(self, origin: str, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.verifier = LogVerifier(origin, key.public_key().public_bytes_raw())

    @classmethod
    def generate(cls, origin: str) -> Self:
        """A new key for the log of this name; raises FormatError (`audit.key`) for a bad name."""
        return cls(origin, Ed25519PrivateKey.generate())

    @classmethod
    def from_seed(cls, origin: str, seed: bytes) -> Self:
        """The key of a seed of 32 bytes; raises FormatError (`audit.key`)."""
        if len(seed) != SEED_BYTES:
            raise _no_key(f"a seed of {len(seed)} bytes; expected {SEED_BYTES}")
        return cls(origin, Ed25519PrivateKey.from_private_bytes(seed))

    @property
    def origin(self) -> str:
        """The log's name."""
        return self.verifier.origin

    @property
    def seed(self) -> bytes:
        """The 32 bytes that are the key: for whoever stores it, and for nobody else."""
        return self._key.private_bytes_raw()

    def signature(self, text: str) -> bytes:
        """The Ed25519 signature of `text` in UTF-8, 64 bytes."""
        return self._key.sign(text.encode())

    def __repr__(self) -> str:
        return f"<LogKey of {self.verifier}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a log's private key is not pickled or copied")


def sign_note(text: str, key: LogKey) -> str:
    """The note of `text`, whose last line is ended, signed by `key` alone."""
    signature = encode_base64(key.verifier.key_id + key.signature(text))
    return f"{text}\n— {key.origin} {signature}\n"


def open_note(note: str, verifier: LogVerifier) -> str:
    """The text of a note that `verifier` says is signed.

    Raises AuditError (`audit.checkpoint`) for what is no note of at most 4 KiB, and for a note
    that this key did not sign, signed twice, or signed otherwise.
    """
    _check_characters(note)
    head, separator, tail = note.rpartition("\n\n")
    if not separator or not tail.endswith("\n"):
        refuse("expected a text, an empty line and lines of signatures, all lines ended")
    signatures = [_signature(line) for line in tail[:-1].split("\n")]
    wanted = (verifier.origin, verifier.key_id)
    ours = [signature for name, key_id, signature in signatures if (name, key_id) == wanted]
    if len(ours) != 1:
        refuse(f"{len(ours)} signatures of the key {verifier}; expected one")
    text = head + "\n"
    try:
        Ed25519PublicKey.from_public_bytes(verifier.public_key).verify(ours[0], text.encode())
    except (InvalidSignature, ValueError):
        refuse(f"the signature is not that of the key {verifier} over this text")
    return text


def check_origin(origin: str) -> None:
    """Raise FormatError (`audit.key`) for a name that is not 1 to 200 ASCII characters, no plus."""
    if not _ORIGIN.fullmatch(origin):
        raise _no_key(
            f"{origin[:80]!a} is no name of a log: expected 1 to {ORIGIN_LIMIT} printable ASCII "
            "characters without spaces and plus",
            hint="name it like a place: keys.example.com/audit",
        )


def encode_base64(data: bytes) -> str:
    """`data` in base64 with padding (RFC 4648, section 4)."""
    return base64.b64encode(data).decode()


def decode_base64(text: str) -> bytes | None:
    """What `text` spells in base64, if this is its one spelling."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    return data if encode_base64(data) == text else None


def refuse(problem: str) -> NoReturn:
    """Raise the AuditError of whatever is no checkpoint of the log that was expected."""
    raise AuditError(
        f"no checkpoint of this log: {problem}",
        code=_CODE,
        hint="was it fetched whole, and from the log that this key belongs to?",
    )


def _check_characters(note: str) -> None:
    try:
        size = len(note.encode()) if len(note) <= NOTE_LIMIT else len(note)
    except UnicodeEncodeError:
        refuse("it is not text that UTF-8 can hold")
    if size > NOTE_LIMIT:
        refuse(f"{size} bytes or more; at most {NOTE_LIMIT} are read")
    if _CONTROLS.search(note):
        refuse("a control character other than a newline is in it")


def _signature(line: str) -> tuple[str, bytes, bytes]:
    """Name, key id and signature of one line."""
    mark, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    data = decode_base64(encoded)
    named = name and "+" not in name and not any(character.isspace() for character in name)
    if mark != "—" or not named or data is None or len(data) <= _KEY_ID_BYTES:
        refuse("a line after the text is no signature: expected dash, name, base64")
    return name, data[:_KEY_ID_BYTES], data[_KEY_ID_BYTES:]


def _no_key(problem: str, *, hint: str | None = None) -> FormatError:
    return FormatError(f"no key of a log: {problem}", code=_KEY_CODE, hint=hint)
