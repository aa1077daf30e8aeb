"""Which files are read: with a key sealed ones alone, without one plain ones alone."""

from __future__ import annotations

import hashlib
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
from sealserve.sealing import ModelRecord, RecordedFile, seal
from sealserve.serving.opening.keys import WrapKey
from sealserve.serving.opening.vault import Vault, _Recorded

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
    vault = Vault([WrapKey(KEY)], flush_caches=flush_caches)
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
        Vault([WrapKey(KEY)]).read("models/m.pb", limit=LIMIT)
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
    for vault, path in ((Vault([WrapKey(KEY)]), "models/m.pb"), (Vault(None), "m.pb")):
        with pytest.raises(ConfigError, match="at most 100 are read"):
            vault.read(path, limit=100)
        with pytest.raises(ConfigError, match="cannot read nothing: No such file"):
            vault.read("nothing", limit=LIMIT)
        with pytest.raises(ConfigError, match="cannot read models: Is a directory"):
            vault.read("models", limit=LIMIT)


def test_a_file_may_be_under_any_of_several_keys(write_sealed: Callable[..., Path]) -> None:
    newer = bytes(reversed(KEY))
    write_sealed("models/new.pb", key=newer)
    write_sealed("models/old.pb")
    write_sealed("models/moved.pb", embed="elsewhere/moved.pb")
    write_sealed("models/other.pb", key=bytes(16))
    vault = Vault([WrapKey(newer), WrapKey(KEY)])
    assert vault.read("models/new.pb", limit=LIMIT) == PLAIN
    assert vault.read("models/old.pb", limit=LIMIT) == PLAIN
    with pytest.raises(WrongPath):
        vault.read("models/moved.pb", limit=LIMIT)
    with pytest.raises(WrongKeyOrHeader, match=r"models/other\.pb: tried 2 keys: "):
        vault.read("models/other.pb", limit=LIMIT)


def test_an_empty_list_of_keys_is_not_taken_for_a_server_without_keys() -> None:
    with pytest.raises(ConfigError, match="there is no key"):
        Vault([])


def record_of(**files: bytes) -> ModelRecord:
    recorded = (
        RecordedFile(f"1/{name}.pb", len(data), hashlib.sha256(data).digest())
        for name, data in sorted(files.items())
    )
    return ModelRecord("m", None, tuple(recorded))


@pytest.mark.parametrize("root", ["models/m", "./models//m/", "models/n/../m"])
@pytest.mark.parametrize("keys", [[WrapKey(KEY)], None], ids=["sealed", "plain"])
def test_recorded_files_are_served_and_others_below_the_model_are_not(
    folder: Path, write_sealed: Callable[..., Path], keys: list[WrapKey] | None, root: str
) -> None:
    (folder / "models/m/1").mkdir(parents=True)
    names = ("same", "changed", "longer", "extra")
    for path in [*(f"models/m/1/{name}.pb" for name in names), "models/mm.pb", "ssl.cfg"]:
        (folder / path).write_bytes(PLAIN) if keys is None else write_sealed(path)
    record = record_of(same=PLAIN, changed=PLAIN[::-1], longer=PLAIN[1:])
    vault = Vault(keys, record=record, record_root=root)
    for path in ("models/m/1/same.pb", "models//m/./1/same.pb", "models/mm.pb", "ssl.cfg"):
        assert vault.read(path, limit=LIMIT) == PLAIN
    refusals = {
        "changed": "not the recorded one",
        "longer": "not the recorded one",
        "extra": "the record does not name it",
    }
    for name, says in refusals.items():
        with pytest.raises(IntegrityError, match=says) as caught:
            vault.read(f"models/m/1/{name}.pb", limit=LIMIT)
        assert caught.value.code == "integrity.record"
        assert str(caught.value).startswith(f"models/m/1/{name}.pb: ")


@pytest.mark.parametrize(
    ("root", "inside", "outside"),
    [
        pytest.param(".", "1/a.pb", "/srv/1/a.pb", id="the working folder"),
        pytest.param("/", "/1/a.pb", "1/a.pb", id="the root folder"),
        pytest.param("..", "../1/a.pb", "1/a.pb", id="the folder above"),
    ],
)
def test_what_is_below_a_model_s_folder_is_told_by_the_path_as_configured(
    root: str, inside: str, outside: str
) -> None:
    recorded = _Recorded(record_of(a=b"x"), root)
    recorded.check(inside, bytearray(b"x"))
    recorded.check(outside, bytearray(b"y"))
    with pytest.raises(IntegrityError):
        recorded.check(inside, bytearray(b"y"))


def test_an_older_authentic_file_that_is_put_back_is_refused_with_a_record_alone(
    folder: Path, write_sealed: Callable[..., Path]
) -> None:
    (folder / "models/1").mkdir()
    older = write_sealed("models/1/a.pb").read_bytes()
    newer = record_of(a=b"the weights that were trained since")
    (folder / "models/1/a.pb").write_bytes(older)
    assert Vault([WrapKey(KEY)]).read("models/1/a.pb", limit=LIMIT) == PLAIN
    with pytest.raises(IntegrityError, match="older or newer than the record"):
        Vault([WrapKey(KEY)], record=newer, record_root="models").read("models/1/a.pb", limit=LIMIT)
