"""Seal and unseal 256 MiB, beside a bare loop of AES-GCM over 4 KiB blocks with a fresh key each.

The bare loop does the least that a writer in Python could do with `cryptography`: draw keys, and
encrypt (or decrypt) block after block. In memory it throws the result away; from file to file it
reads and writes as ours does. Ours does the tree and the header, too. And how much more memory
256 MiB take than 1 MiB, each in a process of its own.
"""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bench.measure import Result, compared, interleave, limited, peak_memory
from sealserve.sealing import open_sealed, seal, unseal

MIB = 1 << 20
SIZE = 256 * MIB
BLOCK = 4096
TAG = 16
CHUNK = 256 * BLOCK  # what the bare loops read at once
KEY = bytes(16)
IV = bytes(12)
GOAL = 0.6
GROWTH_MIB = 64


def run() -> Iterator[Result]:
    """Throughput against the bare loops, then growth of memory."""
    with tempfile.TemporaryDirectory() as folder:
        yield from _throughput(Path(folder))
        for verb in ("seal", "unseal"):
            small, large = (_peak(verb, Path(folder), mib) for mib in (1, SIZE // MIB))
            yield limited(
                f"{verb} 256 MiB: more memory",
                large - small,
                "MiB",
                against=f"1 MiB of data (peak {small:.0f} MiB)",
                limit=GROWTH_MIB,
            )


def _throughput(folder: Path) -> Iterator[Result]:
    plaintext = os.urandom(SIZE)
    (folder / "plain").write_bytes(plaintext)
    source, sealed, target = io.BytesIO(plaintext), io.BytesIO(), bytearray(SIZE)
    keys, blocks = _sealed_blocks(plaintext[: 16 * MIB])
    bare_keys = os.urandom(SIZE // BLOCK * 16)
    times = interleave(
        {
            "bare encrypt": lambda: _bare_encrypt(plaintext),
            "seal": lambda: seal(source, sealed, KEY, path="model"),
            "bare encrypt, files": lambda: _bare_encrypt_files(folder, bare_keys),
            "seal, files": lambda: _seal_files(folder),
            "bare decrypt": lambda: _bare_decrypt(keys, blocks, SIZE // (16 * MIB)),
            "unseal": lambda: open_sealed(sealed, KEY).readinto(target),
            "bare decrypt, files": lambda: _bare_decrypt_files(folder, bare_keys),
            "unseal, files": lambda: _unseal_files(folder),
        }
    )
    for verb, peer in (("seal", "bare encrypt"), ("unseal", "bare decrypt")):
        for where, suffix in (("memory", ""), ("files", ", files")):
            name = f"{verb} 256 MiB in {where}"
            ours, theirs = verb + suffix, peer + suffix
            yield compared(name, times, ours, theirs, work=SIZE / MIB, unit="MiB/s", goal=GOAL)


def _bare_encrypt(plaintext: bytes) -> None:
    view = memoryview(plaintext)
    keys = os.urandom(len(plaintext) // BLOCK * 16)
    for index in range(len(plaintext) // BLOCK):
        key = keys[16 * index : 16 * index + 16]
        AESGCM(key).encrypt(IV, view[BLOCK * index : BLOCK * (index + 1)], None)


def _sealed_blocks(plaintext: bytes) -> tuple[bytes, list[bytes]]:
    keys = os.urandom(len(plaintext) // BLOCK * 16)
    starts = range(0, len(plaintext), BLOCK)
    return keys, [
        AESGCM(keys[16 * index : 16 * index + 16]).encrypt(IV, plaintext[at : at + BLOCK], None)
        for index, at in enumerate(starts)
    ]


def _bare_decrypt(keys: bytes, blocks: list[bytes], times: int) -> None:
    for _ in range(times):
        for index, block in enumerate(blocks):
            AESGCM(keys[16 * index : 16 * index + 16]).decrypt(IV, block, None)


def _bare_encrypt_files(folder: Path, keys: bytes) -> None:
    with (folder / "plain").open("rb") as source, (folder / "bare").open("wb") as sink:
        at = 0
        while chunk := source.read(CHUNK):
            for start in range(0, len(chunk), BLOCK):
                key = keys[16 * at : 16 * at + 16]
                sink.write(AESGCM(key).encrypt(IV, chunk[start : start + BLOCK], None))
                at += 1


def _bare_decrypt_files(folder: Path, keys: bytes) -> None:
    with (folder / "bare").open("rb") as source, (folder / "back").open("wb") as sink:
        at = 0
        while chunk := source.read(CHUNK // BLOCK * (BLOCK + TAG)):
            for start in range(0, len(chunk), BLOCK + TAG):
                key = keys[16 * at : 16 * at + 16]
                sink.write(AESGCM(key).decrypt(IV, chunk[start : start + BLOCK + TAG], None))
                at += 1


def _seal_files(folder: Path) -> None:
    with (folder / "plain").open("rb") as source, (folder / "sealed").open("w+b") as sink:
        seal(source, sink, KEY, path="model")


def _unseal_files(folder: Path) -> None:
    with (folder / "sealed").open("rb") as source, (folder / "back").open("w+b") as sink:
        unseal(source, sink, KEY)


def _peak(verb: str, folder: Path, mib: int) -> float:
    """MiB at the peak of a process that seals, or unseals, a file of `mib` MiB."""
    with (folder / "plain").open("wb") as stream:
        stream.truncate(mib * MIB)
    if verb == "unseal":
        _seal_files(folder)
    work = f"bench.sealing._{verb}_files(pathlib.Path({str(folder)!r}))"
    return peak_memory(f"import pathlib; import bench.sealing; {work}")
