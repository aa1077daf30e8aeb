"""Node 0: key derivation, the two layouts, and what may change in the open part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from sealserve.errors import IntegrityError, UnsupportedVersion, UsageError, WrongKeyOrHeader
from sealserve.sealing.header import (
    Metadata,
    check_protected,
    check_wrap_key,
    derive_metadata_key,
    open_header,
    seal_header,
)

KEY = bytes(range(16))
NONCE = bytes(range(32, 64))
METADATA = Metadata("models/a", 5, b"k" * 16, b"t" * 16, b"hello".ljust(3072, b"\0"))


def changed(node: bytes, at: int, value: int) -> bytes:
    return node[:at] + bytes([value]) + node[at + 1 :]


def test_the_key_derivation_is_cmac_over_counter_label_nonce_and_length(
    cmac: Callable[[bytes, bytes], bytes],
) -> None:
    label = b"SGX-PROTECTED-FS-METADATA-KEY".ljust(64, b"\0")
    message = (1).to_bytes(4, "little") + label + NONCE + (128).to_bytes(4, "little")
    assert derive_metadata_key(KEY, NONCE) == cmac(KEY, message)


@pytest.mark.parametrize("version", [1, 2])
def test_a_header_comes_back_as_it_was_sealed(version: int) -> None:
    node = seal_header(METADATA, KEY, NONCE, version)
    assert len(node) == 4096
    assert open_header(node, KEY) == (version, METADATA)


def test_the_versions_differ_in_their_number_and_the_flag_byte_alone() -> None:
    v1, v2 = (seal_header(METADATA, KEY, NONCE, version) for version in (1, 2))
    assert v2 == b"GRAFS_PF\x02" + v1[9:58] + b"\0" + v1[58:-1]


@pytest.mark.parametrize("version", [0, 3, 255])
def test_another_version_is_told_apart_from_damage(version: int) -> None:
    with pytest.raises(UnsupportedVersion, match=f"version {version};"):
        open_header(changed(seal_header(METADATA, KEY, NONCE, 2), 8, version), KEY)


@pytest.mark.parametrize(
    "at",
    [
        pytest.param(8, id="version 2 made 1"),
        pytest.param(10, id="first byte of the nonce"),
        pytest.param(41, id="last byte of the nonce"),
        pytest.param(42, id="first byte of the tag"),
        pytest.param(57, id="last byte of the tag"),
        pytest.param(59, id="first byte of the metadata"),
        pytest.param(59 + 3883, id="last byte of the metadata"),
    ],
)
def test_a_changed_header_looks_like_a_wrong_key_and_the_error_says_so(at: int) -> None:
    node = seal_header(METADATA, KEY, NONCE, 2)
    with pytest.raises(WrongKeyOrHeader, match="cannot tell these two apart"):
        open_header(changed(node, at, 1 if at == 8 else node[at] ^ 1), KEY)


def test_a_wrong_key_is_refused() -> None:
    with pytest.raises(WrongKeyOrHeader):
        open_header(seal_header(METADATA, KEY, NONCE, 2), bytes(16))


@pytest.mark.parametrize("at", [9, 59 + 3884, 4095], ids=["minor version", "padding", "last byte"])
def test_bytes_that_gramine_does_not_look_at_are_not_looked_at(at: int) -> None:
    node = seal_header(METADATA, KEY, NONCE, 2)
    assert open_header(changed(node, at, 0xFF), KEY) == (2, METADATA)


@pytest.mark.parametrize("flags", [0x01, 0x03])
def test_a_pending_write_is_refused_and_the_journal_named(flags: int) -> None:
    with pytest.raises(IntegrityError) as caught:
        open_header(changed(seal_header(METADATA, KEY, NONCE, 2), 58, flags), KEY)
    assert caught.value.code == "integrity.write-pending"
    assert ".gramine.recovery" in (caught.value.hint or "")


def test_unknown_feature_flags_are_refused() -> None:
    with pytest.raises(UnsupportedVersion, match="0x82"):
        open_header(changed(seal_header(METADATA, KEY, NONCE, 2), 58, 0x82), KEY)


@pytest.mark.parametrize(
    ("start", "size", "code", "says"),
    [
        (b"", 0, "integrity.not-protected", "it is empty"),
        (b"plain text", 4096, "integrity.not-protected", "does not begin with GRAFS_PF"),
        (b"GRAFS_P", 7, "integrity.not-protected", "does not begin with GRAFS_PF"),
        (b"GRAFS_PF", 8, "integrity.size", "has 8 bytes"),
        (b"GRAFS_PF", 4097, "integrity.size", "no multiple of 4096"),
    ],
)
def test_what_cannot_be_a_protected_file_is_refused(
    start: bytes, size: int, code: str, says: str
) -> None:
    with pytest.raises(IntegrityError, match=says) as caught:
        check_protected(start, size)
    assert caught.value.code == code


@pytest.mark.parametrize("length", [0, 15, 17, 24, 32])
def test_a_wrap_key_of_another_length_is_refused_without_being_shown(length: int) -> None:
    with pytest.raises(UsageError, match=f"has {length} bytes") as caught:
        check_wrap_key(b"\xaa" * length)
    assert "aa" not in str(caught.value).replace("a wrap", "")


def test_metadata_shows_neither_keys_nor_data() -> None:
    shown = repr(replace(METADATA, root_key=b"secret-root-key!", head=b"secret data".ljust(3072)))
    assert "secret" not in shown
    assert "models/a" in shown
