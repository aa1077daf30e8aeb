"""Digests of folders, and whether anything in them has changed."""

import os
from pathlib import Path

import pytest

from sealserve.errors import UsageError
from sealserve.lab.trees import MISSING, Digests

CONTENT_SHA256 = "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"  # b"content"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "packages"
    (folder / "package" / "inner").mkdir(parents=True)
    (folder / "package" / "module.py").write_bytes(b"content")
    (folder / "package" / "inner" / "data.bin").write_bytes(bytes(600_000))
    return folder


def test_every_file_is_named_by_its_place_in_the_folder(folder: Path) -> None:
    (tree,), _ = Digests().measure([folder])
    assert sorted(tree) == ["package/inner/data.bin", "package/module.py"]
    assert tree["package/module.py"] == CONTENT_SHA256


def test_the_same_content_elsewhere_has_the_same_digests(folder: Path, tmp_path: Path) -> None:
    before, _ = Digests().measure([folder])
    after, _ = Digests().measure([folder.rename(tmp_path / "moved")])
    assert before == after


def test_files_links_and_what_is_missing_are_measured(folder: Path) -> None:
    (folder / "link.py").symlink_to("package/module.py")
    (folder / "linked").symlink_to("package")
    (folder / "broken.py").symlink_to("nowhere.py")
    trees, _ = Digests().measure([folder, folder / "package/module.py", folder / "nothing.zip"])
    assert trees[0]["link.py"] == trees[0]["linked/module.py"] == CONTENT_SHA256
    assert trees[0]["broken.py"] == MISSING
    assert trees[1:] == [{"": CONTENT_SHA256}, {"": MISSING}]


def test_bytecode_folders_are_neither_measured_nor_a_change(folder: Path) -> None:
    before, seen = Digests().measure([folder])
    (folder / "package" / "__pycache__").mkdir()
    (folder / "package" / "__pycache__" / "module.pyc").write_bytes(b"bytecode")
    assert seen.changed() is None
    assert Digests().measure([folder])[0] == before


def test_names_to_leave_out_count_at_the_top_only(folder: Path) -> None:
    (folder / "site-packages").mkdir()
    (folder / "site-packages" / "other.py").touch()
    (folder / "package" / "site-packages").touch()
    (tree,), _ = Digests().measure([folder], leave_out=frozenset(("site-packages",)))
    assert "package/site-packages" in tree
    assert "site-packages/other.py" not in tree


def _rewrite(folder: Path) -> None:
    (folder / "package" / "module.py").write_bytes(b"CONTENT")


def _rewrite_and_hide(folder: Path) -> None:
    """Another content of the same size, then the old content and the old times again."""
    file = folder / "package" / "module.py"
    times = file.stat()
    file.write_bytes(b"CONTENT")
    file.write_bytes(b"content")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def _replace(folder: Path) -> None:
    (folder / "new.py").write_bytes(b"content")
    (folder / "new.py").rename(folder / "package" / "module.py")


def _link(folder: Path) -> None:
    file = folder / "package" / "module.py"
    (folder.parent / "elsewhere.py").write_bytes(b"content")
    file.unlink()
    file.symlink_to(folder.parent / "elsewhere.py")


CHANGES = {
    "rewritten": _rewrite,
    "rewritten-and-put-back": _rewrite_and_hide,
    "replaced": _replace,
    "made-a-link": _link,
    "removed": lambda folder: (folder / "package" / "module.py").unlink(),
    "shadowed": lambda folder: (folder / "package" / "new.py").touch(),
    "new-package": lambda folder: (folder / "added").mkdir(),
    "what-was-missing": lambda folder: (folder.parent / "python.zip").touch(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_any_change_after_measuring_is_seen(folder: Path, change: str) -> None:
    _, seen = Digests().measure([folder, folder.parent / "python.zip"])
    assert seen.changed() is None
    CHANGES[change](folder)
    assert seen.changed() is not None


def test_a_changed_file_is_read_again_and_not_answered_from_memory(folder: Path) -> None:
    digests = Digests()
    before, _ = digests.measure([folder])
    _rewrite(folder)
    after, seen = digests.measure([folder])
    assert before[0]["package/module.py"] != after[0]["package/module.py"]
    assert seen.changed() is None


def _pipe(folder: Path) -> None:
    os.mkfifo(folder / "pipe.py")


def _loop(folder: Path) -> None:
    (folder / "package" / "loop").symlink_to(folder)


def _link_to_itself(folder: Path) -> None:
    (folder / "self.py").symlink_to("self.py")


@pytest.mark.parametrize("trap", [_pipe, _loop, _link_to_itself])
def test_what_cannot_be_measured_is_refused(folder: Path, trap: object) -> None:
    assert callable(trap)
    trap(folder)
    with pytest.raises(UsageError) as refused:
        Digests().measure([folder])
    assert refused.value.code == "lab.unmeasurable"
