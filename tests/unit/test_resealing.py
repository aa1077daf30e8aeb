"""Resealing in place: all headers first, one file after the other, and again until it is done."""

from __future__ import annotations

import fcntl
import io
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from sealserve import files, resealing
from sealserve.errors import IntegrityError, NodeTampered, UsageError, WrongKeyOrHeader
from sealserve.folders import find_tree, reseal_tree, seal_tree
from sealserve.resealing import reseal_in_place
from sealserve.sealing import open_sealed, seal

OLD, NEW = bytes(range(16)), bytes(range(16, 32))
CONTENT = {"1/saved_model.pb": b"graph" * 9000, "1/variables/data": b"v", "2/empty.pb": b""}


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    for name, data in CONTENT.items():
        (tmp_path / "plain" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "plain" / name).write_bytes(data)
    target = tmp_path / "sealed"
    seal_tree(find_tree(tmp_path / "plain"), target, OLD, version=1, embed_path="models/digits")
    return target


def content(file: Path, key: bytes) -> bytes:
    with file.open("rb") as stream, open_sealed(stream, key) as reader:
        return reader.readall()


def contents(root: Path, key: bytes) -> dict[str, bytes]:
    return {str(file): content(root / file, key) for file in find_tree(root).files}


def raw(root: Path) -> dict[str, tuple[bytes, int]]:
    tree = find_tree(root)
    return {str(f): ((root / f).read_bytes(), (root / f).stat().st_ino) for f in tree.files}


def outcomes(done: list[resealing.Resealed]) -> list[bool]:
    return [each.resealed for each in done]


def test_path_version_and_mode_stay_and_the_new_key_opens_all(sealed: Path) -> None:
    (sealed / "1/saved_model.pb").chmod(0o640)
    (sealed / "2/empty.pb").chmod(0o444)
    counts: list[int] = []
    done = reseal_in_place(find_tree(sealed), OLD, NEW, advance=counts.append)
    assert outcomes(done) == [True] * 3
    assert {each.header.path for each in done} == {f"models/digits/{name}" for name in CONTENT}
    assert {each.header.version for each in done} == {1}
    assert contents(sealed, NEW) == CONTENT
    assert sum(counts) == sum(map(len, CONTENT.values()))
    modes = [stat.S_IMODE((sealed / name).stat().st_mode) for name in CONTENT]
    assert modes == [0o640, 0o644, 0o444]


def test_a_second_run_changes_nothing(sealed: Path) -> None:
    reseal_in_place(find_tree(sealed), OLD, NEW)
    before = raw(sealed)
    assert outcomes(reseal_in_place(find_tree(sealed), OLD, NEW)) == [False] * 3
    assert raw(sealed) == before


def test_what_is_done_is_left_alone_unless_it_should_have_another_version(sealed: Path) -> None:
    reseal_in_place(find_tree(sealed / "1/saved_model.pb"), OLD, NEW, version=2)
    done = reseal_in_place(find_tree(sealed), OLD, NEW, version=2)
    assert outcomes(done) == [False, True, True]
    assert {each.header.version for each in done} == {2}
    assert outcomes(reseal_in_place(find_tree(sealed), OLD, NEW, version=1)) == [True] * 3
    assert contents(sealed, NEW) == CONTENT


def damaged_header(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[20] ^= 1
    file.write_bytes(data)


def under_a_third_key(file: Path) -> None:
    with file.open("w+b") as sink:
        seal(io.BytesIO(b"x"), sink, bytes(16), path="x")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param(damaged_header, "integrity.key-or-header", id="a damaged header"),
        pytest.param(under_a_third_key, "integrity.key-or-header", id="a third key"),
        pytest.param(lambda f: f.write_bytes(b"plain"), "integrity.not-protected", id="plain"),
        pytest.param(lambda f: f.write_bytes(b""), "integrity.not-protected", id="empty"),
        pytest.param(lambda f: f.write_bytes(f.read_bytes()[:100]), "integrity.size", id="cut off"),
    ],
)
def test_one_file_that_cannot_be_opened_keeps_all_as_they_are(
    sealed: Path, change: Any, code: str
) -> None:
    change(sealed / "2/empty.pb")
    before = raw(sealed)
    with pytest.raises(IntegrityError, match=r"sealed/2/empty\.pb: ") as caught:
        reseal_in_place(find_tree(sealed), OLD, NEW)
    assert caught.value.code == code
    assert raw(sealed) == before


def test_the_keys_the_wrong_way_round_reseal_what_is_done_back(sealed: Path) -> None:
    reseal_in_place(find_tree(sealed), OLD, NEW)
    assert outcomes(reseal_in_place(find_tree(sealed), NEW, OLD)) == [True] * 3
    assert contents(sealed, OLD) == CONTENT
    with pytest.raises(WrongKeyOrHeader, match="tried 2 keys"):
        reseal_in_place(find_tree(sealed), NEW, bytes(16))


def test_a_changed_node_stops_the_run_at_its_file_and_the_rest_goes_on_later(sealed: Path) -> None:
    bad = sealed / "1/saved_model.pb"
    whole = bad.read_bytes()
    bad.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    (sealed / "0").write_bytes((sealed / "2/empty.pb").read_bytes())
    with pytest.raises(NodeTampered, match=r"sealed/1/saved_model\.pb: data node"):
        reseal_in_place(find_tree(sealed), OLD, NEW)
    assert content(sealed / "0", NEW) == b""
    assert content(sealed / "2/empty.pb", OLD) == b""
    bad.write_bytes(whole)
    assert outcomes(reseal_in_place(find_tree(sealed), OLD, NEW)) == [False, True, True, True]
    assert contents(sealed, NEW) == {"0": b"", **CONTENT}
    assert all(not path.name.endswith(".part") for path in sealed.rglob("*"))


def test_what_reads_back_otherwise_than_it_was_written_replaces_nothing(
    sealed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing_disk(source: Any, sink: Any, *arguments: Any, **options: Any) -> Any:
        header = real(source, sink, *arguments, **options)
        sink.seek(2 * 4096)
        sink.write(b"!")
        return header

    real = resealing.reseal
    monkeypatch.setattr(resealing, "reseal", failing_disk)
    before = raw(sealed)
    with pytest.raises(NodeTampered, match=r"sealed/1/saved_model\.pb: "):
        reseal_in_place(find_tree(sealed), OLD, NEW)
    assert raw(sealed) == before


def test_who_has_the_old_file_open_goes_on_reading_it(sealed: Path) -> None:
    with (sealed / "1/saved_model.pb").open("rb") as stream, open_sealed(stream, OLD) as reader:
        first = reader.read(5000)
        reseal_in_place(find_tree(sealed), OLD, NEW)
        assert first + reader.readall() == CONTENT["1/saved_model.pb"]
    assert contents(sealed, NEW) == CONTENT


def test_a_link_stays_and_what_it_points_to_is_resealed_once(sealed: Path) -> None:
    (sealed / "latest").symlink_to("1")
    (sealed / "3.pb").symlink_to("2/empty.pb")
    done = reseal_in_place(find_tree(sealed), OLD, NEW)
    assert sum(outcomes(done)) == 3
    assert (sealed / "latest").is_symlink()
    assert (sealed / "3.pb").is_symlink()
    assert content(sealed / "latest/saved_model.pb", NEW) == CONTENT["1/saved_model.pb"]


def test_two_runs_do_not_work_on_one_folder_at_once(sealed: Path) -> None:
    handle = os.open(sealed, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match="another run is resealing"):
            reseal_in_place(find_tree(sealed), OLD, NEW)
    finally:
        os.close(handle)
    assert contents(sealed, OLD) == CONTENT


def test_what_a_killed_run_left_under_a_name_is_removed(
    sealed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_by_handle", lambda _handle: Path("/nowhere"))  # as without /proc
    long = sealed / f"{'n' * 60}.pb"
    long.write_bytes((sealed / "2/empty.pb").read_bytes())
    for file in (sealed / "1/saved_model.pb", long):
        with files.atomic_file(file) as stream:
            stream.write(b"half a file")
            stream.flush()
            (part,) = file.parent.glob(".*.part")
            kept = part.with_name(part.name.replace(".part", ".keep"))
            kept.hardlink_to(part)
            stream.seek(0)
            stream.write(file.read_bytes())
        kept.rename(part)
    assert len(list(sealed.rglob(".*.part"))) == 2
    before = raw(sealed)
    with pytest.raises(WrongKeyOrHeader):
        reseal_in_place(find_tree(sealed), NEW, bytes(16))
    assert raw(sealed) == before
    assert outcomes(reseal_in_place(find_tree(sealed), OLD, NEW)) == [True] * 4
    assert contents(sealed, NEW) == {long.name: b"", **CONTENT}


def test_a_part_of_no_file_that_is_there_is_not_removed(sealed: Path) -> None:
    stranger = sealed / ".letters.0123456789abcdef.part"
    stranger.write_bytes(b"somebody's")
    with pytest.raises(IntegrityError, match="not a Gramine protected file"):
        reseal_in_place(find_tree(sealed), OLD, NEW)
    assert stranger.read_bytes() == b"somebody's"


def test_another_place_is_sealed_for_its_path_and_takes_files_under_both_keys(
    sealed: Path, tmp_path: Path
) -> None:
    reseal_in_place(find_tree(sealed / "2/empty.pb"), OLD, NEW)
    before = raw(sealed)
    done = reseal_tree(find_tree(sealed), tmp_path / "next", OLD, NEW)
    assert raw(sealed) == before
    assert contents(tmp_path / "next", NEW) == CONTENT
    assert [each.header.path for each in done] == [str(tmp_path / "next" / f) for f in CONTENT]
    done = reseal_tree(
        find_tree(sealed), tmp_path / "v2", OLD, NEW, version=2, embed_path="models/digits"
    )
    assert {each.header.version for each in done} == {2}
    assert done[0].header.path == "models/digits/1/saved_model.pb"


def test_another_place_appears_whole_or_not_at_all(sealed: Path, tmp_path: Path) -> None:
    under_a_third_key(sealed / "2/empty.pb")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(WrongKeyOrHeader, match=r"sealed/2/empty\.pb: tried 2 keys"):
        reseal_tree(find_tree(sealed), tmp_path / "next", OLD, NEW)
    assert sorted(tmp_path.iterdir()) == before
