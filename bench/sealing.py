"""Seal, unseal and reseal 256 MiB, beside a bare loop of AES-GCM over 4 KiB blocks with fresh keys.

The bare loop does the least that a writer in Python could do with `cryptography`: draw keys, and
encrypt (or decrypt) block after block. In memory it throws the result away; from file to file it
reads and writes as ours does. Ours does the tree and the header, too. Resealing in place also syncs
what it wrote, drops it from the page cache and authenticates it as it comes back from the disk:
what that costs is shown beside the same without. And how much more memory 256 MiB take than 1 MiB,
each in a process of its own.
"""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bench.measure import Result, compared, interleave, limited, peak_memory
from sealserve.folders import find_tree
from sealserve.resealing import reseal_in_place
from sealserve.sealing import open_sealed, open_sealed_under, reseal, seal, unseal

MIB = 1 << 20
SIZE = 256 * MIB
BLOCK = 4096
TAG = 16
CHUNK = 256 * BLOCK  # what the bare loops read at once
KEY, NEW_KEY = bytes(16), bytes(range(16))
IV = bytes(12)
GOAL = 0.6
GROWTH_MIB = 64


def run() -> Iterator[Result]:
    """Throughput against the bare loops, then growth of memory."""
    with tempfile.TemporaryDirectory() as folder:
        yield from _throughput(Path(folder))
        yield from _resealing(Path(folder))
        for verb in ("seal", "unseal", "reseal"):
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


def _resealing(folder: Path) -> Iterator[Result]:
    plaintext = os.urandom(SIZE)
    (folder / "plain").write_bytes(plaintext)
    source, sealed = io.BytesIO(), io.BytesIO()
    seal(io.BytesIO(plaintext), source, KEY, path="model")
    keys, blocks = _sealed_blocks(plaintext[: 16 * MIB])
    bare_keys = os.urandom(SIZE // BLOCK * 16)
    _seal_files(folder)
    _bare_encrypt_files(folder, bare_keys)
    times = interleave(
        {
            "bare decrypt and encrypt": lambda: _bare_reseal(keys, blocks, SIZE // (16 * MIB)),
            "reseal": lambda: reseal(source, sealed, KEY, NEW_KEY),
            "bare decrypt and encrypt, files": lambda: _bare_reseal_files(folder, bare_keys),
            "reseal, files": lambda: _reseal_files(folder),
            "reseal, in place": lambda: _reseal_in_place(folder),
        }
    )
    for where, suffix, peer, goal in (
        ("in memory", "", "bare decrypt and encrypt", GOAL),
        ("in files", ", files", "bare decrypt and encrypt, files", GOAL),
        ("in place, synced and read back", ", in place", "reseal, files", None),
    ):
        name, ours = f"reseal 256 MiB {where}", f"reseal{suffix}"
        yield compared(name, times, ours, peer, work=SIZE / MIB, unit="MiB/s", goal=goal)


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


def _bare_reseal(keys: bytes, blocks: list[bytes], times: int) -> None:
    for _ in range(times):
        fresh = os.urandom(len(keys))
        for index, block in enumerate(blocks):
            at = slice(16 * index, 16 * index + 16)
            plain = AESGCM(keys[at]).decrypt(IV, block, None)
            AESGCM(fresh[at]).encrypt(IV, plain, None)


def _bare_reseal_files(folder: Path, keys: bytes) -> None:
    fresh = os.urandom(len(keys))
    with (folder / "bare").open("rb") as source, (folder / "anew").open("wb") as sink:
        at = 0
        while chunk := source.read(CHUNK // BLOCK * (BLOCK + TAG)):
            for start in range(0, len(chunk), BLOCK + TAG):
                key = slice(16 * at, 16 * at + 16)
                plain = AESGCM(keys[key]).decrypt(IV, chunk[start : start + BLOCK + TAG], None)
                sink.write(AESGCM(fresh[key]).encrypt(IV, plain, None))
                at += 1


def _seal_files(folder: Path) -> None:
    with (folder / "plain").open("rb") as source, (folder / "sealed").open("w+b") as sink:
        seal(source, sink, KEY, path="model")


def _unseal_files(folder: Path) -> None:
    with (folder / "sealed").open("rb") as source, (folder / "back").open("w+b") as sink:
        unseal(source, sink, KEY)


def _reseal_files(folder: Path) -> None:
    with (folder / "sealed").open("rb") as source, (folder / "anew").open("w+b") as sink:
        reseal(source, sink, KEY, NEW_KEY)


def _reseal_in_place(folder: Path) -> None:
    """Under the new key and, the next time, back: the file is never done already."""
    place = folder / "place"
    if not place.exists():
        place.hardlink_to(folder / "sealed")
    with place.open("rb") as stream:
        found, _ = open_sealed_under(stream, [KEY, NEW_KEY])
    old_key, new_key = ((KEY, NEW_KEY), (NEW_KEY, KEY))[found]
    reseal_in_place(find_tree(place), old_key, new_key)


def _peak(verb: str, folder: Path, mib: int) -> float:
    """MiB at the peak of a process that seals, unseals or reseals in place `mib` MiB."""
    with (folder / "plain").open("wb") as stream:
        stream.truncate(mib * MIB)
    if verb != "seal":
        _seal_files(folder)
    where = "in_place" if verb == "reseal" else "files"
    (folder / "place").unlink(missing_ok=True)
    work = f"bench.sealing._{verb}_{where}(pathlib.Path({str(folder)!r}))"
    return peak_memory(f"import pathlib; import bench.sealing; {work}")
