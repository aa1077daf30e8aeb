"""Files in memory: readable while they last, changeable never, inherited by nobody."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from sealserve.errors import FailedPrecondition
from sealserve.serving.memory import memory_file


def test_the_pieces_are_read_back_as_one() -> None:
    with memory_file("test", [b"one", b"", b"two" * 1_000_000]) as path:
        assert path.read_bytes() == b"one" + b"two" * 1_000_000


def test_the_file_is_on_no_file_system_and_ends_with_the_block() -> None:
    with memory_file("test", [b"secret"]) as path:
        assert str(path.readlink()) == "/memfd:test (deleted)"
    assert not path.exists()


def test_it_ends_with_the_block_that_fails() -> None:
    with pytest.raises(KeyError), memory_file("test", [b"secret"]) as path:
        raise KeyError
    assert not path.exists()


def test_nobody_can_change_it() -> None:
    with memory_file("test", [b"secret"]) as path, path.open("r+b") as stream:
        with pytest.raises(PermissionError):
            os.write(stream.fileno(), b"public")
        with pytest.raises(PermissionError):
            os.ftruncate(stream.fileno(), 0)


def test_programs_that_are_started_do_not_inherit_it() -> None:
    with memory_file("test", [b"secret"]) as path:
        assert not os.get_inheritable(int(path.name))


def test_a_kernel_without_memory_files_is_no_reason_to_use_a_disk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(name: str, flags: int) -> int:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(os, "memfd_create", refuse)
    with pytest.raises(FailedPrecondition, match="not put on a disk"), memory_file("test", []):
        pytest.fail("a file was made")


def test_the_path_is_that_of_this_process() -> None:
    with memory_file("test", [b""]) as path:
        assert path.parent == Path("/proc/self/fd")
