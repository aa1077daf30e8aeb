"""Records of model folders: what is recorded, and what a folder is checked for."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import pytest

from sealserve.errors import IntegrityError, SealServeError, UsageError
from sealserve.folders import find_tree, seal_tree
from sealserve.models.record import check_record, find_model, make_record
from sealserve.resealing import reseal_in_place
from sealserve.sealing import ModelRecord, seal

KEY, NEW = bytes(range(16)), bytes(range(16, 32))
CONTENT = {"1/saved_model.pb": b"graph" * 9000, "1/variables/data": b"v", "2/saved_model.pb": b""}


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    for name, data in CONTENT.items():
        (tmp_path / "plain" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "plain" / name).write_bytes(data)
    return tmp_path / "plain"


@pytest.fixture
def sealed(plain: Path) -> Path:
    seal_tree(find_tree(plain), plain.parent / "sealed", KEY)
    return plain.parent / "sealed"


def record_of(folder: Path, *, key: bytes | None = None, version: int | None = None) -> ModelRecord:
    return make_record(find_model(folder), model="digits", version=version, key=key)


def test_a_record_is_of_the_plaintext_and_outlives_sealing_and_resealing(
    plain: Path, sealed: Path
) -> None:
    record = record_of(plain)
    assert [(file.path, file.size, file.sha256) for file in record.files] == [
        (name, len(data), hashlib.sha256(data).digest()) for name, data in CONTENT.items()
    ]
    assert record_of(sealed, key=KEY) == record
    reseal_in_place(find_tree(sealed), KEY, NEW)
    assert record_of(sealed, key=NEW).digest == record.digest
    check_record(find_model(sealed), record, key=NEW)


def test_one_version_is_recorded_and_checked_without_the_others(plain: Path) -> None:
    record = record_of(plain, version=1)
    assert [file.path for file in record.files] == ["1/saved_model.pb", "1/variables/data"]
    (plain / "2" / "saved_model.pb").write_bytes(b"another")
    (plain / "10").mkdir()
    (plain / "10" / "saved_model.pb").write_bytes(b"")
    check_record(find_model(plain), record, key=None)
    with pytest.raises(UsageError, match="holds 0 files of version 3"):
        record_of(plain, version=3)


def older(folder: Path) -> None:
    """An authentic file that was sealed for the same path with the same key, and is not it."""
    with (folder / "1/saved_model.pb").open("w+b") as sink:
        seal(io.BytesIO(b"GRAPH" * 9000), sink, KEY, path=f"{folder}/1/saved_model.pb")


def longer(folder: Path) -> None:
    with (folder / "1/variables/data").open("w+b") as sink:
        seal(io.BytesIO(b"vv"), sink, KEY, path="any")


def swapped(folder: Path) -> None:
    first, second = folder / "1/saved_model.pb", folder / "1/variables/data"
    first.rename(folder / "x")
    second.rename(first)
    (folder / "x").rename(second)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param(older, r"1/saved_model\.pb has the SHA-256", id="an older one put back"),
        pytest.param(longer, "1/variables/data has 2 bytes of plaintext, and 1", id="longer"),
        pytest.param(swapped, r"1/saved_model\.pb has 1 bytes", id="two swapped"),
        pytest.param(
            lambda folder: (folder / "2/saved_model.pb").unlink(),
            r"2/saved_model\.pb is in the record, and not there",
            id="missing",
        ),
        pytest.param(
            lambda folder: (folder / "1/extra").write_bytes(b""),
            "1/extra is there, and not in the record",
            id="extra",
        ),
        pytest.param(
            lambda folder: (folder / "1/saved_model.pb").write_bytes(b"plain"),
            r"1/saved_model\.pb: not a Gramine protected file",
            id="plain",
        ),
    ],
)
def test_the_first_file_that_differs_is_named(
    sealed: Path, change: Callable[[Path], object], says: str
) -> None:
    record = record_of(sealed, key=KEY)
    change(sealed)
    with pytest.raises(IntegrityError, match=f"sealed/{says}"):
        check_record(find_model(sealed), record, key=KEY)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param(
            lambda plain: (plain / "1/saved_model.pb").write_bytes(b"GRAFS_PF..."),
            r"plain/1/saved_model\.pb: it is sealed",
            id="a sealed file without a key",
        ),
        pytest.param(
            lambda plain: (plain / "a\nb").write_bytes(b""), "cannot be recorded", id="a name"
        ),
        pytest.param(
            lambda plain: [(plain / str(n)).write_bytes(b"") for n in range(10, 1010)],
            "holds 1003 files, and a record names 1 to 1000",
            id="too many",
        ),
    ],
)
def test_what_cannot_be_recorded_is_said(
    plain: Path, change: Callable[[Path], object], says: str
) -> None:
    change(plain)
    with pytest.raises(SealServeError, match=says) as caught:
        record_of(plain)
    assert isinstance(caught.value, UsageError)


def test_a_file_is_no_model(plain: Path) -> None:
    with pytest.raises(UsageError, match="name the model's base folder"):
        find_model(plain / "1/saved_model.pb")
