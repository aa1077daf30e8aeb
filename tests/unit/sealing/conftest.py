"""A second reader of protected files, to hold ours against: slow, straight from the format's text.

It shares no code with the package (and takes the whole file at once, walks the tree from the root
down, and builds AES-CMAC out of single AES blocks), so that an error in one is not the other's too.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes


class Decoded(NamedTuple):
    version: int
    path: str
    plaintext: bytes
    node_keys: list[bytes]


def _aes_block(key: bytes, block: int) -> int:
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    return int.from_bytes(encryptor.update(block.to_bytes(16, "big")), "big")


def _double(value: int) -> int:
    value <<= 1
    return value ^ ((1 << 128) | 0x87) if value >> 128 else value


def aes_cmac(key: bytes, message: bytes) -> bytes:
    """RFC 4493."""
    subkey = _double(_aes_block(key, 0))
    blocks = [message[at : at + 16] for at in range(0, len(message), 16)] or [b""]
    last = blocks.pop()
    if len(last) < 16:
        subkey = _double(subkey)
        last = (last + b"\x80").ljust(16, b"\0")
    state = 0
    for block in blocks:
        state = _aes_block(key, state ^ int.from_bytes(block, "big"))
    state = _aes_block(key, state ^ int.from_bytes(last, "big") ^ subkey)
    return state.to_bytes(16, "big")


def _open(key: bytes, tag: bytes, data: bytes) -> bytes:
    decryptor = Cipher(algorithms.AES(key), modes.GCM(bytes(12), tag)).decryptor()
    return decryptor.update(data) + decryptor.finalize()


def decode(file: bytes, wrap_key: bytes) -> Decoded:
    assert file[:8] == b"GRAFS_PF"
    version = file[8]
    offset = {1: 58, 2: 59}[version]
    label = b"SGX-PROTECTED-FS-METADATA-KEY" + bytes(64 - 29)
    key = aes_cmac(wrap_key, b"\x01\0\0\0" + label + file[10:42] + b"\x80\0\0\0")
    metadata = _open(key, file[42:58], file[offset : offset + 3884])
    assert not any(file[offset + 3884 : 4096])
    size = int.from_bytes(metadata[772:780], "little")
    keys = [key]
    pieces = {-1: metadata[812:]}
    nodes = (max(size - 3072, 0) + 4095) // 4096

    def walk(mht: int, key: bytes, tag: bytes) -> None:
        at = 4096 * (1 + 97 * mht)
        entries = _open(key, tag, file[at : at + 4096])
        keys.append(key)
        for slot in range(128):
            entry = entries[32 * slot : 32 * slot + 32]
            data = 96 * mht + slot
            child = 32 * mht + 1 + slot - 96
            if slot < 96 and data < nodes:
                at = 4096 * (2 + data + data // 96)
                pieces[data] = _open(entry[:16], entry[16:], file[at : at + 4096])
                keys.append(entry[:16])
            elif slot >= 96 and 96 * child < nodes:
                walk(child, entry[:16], entry[16:])
            else:
                assert not any(entry)

    if nodes:
        walk(0, metadata[780:796], metadata[796:812])
    everything = b"".join(pieces[index] for index in range(-1, nodes))
    assert not any(everything[size:])
    assert len(file) == 4096 * (1 + nodes + (nodes + 95) // 96)
    return Decoded(version, metadata[:772].rstrip(b"\0").decode(), everything[:size], keys)


@pytest.fixture(name="decode", scope="session")
def decode_fixture() -> object:
    return decode


@pytest.fixture(scope="session")
def cmac() -> object:
    return aes_cmac
