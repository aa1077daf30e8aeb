"""Files are read within their limit, and secrets only where nobody else can."""

from __future__ import annotations

from pathlib import Path

import pytest

from sealserve.errors import ConfigError
from sealserve.files import read_file, read_secret, write_file


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
