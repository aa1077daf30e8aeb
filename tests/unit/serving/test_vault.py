"""Which files are read: with a key sealed ones alone, without one plain ones alone."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from sealserve.errors import (
    ConfigError,
    IntegrityError,
    NodeTampered,
    SealServeError,
    WrongKeyOrHeader,
    WrongPath,
)
from sealserve.sealing import seal
from sealserve.serving.keys import WrapKey
from sealserve.serving.vault import Vault

KEY = bytes(range(16))
PLAIN = b"plaintext of a model " * 1000
LIMIT = 1 << 20


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    return tmp_path


@pytest.fixture
def write_sealed(folder: Path) -> Callable[..., Path]:
    def write(path: str, *, embed: str | None = None, key: bytes = KEY) -> Path:
        with (folder / path).open("w+b") as sink:
            seal(io.BytesIO(PLAIN), sink, key, path=embed or path)
        return folder / path

    return write


@pytest.mark.parametrize("flush_caches", [False, True])
def test_a_sealed_file_is_opened_under_the_path_as_configured(
    flush_caches: bool, write_sealed: Callable[..., Path]
) -> None:
    write_sealed("models/m.pb")
    vault = Vault(WrapKey(KEY), flush_caches=flush_caches)
    assert vault.read("models/m.pb", limit=LIMIT) == PLAIN
    assert vault.read("./models//m.pb", limit=LIMIT) == PLAIN


def test_a_plain_file_is_read_where_there_is_no_key(folder: Path) -> None:
    (folder / "m.pb").write_bytes(PLAIN)
    assert Vault(None).read("m.pb", limit=LIMIT) == PLAIN


def tampered(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[2 * 4096 + 17] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("embed", "key", "change", "error", "code"),
    [
        pytest.param(
            "other/m.pb", KEY, None, WrongPath, "integrity.path", id="sealed-for-another-path"
        ),
        pytest.param(
            None, bytes(16), None, WrongKeyOrHeader, "integrity.key-or-header", id="other-key"
        ),
        pytest.param(None, KEY, tampered, NodeTampered, "integrity.node", id="one-flipped-bit"),
        pytest.param(
            None,
            KEY,
            lambda path: path.write_bytes(PLAIN),
            IntegrityError,
            "integrity.not-protected",
            id="plain-in-its-place",
        ),
        pytest.param(
            None,
            KEY,
            lambda path: path.write_bytes(path.read_bytes()[:8192]),
            IntegrityError,
            "integrity.truncated",
            id="cut-off",
        ),
    ],
)
def test_each_failure_is_told_apart_and_names_the_file(
    embed: str | None,
    key: bytes,
    change: Callable[[Path], object] | None,
    error: type[SealServeError],
    code: str,
    write_sealed: Callable[..., Path],
) -> None:
    path = write_sealed("models/m.pb", embed=embed, key=key)
    if change is not None:
        change(path)
    with pytest.raises(error) as caught:
        Vault(WrapKey(KEY)).read("models/m.pb", limit=LIMIT)
    assert caught.value.code == code
    assert str(caught.value).startswith("models/m.pb: ")
    assert caught.value.message == str(caught.value)


def test_a_sealed_file_without_a_key_says_what_is_missing(
    write_sealed: Callable[..., Path],
) -> None:
    write_sealed("models/m.pb")
    with pytest.raises(ConfigError, match="sealed, and this server has no key"):
        Vault(None).read("models/m.pb", limit=LIMIT)


def test_files_that_are_too_large_or_not_there_are_refused(
    folder: Path, write_sealed: Callable[..., Path]
) -> None:
    write_sealed("models/m.pb")
    (folder / "m.pb").write_bytes(PLAIN)
    for vault, path in ((Vault(WrapKey(KEY)), "models/m.pb"), (Vault(None), "m.pb")):
        with pytest.raises(ConfigError, match="at most 100 are read"):
            vault.read(path, limit=100)
        with pytest.raises(ConfigError, match="cannot read nothing: No such file"):
            vault.read("nothing", limit=LIMIT)
        with pytest.raises(ConfigError, match="cannot read models: Is a directory"):
            vault.read("models", limit=LIMIT)
