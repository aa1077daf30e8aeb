"""Files appear whole or not at all, and are read within their limit; secrets only in private."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from sealserve.errors import ConfigError, UsageError
from sealserve.files import atomic_file, read_file, read_secret, write_file

KILLED_WHILE_WRITING = """
import os, pathlib, signal, sys
from sealserve.files import atomic_file

with atomic_file(pathlib.Path(sys.argv[1])) as stream:
    stream.write(b"secret")
    stream.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(params=["unnamed", "O_TMPFILE not supported", "no /proc"])
def any_system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def without_unnamed_files(path: str | Path, flags: int, *rest: int) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP), str(path))
        return real(path, flags, *rest)

    if request.param == "O_TMPFILE not supported":
        monkeypatch.setattr(os, "open", without_unnamed_files)
    elif request.param == "no /proc":
        monkeypatch.setattr(
            "sealserve.files._by_handle", lambda handle: Path(f"/missing/fd/{handle}")
        )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.usefixtures("any_system")
@pytest.mark.parametrize("name", ["file", "n" * 255, "ü" * 127], ids=["short", "long", "wide"])
@pytest.mark.parametrize("replace", [True, False])
def test_a_file_appears_with_its_mode_when_it_is_whole(
    tmp_path: Path, name: str, replace: bool
) -> None:
    path = tmp_path / name
    with atomic_file(path, mode=0o640, replace=replace) as stream:
        stream.write(b"whole")
        assert not path.exists()
    assert path.read_bytes() == b"whole"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert path.stat().st_nlink == 1
    assert names(tmp_path) == [name]


@pytest.mark.usefixtures("any_system")
def test_an_old_file_is_replaced_whole_and_a_link_is_not_followed(tmp_path: Path) -> None:
    write_file(tmp_path / "old", b"older and longer")
    (tmp_path / "link").symlink_to("old")
    (tmp_path / "lost").symlink_to("nothing")
    for name in ("link", "lost", "old"):
        write_file(tmp_path / name, b"new")
        assert not (tmp_path / name).is_symlink()
        assert (tmp_path / name).read_bytes() == b"new"
        assert (tmp_path / "old").read_bytes() == (b"new" if name == "old" else b"older and longer")
    assert names(tmp_path) == ["link", "lost", "old"]


@pytest.mark.usefixtures("any_system")
def test_what_appears_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with (
        pytest.raises(UsageError, match="exists and is not overwritten"),
        atomic_file(path, replace=False) as stream,
    ):
        stream.write(b"ours")
        path.write_bytes(b"theirs")
    assert path.read_bytes() == b"theirs"
    assert names(tmp_path) == ["file"]


@pytest.mark.usefixtures("any_system")
def test_after_an_error_the_old_file_is_there_and_nothing_else(tmp_path: Path) -> None:
    write_file(tmp_path / "file", b"old")
    with pytest.raises(ZeroDivisionError), atomic_file(tmp_path / "file") as stream:
        stream.write(b"n")
        _ = 1 // 0
    assert (tmp_path / "file").read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


@pytest.mark.usefixtures("any_system")
def test_a_folder_that_is_not_there_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot write .*file: No such file"):
        write_file(tmp_path / "no" / "file", b"")


def test_a_kill_leaves_nothing_where_files_can_be_without_a_name(tmp_path: Path) -> None:
    try:
        os.close(os.open(tmp_path, os.O_RDWR | os.O_TMPFILE))
    except OSError as error:
        pytest.skip(f"O_TMPFILE in {tmp_path}: {error.strerror}")
    killed = subprocess.run([sys.executable, "-c", KILLED_WHILE_WRITING, tmp_path / "file"])
    assert killed.returncode == -signal.SIGKILL
    assert names(tmp_path) == []


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    write_file(tmp_path / "file", b"four")
    assert read_file(tmp_path / "file", limit=4) == b"four"
    with pytest.raises(ConfigError, match="larger than the 3 bytes"):
        read_file(tmp_path / "file", limit=3)


@pytest.mark.parametrize("mode", [0o640, 0o620, 0o604, 0o602, 0o610])
def test_a_secret_that_others_may_use_is_not_read(tmp_path: Path, mode: int) -> None:
    write_file(tmp_path / "key", b"secret", mode=mode)
    with pytest.raises(ConfigError, match="others may use it"):
        read_secret(tmp_path / "key", limit=100)


def test_the_mode_that_counts_is_that_of_the_file_that_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_file(tmp_path / "open", b"secret", mode=0o644)
    write_file(tmp_path / "key", b"private")
    private = (tmp_path / "key").stat()
    # Somebody puts another file there between a look at the name and the opening.
    monkeypatch.setattr(Path, "stat", lambda *_, **__: private)
    with pytest.raises(ConfigError, match="others may use it"):
        read_secret(tmp_path / "open", limit=100)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files that belong to root")
def test_a_credential_of_systemds_is_the_services_own_though_its_access_list_shows_as_a_group(
    tmp_path, monkeypatch
):
    path = tmp_path / "kek"
    path.write_bytes(b"k" * 32)
    path.chmod(0o440)
    with pytest.raises(ConfigError, match="mode 0440"):
        read_secret(path, limit=64)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert read_secret(path, limit=64) == b"k" * 32
    for mode in (0o444, 0o460, 0o640 | 0o020):
        path.chmod(mode)
        with pytest.raises(ConfigError, match="others may use it"):
            read_secret(path, limit=64)
    path.chmod(0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "another"))
    with pytest.raises(ConfigError, match="mode 0440"):
        read_secret(path, limit=64)
