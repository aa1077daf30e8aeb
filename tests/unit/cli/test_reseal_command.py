"""`sealserve reseal` as it is typed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sealserve.cli import main
from sealserve.sealing import open_sealed

PLAIN = b"weights" * 2000
KEYS = ("-w", "wrap.key", "--new-wrap-key", "new.key")


@pytest.fixture
def folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain" / "1").mkdir(parents=True)
    (tmp_path / "plain" / "1" / "model.pb").write_bytes(PLAIN)
    (tmp_path / "plain" / "2.pb").write_bytes(b"x")
    assert run("key", "new", "wrap.key") == 0
    assert run("key", "new", "new.key") == 0
    assert run("seal", "-w", "wrap.key", "-i", "plain", "-o", "sealed", "--format", "v1") == 0
    capsys.readouterr()
    return tmp_path


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert isinstance(caught.value.code, int)
    return caught.value.code


def content(file: Path, key: str) -> bytes:
    with file.open("rb") as stream:
        return open_sealed(stream, (file.parents[-1] / Path(key)).read_bytes()).readall()


def test_json_says_what_became_of_each_file(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("reseal", *KEYS, "-i", "sealed/2.pb") == 0
    assert capsys.readouterr().err == "resealed sealed/2.pb (embedded path 'sealed/2.pb')\n"
    assert run("reseal", *KEYS, "-i", "sealed", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "files": [
            {
                "file": "sealed/1/model.pb",
                "embedded_path": "sealed/1/model.pb",
                "bytes": 14000,
                "format": "v1",
                "outcome": "resealed",
            },
            {
                "file": "sealed/2.pb",
                "embedded_path": "sealed/2.pb",
                "bytes": 1,
                "format": "v1",
                "outcome": "skipped",
            },
        ]
    }
    assert content(Path("sealed/1/model.pb"), "new.key") == PLAIN


def test_another_place_has_its_own_path_or_the_one_to_embed(folder: Path) -> None:
    words = ("reseal", *KEYS, "-i", "sealed", "-o")
    assert run(*words, "next") == 0
    assert run("unseal", "-w", "new.key", "-i", "next", "-o", "back", "-V") == 0
    assert (folder / "back/1/model.pb").read_bytes() == PLAIN
    assert run(*words, "moved", "--embed-path", "sealed", "--format", "v2") == 0
    assert (folder / "moved/2.pb").read_bytes()[8] == 2
    (folder / "sealed").rename(folder / "older")
    (folder / "moved").rename(folder / "sealed")
    assert run("unseal", "-w", "new.key", "-i", "sealed", "-o", "again", "-V") == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        pytest.param(
            ("-w", "wrap.key", "--new-wrap-key", "wrap.key", "-i", "sealed"),
            "hold the same key",
            id="one key file",
        ),
        pytest.param(
            ("-w", "wrap.key", "--new-wrap-key", "copy.key", "-i", "sealed"),
            "hold the same key",
            id="a copy of the key",
        ),
        pytest.param(
            ("-w", "wrap.key", "--new-wrap-key", "open.key", "-i", "sealed"),
            "mode 0644",
            id="a new key for everybody",
        ),
        pytest.param(
            ("-w", "wrap.key", "--new-wrap-key", "sealed/new.key", "-i", "sealed"),
            "the input sealed/new.key is the wrap key",
            id="the new key among the files",
        ),
        pytest.param(
            ("-w", "sealed/old.key", "--new-wrap-key", "new.key", "-i", "sealed"),
            "the input sealed/old.key is the wrap key",
            id="the old key among the files",
        ),
        pytest.param(
            (*KEYS, "-i", "wrap.key"), "the output wrap.key is the wrap key", id="a key in place"
        ),
        pytest.param(
            (*KEYS, "-i", "sealed/2.pb", "-o", "new.key"), "is the wrap key", id="onto the new key"
        ),
        pytest.param(
            (*KEYS, "-i", "sealed", "--embed-path", "x"), "goes with -o", id="a path in place"
        ),
        pytest.param((*KEYS, "-i", "missing"), "neither a file nor a folder", id="nothing"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_changes_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], says: str
) -> None:
    for name, source in (("copy.key", "wrap.key"), ("open.key", "new.key")):
        (folder / name).write_bytes((folder / source).read_bytes())
        (folder / name).chmod(0o600 if name == "copy.key" else 0o644)
    for name, source in (("new.key", "new.key"), ("old.key", "wrap.key")):
        if f"sealed/{name}" in words:
            (folder / "sealed" / name).hardlink_to(folder / source)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert run("reseal", *words) == 1
    assert says in capsys.readouterr().err
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_plain_file_among_them_is_named_and_nothing_is_changed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "sealed/readme.txt").write_text("hello")
    assert run("reseal", *KEYS, "-i", "sealed") == 5
    error = capsys.readouterr().err
    assert "sealed/readme.txt: not a Gramine protected file" in error
    assert content(Path("sealed/2.pb"), "wrap.key") == b"x"


def test_a_full_disk_stops_it_and_the_same_command_goes_on_later(folder: Path) -> None:
    (folder / "sealed/1/small.pb").write_bytes((folder / "sealed/2.pb").read_bytes())
    (folder / "sealed/1/model.pb").rename(folder / "sealed/1/z.pb")
    limit = "ulimit -f 8; exec"  # 8 KiB (blocks of 1 KiB), and the model's file has more
    command = f"{limit} {sys.executable} -m sealserve reseal {' '.join(KEYS)} -i sealed"
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "sealed/1/z.pb: File too large" in ended.stderr
    assert content(Path("sealed/1/small.pb"), "new.key") == b"x"
    assert content(Path("sealed/1/z.pb"), "wrap.key") == PLAIN
    names = sorted(path.name for path in (folder / "sealed").rglob("*"))
    assert names == ["1", "2.pb", "small.pb", "z.pb"]
    assert run("reseal", *KEYS, "-i", "sealed") == 0
    assert content(Path("sealed/1/z.pb"), "new.key") == PLAIN


def test_no_message_shows_a_key_or_the_plaintext(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = bytes.fromhex("5ec2e75ec2e75ec2e75ec2e75ec2e75e")
    (folder / "new.key").write_bytes(secret)
    run("reseal", *KEYS, "-i", "sealed", "--json")
    run("reseal", *KEYS, "-i", "plain")
    run("reseal", "-w", "new.key", "--new-wrap-key", "new.key", "-i", "sealed")
    shown = "".join(capsys.readouterr())
    assert "5ec2e7" not in shown.lower()
    assert "\\x5e" not in shown
    assert "weights" not in shown
