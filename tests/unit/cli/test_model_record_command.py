"""`sealserve model record` and `check-record` as they are typed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from sealserve.cli import main
from sealserve.sealing import parse_record

MODEL = b"graph" * 1000
RECORD = ("model", "record", "models/digits", "--name", "digits", "--out", "digits.record.json")
CHECK = ("model", "check-record", "models/digits", "--record", "digits.record.json")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models/digits/1").mkdir(parents=True)
    (tmp_path / "models/digits/1/saved_model.pb").write_bytes(MODEL)
    assert run("key", "new", "wrap.key") == 0
    return tmp_path


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert isinstance(caught.value.code, int)
    return caught.value.code


def test_the_file_written_has_the_digest_that_is_shown(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*RECORD, "--version", "1", "--json") == 0
    data = (folder / "digits.record.json").read_bytes()
    shown = capsys.readouterr()
    digest = hashlib.sha256(data).hexdigest()
    assert f"digits.record.json has the SHA-256 {digest}" in shown.err
    assert json.loads(shown.out) == {
        "model": "digits",
        "version": 1,
        "digest": digest,
        "files": [
            {
                "path": "1/saved_model.pb",
                "bytes": 5000,
                "sha256": hashlib.sha256(MODEL).hexdigest(),
            }
        ],
    }
    assert parse_record(data).version == 1


def test_a_sealed_folder_meets_the_record_of_the_plain_one_until_a_file_differs(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*RECORD) == 0
    (folder / "models/digits").rename(folder / "plain")
    assert run("seal", "-w", "wrap.key", "-i", "plain", "-o", "models/digits") == 0
    assert run(*CHECK, "-w", "wrap.key") == 0
    assert run(*CHECK) == 1
    assert "name the wrap key with -w" in capsys.readouterr().err
    (folder / "models/digits/1/extra").write_bytes(b"")
    assert run(*CHECK, "-w", "wrap.key", "--json") == 5
    assert json.loads(capsys.readouterr().out)["error"] == {
        "code": "integrity.record",
        "message": "models/digits/1/extra is there, and not in the record",
        "hint": "put back the files that were recorded, or record what is there now",
    }


def test_a_record_that_is_none_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "digits.record.json").write_text("{}")
    assert run(*CHECK) == 2
    assert "digits.record.json: not a model record" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        pytest.param(("--out", "models/digits/record.json"), "in the model's folder", id="inside"),
        pytest.param(("-w", "wrap.key", "--out", "wrap.key"), "is the wrap key", id="the key"),
        pytest.param(("-w", "wrap.key"), "not a Gramine protected file", id="not sealed"),
        pytest.param(("--name", "a\nb"), "control character", id="a name of two lines"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_nothing_is_written(
    folder: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], says: str
) -> None:
    before = sorted(folder.rglob("*"))
    key = (folder / "wrap.key").read_bytes()
    assert run(*RECORD, *words) != 0
    assert says in capsys.readouterr().err
    assert sorted(folder.rglob("*")) == before
    assert (folder / "wrap.key").read_bytes() == key
