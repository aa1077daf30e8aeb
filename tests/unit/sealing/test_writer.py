"""What is sealed, read back by a second implementation and by our own."""

from __future__ import annotations

import io
import random
import tracemalloc
from collections.abc import Callable

import pytest

from sealserve.errors import UnsupportedVersion, UsageError, WrongKeyOrHeader
from sealserve.sealing import Header, seal, unseal

KEY = bytes(range(16))
NODE, HEAD, GROUP = 4096, 3072, 96 * 4096
BOUNDARIES = sorted(
    {0, 1, NODE}
    | {
        HEAD + at + step
        for at in (0, NODE, 2 * NODE, GROUP - NODE, GROUP, GROUP + NODE, 2 * GROUP)
        for step in (-1, 0, 1)
    }
)
TWO_LEVELS = HEAD + 34 * GROUP + 1  # MHT nodes 33 and 34 are children of node 1, not of the root


def sealed(plaintext: bytes, *, path: str = "models/a", version: int = 2) -> bytes:
    sink = io.BytesIO()
    header = seal(io.BytesIO(plaintext), sink, KEY, path=path, version=version)
    assert header == Header(path, len(plaintext), version)
    return sink.getvalue()


def unsealed(file: bytes) -> bytes:
    sink = io.BytesIO()
    unseal(io.BytesIO(file), sink, KEY)
    return sink.getvalue()


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("size", BOUNDARIES)
def test_every_boundary_size_round_trips_and_a_second_reader_agrees(
    size: int, version: int, decode: Callable[..., tuple[object, ...]]
) -> None:
    plaintext = random.Random(size).randbytes(size)
    file = sealed(plaintext, version=version)
    assert decode(file, KEY)[:3] == (version, "models/a", plaintext)
    assert unsealed(file) == plaintext


def test_a_tree_of_two_levels_round_trips_and_a_second_reader_agrees(
    decode: Callable[..., tuple[object, ...]],
) -> None:
    plaintext = random.Random(2).randbytes(TWO_LEVELS)
    file = sealed(plaintext)
    assert decode(file, KEY)[2] == plaintext
    assert unsealed(file) == plaintext


def test_every_node_of_every_file_has_a_key_of_its_own(
    decode: Callable[..., tuple[object, ...]],
) -> None:
    plaintext = bytes(HEAD + 2 * GROUP)
    first, second = sealed(plaintext), sealed(plaintext)
    keys = [*decode(first, KEY)[3], *decode(second, KEY)[3]]  # type: ignore[misc]
    assert len(set(keys)) == len(keys) == 2 * (1 + 2 + 192)
    nodes = [file[at : at + NODE] for file in (first, second) for at in range(0, len(file), NODE)]
    assert len(set(nodes)) == len(nodes)


def test_the_path_is_normalised_before_it_is_embedded() -> None:
    header = seal(io.BytesIO(b"x"), io.BytesIO(), KEY, path="./models//old/../a")
    assert header.path == "models/a"


class Trickle(io.BytesIO):
    """A stream that moves at most 1000 bytes at a time, as a raw file or pipe may."""

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        return super().readinto(buffer[:1000])

    def write(self, data: memoryview) -> int:  # type: ignore[override]
        return super().write(data[:1000])


def test_streams_may_move_less_than_they_are_asked() -> None:
    plaintext = random.Random(3).randbytes(HEAD + 3 * NODE + 7)
    sink, back = Trickle(), Trickle()
    seal(Trickle(plaintext), sink, KEY, path="a")
    unseal(sink, back, KEY)
    assert back.getvalue() == plaintext


class Pipe(io.RawIOBase):
    """A source that cannot seek."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        return self._data.readinto(buffer)


def test_a_source_that_cannot_seek_is_sealed_if_its_size_is_known() -> None:
    plaintext = random.Random(4).randbytes(10_000)
    sink = io.BytesIO()
    seal(Pipe(plaintext), sink, KEY, path="a", size=len(plaintext))
    assert unsealed(sink.getvalue()) == plaintext


@pytest.mark.parametrize("size", [9_999, 10_001], ids=["it grew", "it shrank"])
def test_a_source_of_another_size_is_refused_and_nothing_opens(size: int) -> None:
    sink = io.BytesIO()
    with pytest.raises(UsageError) as caught:
        seal(Pipe(bytes(10_000)), sink, KEY, path="a", size=size)
    assert caught.value.code == "source-changed"
    assert not sink.getvalue().startswith(b"GRAFS_PF")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        pytest.param({"key": bytes(32)}, UsageError, id="a key of 32 bytes"),
        pytest.param({"path": "a/.."}, UsageError, id="no path"),
        pytest.param({"version": 3}, UnsupportedVersion, id="version 3"),
    ],
)
def test_what_cannot_be_sealed_is_refused_before_a_byte_is_written(
    arguments: dict[str, object], error: type[Exception]
) -> None:
    sink = io.BytesIO()
    with pytest.raises(error):
        seal(io.BytesIO(b"x"), sink, **({"key": KEY, "path": "a"} | arguments))  # type: ignore[arg-type]
    assert sink.getvalue() == b""


def test_another_key_does_not_open_it() -> None:
    with pytest.raises(WrongKeyOrHeader):
        unseal(io.BytesIO(sealed(b"hello")), io.BytesIO(), bytes(16))


@pytest.mark.parametrize("size", [0, 1, HEAD + 1, HEAD + GROUP + 5])
def test_progress_adds_up_to_the_plaintext(size: int) -> None:
    sink = io.BytesIO()
    steps: list[int] = []
    seal(io.BytesIO(bytes(size)), sink, KEY, path="a", advance=steps.append)
    assert sum(steps) == size
    steps.clear()
    unseal(sink, io.BytesIO(), KEY, advance=steps.append)
    assert sum(steps) == size


class Zeros:
    """A large plaintext that takes no memory."""

    def __init__(self, size: int) -> None:
        self._left = size

    def readinto(self, buffer: memoryview) -> int:
        count = min(len(buffer), self._left)
        self._left -= count
        return count

    def seek(self, offset: int, whence: int = 0) -> int:
        raise OSError("this source cannot seek")


class Hole:
    """A sink that keeps nothing."""

    def write(self, data: memoryview) -> int:
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        return offset


def test_memory_does_not_grow_with_the_data() -> None:
    peaks = []
    for size in (1 << 20, 48 << 20):
        tracemalloc.start()
        seal(Zeros(size), Hole(), KEY, path="a", size=size)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 1 << 20
    assert max(peaks) < 4 << 20
