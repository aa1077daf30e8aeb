"""Sealing and unsealing on disk: layout, embedded paths, links, and all or nothing."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from sealserve import folders
from sealserve.errors import IntegrityError, UsageError, WrongPath
from sealserve.folders import find_tree, seal_tree, unseal_tree
from sealserve.sealing import open_sealed

KEY = bytes(range(16))
CONTENT = {"1/saved_model.pb": b"graph" * 2000, "1/variables/data": b"v", "2/empty.pb": b""}


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    root = tmp_path / "plain"
    for name, data in CONTENT.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    (root / "2" / "assets").mkdir()
    return root


def embedded(file: Path) -> str:
    with file.open("rb") as stream, open_sealed(stream, KEY) as reader:
        return reader.header.path


def tree_of(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_folder_keeps_its_layout_there_and_back(plain: Path, tmp_path: Path) -> None:
    done = seal_tree(find_tree(plain), tmp_path / "sealed", KEY)
    assert [str(file.target.relative_to(tmp_path)) for file in done] == [
        "sealed/1/saved_model.pb",
        "sealed/1/variables/data",
        "sealed/2/empty.pb",
    ]
    unseal_tree(find_tree(tmp_path / "sealed"), tmp_path / "back", KEY)
    assert tree_of(tmp_path / "back") == CONTENT
    assert (tmp_path / "back" / "2" / "assets").is_dir()


def test_a_folder_s_files_are_sealed_for_the_output_as_it_was_given(
    plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(plain.parent)
    Path("models").mkdir()
    seal_tree(find_tree(Path("plain")), Path("./models/../models/digits"), KEY)
    found = embedded(Path("models/digits/1/saved_model.pb"))
    assert found == "models/digits/1/saved_model.pb"
    unseal_tree(find_tree(Path("models/digits")), Path("back"), KEY, verify_path=True)


def test_another_path_can_be_embedded(plain: Path, tmp_path: Path) -> None:
    seal_tree(find_tree(plain), tmp_path / "sealed", KEY, embed_path="/srv/models/")
    assert embedded(tmp_path / "sealed/1/variables/data") == "/srv/models/1/variables/data"
    file = plain / "1" / "saved_model.pb"
    seal_tree(find_tree(file), tmp_path / "one", KEY, embed_path="models/one")
    assert embedded(tmp_path / "one") == "models/one"


def test_a_moved_file_is_refused_where_paths_are_verified(plain: Path, tmp_path: Path) -> None:
    seal_tree(find_tree(plain), tmp_path / "sealed", KEY)
    (tmp_path / "sealed").rename(tmp_path / "moved")
    with pytest.raises(WrongPath, match=r"moved/1/saved_model\.pb: sealed for"):
        unseal_tree(find_tree(tmp_path / "moved"), tmp_path / "back", KEY, verify_path=True)
    assert not (tmp_path / "back").exists()


def test_sealed_files_are_for_everybody_and_unsealed_ones_for_their_owner(
    plain: Path, tmp_path: Path
) -> None:
    seal_tree(find_tree(plain), tmp_path / "sealed", KEY)
    unseal_tree(find_tree(tmp_path / "sealed"), tmp_path / "back", KEY)
    paths = ("", "1", "1/variables", "2/assets", "1/variables/data")
    assert [mode(tmp_path / "sealed" / path) for path in paths] == [0o755] * 4 + [0o644]
    assert [mode(tmp_path / "back" / path) for path in paths] == [0o700] * 4 + [0o600]


def test_links_inside_the_folder_are_followed(plain: Path, tmp_path: Path) -> None:
    (plain / "latest").symlink_to("1")
    (plain / "copy.pb").symlink_to(plain / "1" / "saved_model.pb")
    seal_tree(find_tree(plain), tmp_path / "sealed", KEY)
    assert embedded(tmp_path / "sealed/latest/variables/data").endswith("latest/variables/data")
    assert not any(path.is_symlink() for path in (tmp_path / "sealed").rglob("*"))


@pytest.mark.parametrize(
    ("link", "to", "says"),
    [
        pytest.param("etc", "/etc", "leads out of the folder", id="a folder outside"),
        pytest.param("1/passwd", "/etc/passwd", "leads out of the folder", id="a file outside"),
        pytest.param(
            "1/up", "../../plain2", "leads out of the folder", id="a name that begins alike"
        ),
        pytest.param("1/nothing", "missing", "a link to nothing", id="nothing"),
        pytest.param("1/variables/up", "..", "a folder that it is in", id="in a circle"),
    ],
)
def test_links_that_lead_elsewhere_are_refused(
    plain: Path, tmp_path: Path, link: str, to: str, says: str
) -> None:
    (tmp_path / "plain2").mkdir()
    (plain / link).symlink_to(to)
    with pytest.raises(UsageError, match=says):
        find_tree(plain)


def test_what_is_neither_file_nor_folder_is_refused(plain: Path, tmp_path: Path) -> None:
    os.mkfifo(plain / "pipe")
    with pytest.raises(UsageError, match="pipe is neither"):
        find_tree(plain)
    with pytest.raises(UsageError, match="missing is neither"):
        find_tree(tmp_path / "missing")


@pytest.mark.parametrize(
    ("source", "target", "says"),
    [
        pytest.param("plain", "plain", "is the input itself", id="a folder onto itself"),
        pytest.param("plain", "plain/sealed", "is in the input", id="into itself"),
        pytest.param(
            "plain/2/empty.pb", "plain/2/empty.pb", "the input itself", id="a file onto itself"
        ),
        pytest.param("plain", "there", "only written where nothing is", id="onto a folder"),
        pytest.param("plain", "link", "only written where nothing is", id="onto a link to nothing"),
        pytest.param("plain/2/empty.pb", "there", "is a folder", id="a file onto a folder"),
        pytest.param("plain", "no/where", "there is no folder", id="a folder that is not there"),
    ],
)
def test_outputs_that_cannot_be_are_refused(
    plain: Path, tmp_path: Path, source: str, target: str, says: str
) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("nothing")
    with pytest.raises(UsageError, match=says):
        seal_tree(find_tree(tmp_path / source), tmp_path / target, KEY)
    assert tree_of(plain) == CONTENT


def test_one_bad_file_leaves_nothing_of_the_folder(plain: Path, tmp_path: Path) -> None:
    seal_tree(find_tree(plain), tmp_path / "sealed", KEY)
    with (tmp_path / "sealed/2/empty.pb").open("r+b") as stream:
        stream.seek(100)
        stream.write(b"changed")
    with pytest.raises(IntegrityError, match=r"sealed/2/empty\.pb: "):
        unseal_tree(find_tree(tmp_path / "sealed"), tmp_path / "back", KEY)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plain", "sealed"]


def test_a_bad_last_node_leaves_the_old_output_alone(plain: Path, tmp_path: Path) -> None:
    seal_tree(find_tree(plain / "1" / "saved_model.pb"), tmp_path / "sealed", KEY)
    with (tmp_path / "sealed").open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        stream.write(b"!")
    (tmp_path / "out").write_bytes(b"older")
    with pytest.raises(IntegrityError):
        unseal_tree(find_tree(tmp_path / "sealed"), tmp_path / "out", KEY)
    assert (tmp_path / "out").read_bytes() == b"older"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "plain", "sealed"]


def test_sealing_again_replaces_a_file_whole(plain: Path, tmp_path: Path) -> None:
    for name in ("1/saved_model.pb", "1/variables/data"):
        seal_tree(find_tree(plain / name), tmp_path / "sealed", KEY)
    assert (tmp_path / "sealed").stat().st_size == 4096


def test_what_the_system_refuses_is_an_error_of_ours(plain: Path, tmp_path: Path) -> None:
    name = "n" * 250  # the temporary name beside it is longer than a name may be
    with pytest.raises(UsageError, match="File name too long"):
        seal_tree(find_tree(plain), tmp_path / name, KEY)


def test_links_that_make_too_many_ways_to_a_few_folders_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "MAX_ENTRIES", 1000)
    root = tmp_path / "maze"
    for level in range(20):  # two ways from each to the next: 2^20 to the last
        (root / str(level)).mkdir(parents=True)
        for way in "ab":
            (root / str(level) / way).symlink_to(root / str(level + 1))
    (root / "20").mkdir()
    with pytest.raises(UsageError, match="more than 1000"):
        find_tree(root)
