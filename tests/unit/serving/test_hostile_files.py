"""What a host may put where a model's files should be: nothing hangs, and nothing is believed."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from sealserve.errors import ConfigError
from sealserve.serving.opening.vault import Vault
from sealserve.serving.opening.version_files import COUNT_LIMIT, FolderFiles


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def a_folder(path: Path) -> None:
    path.mkdir()


def a_circle(path: Path) -> None:
    path.symlink_to(path.name)


def nothing(path: Path) -> None:
    path.symlink_to("nothing")


@pytest.mark.parametrize(
    "make", [a_pipe, a_socket, a_device, a_folder, a_circle, nothing], ids=lambda f: f.__name__
)
def test_what_is_no_regular_file_is_refused_at_once(
    make: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    make(Path("saved_model.pb"))
    descriptors = _descriptors()
    with pytest.raises(ConfigError) as caught:
        Vault(None).read("saved_model.pb", limit=1 << 30)
    assert caught.value.code == "file"
    assert _descriptors() == descriptors


def test_a_sparse_file_beyond_the_limit_takes_no_memory(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(ConfigError, match="at most 1024 are read"):
        Vault(None).read(str(tmp_path / "large"), limit=1024)


@pytest.mark.parametrize("kind", ["files", "folders", "a chain of folders"])
def test_a_folder_with_too_much_in_it_is_no_version(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = 100
    monkeypatch.setattr("sealserve.serving.opening.version_files.COUNT_LIMIT", limit)
    place = tmp_path
    for number in range(limit + 1):
        if kind == "files":
            (place / f"{number}").touch()
        else:
            (place / f"{number}").mkdir()
        if kind == "a chain of folders":
            place = place / f"{number}"
    with pytest.raises(ConfigError, match="holds more than 100 files; is it a version"):
        FolderFiles(Vault(None), str(tmp_path))
    assert COUNT_LIMIT == 10_000


def test_folders_behind_links_are_not_entered(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").touch()
    version = tmp_path / "1"
    (version / "variables").mkdir(parents=True)
    (version / "saved_model.pb").touch()
    (version / "variables" / "variables.index").touch()
    (version / "assets").symlink_to("../outside")
    (version / "variables" / "round").symlink_to("..")
    found = FolderFiles(Vault(None), str(version)).names
    assert found == ("saved_model.pb", "variables/variables.index")


def _descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}
