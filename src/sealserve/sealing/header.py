"""Node 0 of a protected file: what stands in the open, the metadata under it, and their key.

Layout, little-endian (Gramine 1.9, `protected_files_format.h`):

    0   8     `GRAFS_PF`
    8   1     major version, 1 (Gramine to 1.8) or 2 (from 1.9)
    9   1     minor version: written 0, read by nobody
    10  32    nonce of the key derivation
    42  16    tag of the metadata
    58  1     version 2 only: feature flags; bit 0 says that a write is pending
    58/59     metadata, 3884 bytes, encrypted; the rest of the node is zero and is not read

    metadata: path 772, size of the data u64, key 16 and tag 16 of the root MHT node,
    the first 3072 bytes of the data

The open part is not authenticated by itself. A change to the nonce, the tag or the version makes
the metadata unreadable, which looks exactly like a wrong key. The feature flags can be changed
unseen: the worst that it achieves is a refusal.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

from sealserve.errors import IntegrityError, UnsupportedVersion, UsageError, WrongKeyOrHeader
from sealserve.sealing.layout import HEAD_BYTES, KEY_BYTES, NODE_BYTES, TAG_BYTES
from sealserve.sealing.paths import PATH_FIELD_BYTES, decode_path, encode_path

MAGIC = b"GRAFS_PF"
WRAP_KEY_BYTES = 16
NONCE_BYTES = 32
VERSIONS = (1, 2)
# Every node, this one included, has a key of its own that encrypts once: a constant IV repeats
# under no key.
ZERO_IV = bytes(12)

_OPEN = struct.Struct(f"<8sBB{NONCE_BYTES}s{TAG_BYTES}s")
_METADATA = struct.Struct(f"<{PATH_FIELD_BYTES}sQ{KEY_BYTES}s{TAG_BYTES}s{HEAD_BYTES}s")
_WRITE_PENDING = 0x01
_KEY_LABEL = b"SGX-PROTECTED-FS-METADATA-KEY"
_KEY_DERIVATION = struct.Struct(f"<I64s{NONCE_BYTES}sI")


@dataclass(frozen=True)
class Header:
    """What a protected file says of itself: embedded path, bytes of data, format version."""

    path: str
    size: int
    version: int


@dataclass(frozen=True)
class Metadata:
    """The decrypted part of node 0. `head` is the first 3072 bytes of the data, zero-padded."""

    path: str
    size: int
    root_key: bytes = field(repr=False)
    root_tag: bytes = field(repr=False)
    head: bytes = field(repr=False)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Metadata of 3884 authentic bytes; raises IntegrityError for a path without an end."""
        path, size, root_key, root_tag, head = _METADATA.unpack(data)
        return cls(decode_path(path), size, root_key, root_tag, head)

    def serialize(self) -> bytes:
        """The 3884 bytes; raises UsageError for a path that cannot be embedded."""
        return _METADATA.pack(
            encode_path(self.path), self.size, self.root_key, self.root_tag, self.head
        )


def check_wrap_key(key: bytes) -> None:
    """Raise UsageError unless `key` has the 16 bytes of a wrap key."""
    if len(key) != WRAP_KEY_BYTES:
        raise UsageError(
            f"the wrap key has {len(key)} bytes, and a wrap key has {WRAP_KEY_BYTES}",
            hint="a wrap key is raw bytes, not text: `sealserve key new FILE` makes one",
        )


def check_version(version: int) -> None:
    """Raise UnsupportedVersion unless the format version is one that we read and write."""
    if version not in VERSIONS:
        raise UnsupportedVersion(
            f"protected file of format version {version}; this is written for versions 1 and 2",
            hint="version 1 is Gramine to 1.8, version 2 from 1.9: was the header changed?",
        )


def derive_metadata_key(wrap_key: bytes, nonce: bytes) -> bytes:
    """NIST SP 800-108 in counter mode over AES-128-CMAC: 16 bytes for one nonce of 32 bytes."""
    mac = CMAC(AES(wrap_key))
    mac.update(_KEY_DERIVATION.pack(1, _KEY_LABEL, nonce, 8 * KEY_BYTES))
    return mac.finalize()


def seal_header(metadata: Metadata, wrap_key: bytes, nonce: bytes, version: int) -> bytes:
    """Node 0, 4096 bytes, with no write pending. A nonce is random and is used once."""
    key = derive_metadata_key(wrap_key, nonce)
    sealed = AESGCM(key).encrypt(ZERO_IV, metadata.serialize(), None)
    opening = _OPEN.pack(MAGIC, version, 0, nonce, sealed[-TAG_BYTES:])
    flags = b"" if version == 1 else b"\0"
    return (opening + flags + sealed[:-TAG_BYTES]).ljust(NODE_BYTES, b"\0")


def open_header(node: bytes, wrap_key: bytes) -> tuple[int, Metadata]:
    """The version and the metadata of a whole node 0 that begins with `GRAFS_PF`.

    Raises UnsupportedVersion, WrongKeyOrHeader, or IntegrityError for a pending write.
    """
    _, version, _, nonce, tag = _OPEN.unpack_from(node)
    check_version(version)
    start = _OPEN.size
    if version != 1:
        _check_flags(node[start])
        start += 1
    sealed = node[start : start + _METADATA.size] + tag
    try:
        data = AESGCM(derive_metadata_key(wrap_key, nonce)).decrypt(ZERO_IV, sealed, None)
    except InvalidTag as error:
        raise WrongKeyOrHeader(
            "node 0 does not authenticate: the key is not the one that this file was sealed with, "
            "or its header was damaged or changed; the format cannot tell these two apart",
            hint="try the key on another file of the same origin; if that opens, fetch this "
            "file again from where it was sealed",
        ) from error
    return version, Metadata.parse(data)


def check_protected(start: bytes, size: int) -> None:
    """Raise IntegrityError unless a file of `size` bytes that begins with `start` may be protected.

    It has to begin with the magic and to be whole nodes.
    """
    if not start.startswith(MAGIC):
        found = f"it does not begin with {MAGIC.decode()}" if size else "it is empty"
        raise IntegrityError(
            f"not a Gramine protected file: {found}",
            code="integrity.not-protected",
            hint="is it still plaintext, or did its transfer break off?",
        )
    if size % NODE_BYTES:
        raise IntegrityError(
            f"the protected file has {size} bytes, which is no multiple of {NODE_BYTES}",
            code="integrity.size",
            hint="it was cut off or added to: fetch it again from where it was sealed",
        )


def _check_flags(flags: int) -> None:
    if flags & _WRITE_PENDING:
        raise IntegrityError(
            "a write to this protected file was begun and not finished (feature flag, bit 0)",
            code="integrity.write-pending",
            hint="its recovery journal, the file's name with `.gramine.recovery` after it, undoes "
            "that: let Gramine open the file once on a mount with `enable_recovery = true`",
        )
    if flags:
        raise UnsupportedVersion(
            f"protected file with feature flags {flags:#04x}, of which only 0x01 is known",
            hint="was the header changed? Gramine to 1.9 sets no other",
        )
