"""Protected files under arbitrary sizes, paths, damage and bytes."""

from __future__ import annotations

import io
import random

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from sealserve.errors import IntegrityError, SealServeError
from sealserve.sealing import MAX_PATH_BYTES, normalize_path, open_sealed, seal, unseal
from sealserve.sealing.header import MAGIC, Metadata, open_header, seal_header

KEY = bytes(range(16))
NODE, HEAD, GROUP = 4096, 3072, 96 * 4096
SAMPLE_SIZE = HEAD + GROUP + NODE + 100  # two groups; nodes: 0, MHT, 96 data, MHT, 2 data

paths = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)
sizes = st.one_of(
    st.integers(0, 3 * NODE),
    st.builds(
        lambda nodes, step: HEAD + nodes * NODE + step, st.integers(1, 200), st.integers(-2, 2)
    ),
)


def sealed(plaintext: bytes, path: str = "models/a", version: int = 2) -> bytes:
    sink = io.BytesIO()
    seal(io.BytesIO(plaintext), sink, KEY, path=path, version=version)
    return sink.getvalue()


SAMPLE = sealed(bytes(SAMPLE_SIZE))
# Outside of every tag: the minor version, and node 0 after the metadata.
UNAUTHENTICATED = {9, *range(59 + 3884, NODE)}


@given(sizes, st.integers(0, 2**32), st.sampled_from([1, 2]))
def test_any_plaintext_comes_back(size: int, seed: int, version: int) -> None:
    plaintext = random.Random(seed).randbytes(size)
    sink = io.BytesIO()
    header = unseal(io.BytesIO(sealed(plaintext, version=version)), sink, KEY)
    assert sink.getvalue() == plaintext
    assert (header.size, header.version) == (size, version)


@given(paths)
def test_any_path_that_fits_comes_back_normalised(path: str) -> None:
    normal = normalize_path(path)
    assert normalize_path(normal) == normal
    assert "//" not in normal
    assert "/./" not in f"/{normal}/"
    assume(normal not in ("", "/") and len(normal.encode()) <= MAX_PATH_BYTES)
    file = io.BytesIO(sealed(b"x", path))
    assert open_sealed(file, KEY, expected_path=path).header.path == normal


@given(
    st.builds(
        Metadata,
        path=paths.map(lambda path: normalize_path("a/b/" + path)).filter(
            lambda path: path not in ("", "/") and len(path.encode()) <= MAX_PATH_BYTES
        ),
        size=st.integers(0, 2**64 - 1),
        root_key=st.binary(min_size=16, max_size=16),
        root_tag=st.binary(min_size=16, max_size=16),
        head=st.binary(min_size=HEAD, max_size=HEAD),
    ),
    st.binary(min_size=32, max_size=32),
    st.sampled_from([1, 2]),
)
def test_parse_and_serialise_agree(metadata: Metadata, nonce: bytes, version: int) -> None:
    data = metadata.serialize()
    assert Metadata.parse(data) == metadata
    assert Metadata.parse(data).serialize() == data
    node = seal_header(metadata, KEY, nonce, version)
    assert open_header(node, KEY) == (version, metadata)
    assert seal_header(metadata, KEY, nonce, version) == node


@given(
    st.integers(0, len(SAMPLE) - 1).filter(lambda at: at not in UNAUTHENTICATED), st.integers(0, 7)
)
@example(58, 0)  # the pending flag
@example(8, 0)  # the version
def test_any_flipped_authenticated_bit_is_refused(at: int, bit: int) -> None:
    changed = bytearray(SAMPLE)
    changed[at] ^= 1 << bit
    with pytest.raises(IntegrityError):
        unseal(io.BytesIO(changed), io.BytesIO(), KEY)


@given(st.integers(0, len(SAMPLE) - 1))
def test_any_truncation_is_refused(length: int) -> None:
    with pytest.raises(IntegrityError):
        unseal(io.BytesIO(SAMPLE[:length]), io.BytesIO(), KEY)


@given(
    st.one_of(st.binary(max_size=3 * NODE), st.binary(max_size=NODE).map(lambda data: MAGIC + data))
)
@example(MAGIC.ljust(NODE, b"\0"))
@example(b"GRAFS_PF\x01".ljust(NODE, b"\0"))
@example(b"GRAFS_PF\x02".ljust(2 * NODE, b"\0"))
def test_arbitrary_bytes_raise_errors_of_ours_alone(data: bytes) -> None:
    with pytest.raises(SealServeError):
        unseal(io.BytesIO(data), io.BytesIO(), KEY)


@given(st.integers(0, 4 * NODE + 10), st.integers(0, 3 * NODE))
def test_any_part_read_is_that_part(start: int, length: int) -> None:
    plaintext = b"".join(at.to_bytes(4, "big") for at in range(0, 4 * NODE, 4))
    with open_sealed(io.BytesIO(sealed(plaintext)), KEY) as reader:
        reader.seek(start)
        assert reader.read(length) == plaintext[start : start + length]
