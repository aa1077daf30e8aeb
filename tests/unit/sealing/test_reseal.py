"""A protected file under another wrap key: the same plaintext, nothing of the old keys."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from typing import Any

import pytest

from sealserve.errors import (
    NodeTampered,
    UnsupportedVersion,
    UsageError,
    WrongKeyOrHeader,
    WrongPath,
)
from sealserve.sealing import Header, open_sealed, open_sealed_under, reseal, seal

OLD, NEW, OTHER = bytes(range(16)), bytes(range(16, 32)), bytes(range(32, 48))
NODE, HEAD, GROUP = 4096, 3072, 96 * 4096


def sealed(plaintext: bytes, version: int = 2, key: bytes = OLD) -> io.BytesIO:
    sink = io.BytesIO()
    seal(io.BytesIO(plaintext), sink, key, path="models/a", version=version)
    return sink


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    "size", [0, 1, HEAD, HEAD + 1, HEAD + NODE, HEAD + GROUP, HEAD + GROUP + 1, 34 * GROUP + 5]
)
def test_the_plaintext_stays_and_every_key_is_another(
    size: int, version: int, decode: Callable[..., Any]
) -> None:
    plaintext = random.Random(size).randbytes(size)
    source, sink = sealed(plaintext, version), io.BytesIO()
    counts: list[int] = []
    header = reseal(source, sink, OLD, NEW, advance=counts.append)
    assert header == Header("models/a", size, version)
    assert sum(counts) == size
    before, after = decode(source.getvalue(), OLD), decode(sink.getvalue(), NEW)
    assert (after.plaintext, after.path, after.version) == (plaintext, "models/a", version)
    assert not set(before.node_keys) & set(after.node_keys)
    with pytest.raises(WrongKeyOrHeader):
        open_sealed(sink, OLD)


def test_path_and_version_change_where_they_are_given() -> None:
    sink = io.BytesIO()
    reseal(sealed(b"x", version=1), sink, OLD, NEW, path="./next//a", version=2)
    assert open_sealed(sink, NEW).header == Header("next/a", 1, 2)


def test_nothing_that_opens_is_written_of_a_file_with_one_changed_bit() -> None:
    data = bytearray(sealed(bytes(3 * GROUP)).getvalue())
    data[-1] ^= 1
    sink = io.BytesIO()
    with pytest.raises(NodeTampered):
        reseal(io.BytesIO(data), sink, OLD, NEW)
    assert not any(sink.getvalue()[:NODE])


@pytest.mark.parametrize(
    ("old", "new", "changes", "error"),
    [
        pytest.param(OTHER, NEW, {}, WrongKeyOrHeader, id="another old key"),
        pytest.param(NEW, OLD, {}, WrongKeyOrHeader, id="the keys the wrong way round"),
        pytest.param(OLD[:15], NEW, {}, UsageError, id="a short old key"),
        pytest.param(OLD, NEW + b"\n", {}, UsageError, id="a long new key"),
        pytest.param(OLD, NEW, {"version": 3}, UnsupportedVersion, id="a version of the future"),
        pytest.param(OLD, NEW, {"path": "a/.."}, UsageError, id="a path of nothing"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    old: bytes, new: bytes, changes: dict[str, Any], error: type[Exception]
) -> None:
    sink = io.BytesIO()
    with pytest.raises(error):
        reseal(sealed(b"x"), sink, old, new, **changes)
    assert sink.getvalue() == b""


def test_a_file_is_opened_under_the_first_key_that_fits() -> None:
    assert open_sealed_under(sealed(b"x"), [OTHER, OLD, NEW])[0] == 1
    assert open_sealed_under(sealed(b"x", key=NEW), [NEW])[0] == 0
    with pytest.raises(WrongPath):
        open_sealed_under(sealed(b"x"), [OTHER, OLD], expected_path="models/b")
    with pytest.raises(WrongKeyOrHeader, match="tried 2 keys: node 0"):
        open_sealed_under(sealed(b"x"), [OTHER, NEW])
    with pytest.raises(WrongKeyOrHeader, match=r"^node 0"):
        open_sealed_under(sealed(b"x"), [OTHER])
    with pytest.raises(UsageError, match="none is given"):
        open_sealed_under(sealed(b"x"), [])
