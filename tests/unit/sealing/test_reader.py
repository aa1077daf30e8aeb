"""Reading protected files: anywhere, whole, and never a byte that is not authentic."""

from __future__ import annotations

import io
import random

import pytest

from sealserve.errors import IntegrityError, NodeTampered, UsageError, WrongPath
from sealserve.sealing import Header, open_sealed, seal, unseal

KEY = bytes(range(16))
NODE, HEAD, GROUP = 4096, 3072, 96 * 4096
SIZE = HEAD + 2 * GROUP + 5000
PLAINTEXT = random.Random(0).randbytes(SIZE)


def sealed(plaintext: bytes, path: str = "models/a") -> bytes:
    sink = io.BytesIO()
    seal(io.BytesIO(plaintext), sink, KEY, path=path)
    return sink.getvalue()


@pytest.fixture(scope="module")
def file() -> bytes:
    return sealed(PLAINTEXT)


def flipped(file: bytes, at: int) -> bytes:
    return file[:at] + bytes([file[at] ^ 0x80]) + file[at + 1 :]


def test_the_header_says_path_size_and_version(file: bytes) -> None:
    with open_sealed(io.BytesIO(file), KEY) as reader:
        assert reader.header == Header("models/a", SIZE, 2)


def test_the_whole_plaintext_goes_into_a_given_buffer(file: bytes) -> None:
    with open_sealed(io.BytesIO(file), KEY) as reader:
        buffer = bytearray(reader.header.size)
        assert reader.readinto(buffer) == SIZE
    assert buffer == PLAINTEXT


def test_read_gives_the_rest(file: bytes) -> None:
    with open_sealed(io.BytesIO(file), KEY) as reader:
        reader.seek(100)
        assert reader.read() == PLAINTEXT[100:]
        assert reader.read() == b""


@pytest.mark.parametrize(
    ("start", "length"),
    [
        pytest.param(0, 1, id="first byte"),
        pytest.param(0, HEAD, id="the head"),
        pytest.param(HEAD - 1, 2, id="out of the head"),
        pytest.param(HEAD, NODE, id="one node"),
        pytest.param(HEAD + 10, NODE, id="across two nodes"),
        pytest.param(HEAD + NODE - 1, 2 * NODE + 2, id="a byte, two nodes, a byte"),
        pytest.param(HEAD + GROUP - 1, 2, id="across two groups"),
        pytest.param(HEAD + GROUP - NODE, 3 * NODE, id="nodes of two groups"),
        pytest.param(HEAD + 2 * GROUP + 4999, 1, id="last byte"),
        pytest.param(SIZE - 10, 100, id="over the end"),
        pytest.param(SIZE, 10, id="at the end"),
        pytest.param(SIZE + 10, 10, id="behind the end"),
    ],
)
def test_any_part_can_be_read(file: bytes, start: int, length: int) -> None:
    with open_sealed(io.BytesIO(file), KEY) as reader:
        reader.seek(start)
        assert reader.read(length) == PLAINTEXT[start : start + length]
        assert reader.tell() == start + len(PLAINTEXT[start : start + length])


def test_it_is_a_stream_like_any_other(file: bytes) -> None:
    with io.BufferedReader(open_sealed(io.BytesIO(file), KEY)) as stream:
        stream.seek(-10, io.SEEK_END)
        assert stream.read() == PLAINTEXT[-10:]
        stream.seek(5)
        stream.seek(5, io.SEEK_CUR)
        assert stream.read(4) == PLAINTEXT[10:14]


def test_a_position_before_the_start_is_refused(file: bytes) -> None:
    with open_sealed(io.BytesIO(file), KEY) as reader, pytest.raises(ValueError, match="-1"):
        reader.seek(-1)


@pytest.mark.parametrize("expected", ["models/a", "./models//a", "models/b/../a"])
def test_a_file_opens_under_the_path_that_it_was_sealed_for(file: bytes, expected: str) -> None:
    open_sealed(io.BytesIO(file), KEY, expected_path=expected).close()


@pytest.mark.parametrize("expected", ["models/b", "/models/a", "models/a/a", "a", "", "Models/a"])
def test_a_file_does_not_open_under_another_path(file: bytes, expected: str) -> None:
    with pytest.raises(WrongPath, match="sealed for the path 'models/a'"):
        open_sealed(io.BytesIO(file), KEY, expected_path=expected)


@pytest.mark.parametrize(
    ("node", "kind"),
    [(1, "MHT"), (2, "data"), (50, "data"), (97, "data"), (98, "MHT"), (99, "data"), (195, "MHT")],
)
def test_a_changed_node_is_named(file: bytes, node: int, kind: str) -> None:
    for offset in (0, 15, 16, NODE - 1):
        with pytest.raises(NodeTampered, match=f"{kind} node at physical node {node} ") as caught:
            unseal(io.BytesIO(flipped(file, node * NODE + offset)), io.BytesIO(), KEY)
        assert caught.value.node == node
        assert caught.value.exit_code == 5


def test_nodes_that_changed_places_are_refused(file: bytes) -> None:
    swapped = file[: 2 * NODE] + file[3 * NODE : 4 * NODE] + file[2 * NODE : 3 * NODE]
    with pytest.raises(NodeTampered):
        unseal(io.BytesIO(swapped + file[4 * NODE :]), io.BytesIO(), KEY)


def test_a_node_of_an_older_state_of_the_same_file_is_refused(file: bytes) -> None:
    older = sealed(PLAINTEXT)
    mixed = file[: 98 * NODE] + older[98 * NODE :]
    with pytest.raises(NodeTampered) as caught:
        unseal(io.BytesIO(mixed), io.BytesIO(), KEY)
    assert caught.value.node == 98


def test_a_file_that_changes_after_it_was_opened_is_refused(file: bytes) -> None:
    source = io.BytesIO(file)
    with open_sealed(source, KEY) as reader:
        reader.read(HEAD + GROUP)
        source.seek(0)
        source.write(sealed(PLAINTEXT[::-1]))
        with pytest.raises(NodeTampered):
            reader.read()


def test_a_file_that_is_cut_off_after_it_was_opened_is_refused(file: bytes) -> None:
    source = io.BytesIO(file)
    with open_sealed(source, KEY) as reader:
        source.truncate(100 * NODE)
        with pytest.raises(IntegrityError) as caught:
            reader.read()
    assert caught.value.code == "integrity.truncated"


def test_a_failed_read_gives_out_no_unauthenticated_byte_and_stays_where_it_was(
    file: bytes,
) -> None:
    with open_sealed(io.BytesIO(flipped(file, 3 * NODE + 5)), KEY) as reader:
        reader.seek(HEAD)
        buffer = bytearray(b"\xee" * 3 * NODE)
        with pytest.raises(NodeTampered):
            reader.readinto(buffer)
        assert reader.tell() == HEAD
    authentic = PLAINTEXT[HEAD:]
    for index in range(3):
        piece = buffer[index * NODE : (index + 1) * NODE]
        untouched = piece in (bytes(NODE), b"\xee" * NODE)
        assert untouched or piece == authentic[index * NODE : (index + 1) * NODE]
    assert buffer[NODE : 2 * NODE] == bytes(NODE)


@pytest.mark.parametrize("nodes", [1, 2, 97, 98, 195, 197])
def test_a_file_with_nodes_missing_is_refused(file: bytes, nodes: int) -> None:
    with pytest.raises(IntegrityError, match=f"ends after {nodes} nodes") as caught:
        open_sealed(io.BytesIO(file[: nodes * NODE]), KEY)
    assert caught.value.code == "integrity.truncated"


def test_nodes_after_the_last_are_accepted_as_gramine_accepts_them(file: bytes) -> None:
    with open_sealed(io.BytesIO(file + b"left over".ljust(NODE, b"\0")), KEY) as reader:
        assert reader.read() == PLAINTEXT


def test_a_wrap_key_of_another_length_is_refused(file: bytes) -> None:
    with pytest.raises(UsageError, match="has 32 bytes"):
        open_sealed(io.BytesIO(file), bytes(32))
