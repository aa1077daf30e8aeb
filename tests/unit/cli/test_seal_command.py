"""`sealserve key`, `seal` and `unseal` as they are typed."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from sealserve.cli import main


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "model.pb").write_bytes(b"weights" * 2000)
    assert run("key", "new", "wrap.key") == 0
    return tmp_path


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert isinstance(caught.value.code, int)
    return caught.value.code


def test_a_new_key_is_16_random_bytes_for_its_owner_alone(folder: Path) -> None:
    run("key", "new", "other.key")
    keys = {(folder / name).read_bytes() for name in ("wrap.key", "other.key")}
    assert [len(key) for key in keys] == [16, 16]
    assert stat.S_IMODE((folder / "wrap.key").stat().st_mode) == 0o600


def test_a_key_is_never_overwritten(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (folder / "wrap.key").read_bytes()
    assert run("key", "new", "wrap.key") == 1
    assert "not overwritten" in capsys.readouterr().err
    assert (folder / "wrap.key").read_bytes() == before


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_file_goes_there_and_back(folder: Path, version: str) -> None:
    words = ("-w", "wrap.key", "-i", "plain/model.pb", "-o", "model.sealed")
    assert run("seal", *words, "--format", version) == 0
    assert (folder / "model.sealed").read_bytes()[8] == int(version[1])
    words = ("-w", "wrap.key", "-i", "model.sealed", "-o", "model.pb", "-V")
    assert run("unseal", *words) == 0
    assert (folder / "model.pb").read_bytes() == b"weights" * 2000


def test_json_says_what_became_of_each_file(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    run("seal", "-w", "wrap.key", "-i", "plain", "-o", "./sealed", "--json")
    assert json.loads(capsys.readouterr().out) == {
        "files": [
            {
                "input": "plain/model.pb",
                "output": "sealed/model.pb",
                "embedded_path": "sealed/model.pb",
                "bytes": 14000,
                "format": "v2",
            }
        ]
    }


def test_each_failure_of_integrity_says_what_it_is_and_exits_5(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("seal", "-w", "wrap.key", "-i", "plain/model.pb", "-o", "sealed")
    run("key", "new", "other.key")
    sealed = (folder / "sealed").read_bytes()
    (folder / "tampered").write_bytes(sealed[:-1] + bytes([sealed[-1] ^ 1]))
    (folder / "cut").write_bytes(sealed[:8192])
    (folder / "future").write_bytes(sealed[:8] + b"\x03" + sealed[9:])
    cases = {
        ("-w", "other.key", "-i", "sealed"): "[integrity.key-or-header]",
        ("-w", "wrap.key", "-i", "tampered"): "[integrity.node]",
        ("-w", "wrap.key", "-i", "cut"): "[integrity.truncated]",
        ("-w", "wrap.key", "-i", "future"): "[integrity.version]",
        ("-w", "wrap.key", "-i", "plain"): "[integrity.not-protected]",
        ("-w", "wrap.key", "-i", "./sealed", "-V"): "",
        ("-w", "wrap.key", "-i", str(folder / "sealed"), "-V"): "[integrity.path]",
    }
    for words, code in cases.items():
        capsys.readouterr()
        assert run("unseal", *words, "-o", "out") == (5 if code else 0)
        error = capsys.readouterr().err
        assert code in error
        assert words[3] in error or not code
        assert (folder / "out").exists() == (not code)
        (folder / "out").unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("content", "mode", "says"),
    [
        pytest.param(bytes(16), 0o640, "mode 0640", id="readable by the group"),
        pytest.param(bytes(16), 0o604, "mode 0604", id="readable by others"),
        pytest.param(bytes(32), 0o600, "holds 32 bytes", id="32 bytes"),
        pytest.param(b"", 0o600, "holds 0 bytes", id="empty"),
        pytest.param(b"00" * 16 + b"\n", 0o600, "xxd", id="hexadecimal"),
        pytest.param(bytes(5000), 0o600, "larger than", id="no key at all"),
    ],
)
def test_a_key_file_that_cannot_be_one_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], content: bytes, mode: int, says: str
) -> None:
    (folder / "bad.key").write_bytes(content)
    (folder / "bad.key").chmod(mode)
    assert run("seal", "-w", "bad.key", "-i", "plain", "-o", "sealed") == 1
    assert says in capsys.readouterr().err
    assert not (folder / "sealed").exists()


@pytest.mark.parametrize("command", ["seal", "unseal"])
@pytest.mark.parametrize("name", ["wrap.key", "plain/../wrap.key", "link", "same"])
def test_the_wrap_key_is_never_the_output(
    folder: Path, capsys: pytest.CaptureFixture[str], command: str, name: str
) -> None:
    run("seal", "-w", "wrap.key", "-i", "plain/model.pb", "-o", "sealed")
    (folder / "link").symlink_to("wrap.key")
    (folder / "same").hardlink_to(folder / "wrap.key")
    before = (folder / "wrap.key").read_bytes()
    source = "plain/model.pb" if command == "seal" else "sealed"
    assert run(command, "-w", "wrap.key", "-i", source, "-o", name) == 1
    assert f"the output {name} is the wrap key" in capsys.readouterr().err
    assert (folder / name).read_bytes() == before


@pytest.mark.parametrize(
    ("source", "key"),
    [
        pytest.param("plain", "plain/1/wrap.key", id="in the folder"),
        pytest.param("plain/1/wrap.key", "plain/1/wrap.key", id="the file itself"),
        pytest.param("plain", "wrap.key", id="by another name"),
    ],
)
def test_the_wrap_key_is_not_sealed_under_itself(
    folder: Path, capsys: pytest.CaptureFixture[str], source: str, key: str
) -> None:
    (folder / "plain" / "1").mkdir()
    (folder / "plain" / "1" / "wrap.key").hardlink_to(folder / "wrap.key")
    assert run("seal", "-w", key, "-i", source, "-o", "sealed") == 1
    assert "the input plain/1/wrap.key is the wrap key" in capsys.readouterr().err
    assert not (folder / "sealed").exists()


def test_no_message_shows_the_key_or_the_plaintext(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = bytes.fromhex("5ec2e75ec2e75ec2e75ec2e75ec2e75e")
    (folder / "wrap.key").write_bytes(secret)
    run("seal", "-w", "wrap.key", "-i", "plain", "-o", "sealed", "--json")
    run("unseal", "-w", "wrap.key", "-i", "plain", "-o", "out")
    run("unseal", "-w", "wrap.key", "-i", "sealed", "-o", "out", "-V")
    run("key", "new", "wrap.key")
    shown = "".join(capsys.readouterr())
    assert "5ec2e7" not in shown.lower()
    assert "\\x5e" not in shown
    assert "weights" not in shown


@pytest.mark.parametrize("command", ["key", "seal", "unseal"])
def test_help_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    run(command, "--help")
    assert "Example:\n" in capsys.readouterr().out
