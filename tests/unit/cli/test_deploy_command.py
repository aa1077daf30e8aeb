"""`sealserve deploy` and `sealserve gramine render`, as a person meets them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from sealserve.cli import cli, main
from sealserve.cli.output import Run
from sealserve.deploy.description.model import Description
from sealserve.errors import UsageError


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(words)
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err


def in_json(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    code, out, err = run(capsys, *words, "--json")
    assert code == 0, out + err
    return json.loads(out)


@pytest.fixture
def file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    path = tmp_path / "sealserve.toml"
    in_json(capsys, "deploy", "init", "--yes", "--out", str(path))
    return path


def test_what_init_writes_passes_the_check(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = in_json(capsys, "deploy", "check", str(file))
    assert (found["valid"], found["findings"]) == (True, [])


def test_init_asks_for_what_no_option_says(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    answers = "grpc.mine.example\n" + "\n" * 20
    words = ["deploy", "init", "--cluster", "mine", "--out", str(path)]
    ended = CliRunner().invoke(cli, words, input=answers, obj=Run())
    assert ended.exit_code == 0, ended.output
    assert "name of the service" not in ended.output
    assert 'domain = "grpc.mine.example"' in path.read_text()
    assert 'cluster = "mine"' in path.read_text()


@pytest.mark.parametrize(
    ("words", "unanswered"),
    [
        ((), "--cluster, --domain, --cloud"),
        (("--cluster", "mine", "--cloud", "azure"), "--domain, --replicas"),
    ],
    ids=["none given", "some given"],
)
def test_init_says_which_answers_are_missing_where_nobody_is_at_a_terminal(
    words: tuple[str, ...],
    unanswered: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "mine.toml"
    with Path(os.devnull).open() as nobody:
        monkeypatch.setattr("sys.stdin", nobody)
        code, out, err = run(capsys, "deploy", "init", *words, "--out", str(path))
    assert (code, out, path.exists()) == (1, "", False)
    first, hint = err.splitlines()
    assert first.startswith("error: nobody is at a terminal to answer")
    assert f"no option says {unanswered}" in first
    assert "--yes" in hint


def test_answers_that_end_too_soon_name_the_rest(tmp_path: Path) -> None:
    words = ["deploy", "init", "--out", str(tmp_path / "mine.toml")]
    ended = CliRunner().invoke(cli, words, input="mine\n" + "\n" * 10, obj=Run())
    assert isinstance(ended.exception, UsageError)
    assert ended.exception.message.endswith("no option says --gramine")


def test_init_writes_over_no_file(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = file.read_text()
    code, _, err = run(capsys, "deploy", "init", "--yes", "--out", str(file))
    assert (code, "not overwritten" in err, file.read_text()) == (1, True, before)


@pytest.mark.parametrize(
    ("option", "value"),
    [("--gramine", "1.4"), ("--key", 'x"'), ("--base-path", "../x"), ("--cluster", "a\nb = 1")],
)
def test_init_writes_nothing_for_answers_that_make_no_description(
    option: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "sealserve.toml"
    code, _, err = run(capsys, "deploy", "init", "--yes", option, value, "--out", str(path))
    assert (code, path.exists()) == (1, False)
    assert err.startswith("error: ")


def test_check_names_file_line_and_what_to_write(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(file.read_text().replace("replicas = 2", "replica = 2"))
    code, out, _ = run(capsys, "deploy", "check", str(file))
    assert code == 1
    assert f"{file}:7: error: unknown key replica" in out
    assert "hint: write replicas" in out


def test_strict_takes_a_warning_for_an_error(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(file.read_text().replace("replicas = 2", "replicas = 1"))
    assert run(capsys, "deploy", "check", str(file))[0] == 0
    assert run(capsys, "deploy", "check", str(file), "--strict")[0] == 1


def test_the_schema_knows_every_table(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "deploy", "schema")
    assert code == 0
    assert set(json.loads(out)["properties"]) == set(Description.model_fields)


def test_render_writes_what_it_says_and_nothing_over(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "enclave"
    found = in_json(capsys, "gramine", "render", str(file), "--out", str(out))
    assert found["files"] == [str(out / "tensorflow_model_server.manifest.template")]
    text = Path(found["files"][0]).read_text()
    assert found["description_sha256"] in text
    assert f'"{found["enclave_size"]}"' in text
    code, _, err = run(capsys, "gramine", "render", str(file), "--out", str(out))
    assert (code, "not overwritten" in err) == (1, True)


def test_render_says_how_it_reckoned_and_that_nothing_was_measured(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, _ = run(capsys, "gramine", "render", str(file), "--out", str(tmp_path / "enclave"))
    assert "max_threads, to the next multiple of 8" in out
    assert "not measured on SGX hardware" in out


def test_render_refuses_a_bad_description_with_every_line(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(file.read_text().replace("replicas = 2", "replicas = 0"))
    out = tmp_path / "enclave"
    code, _, err = run(capsys, "gramine", "render", str(file), "--out", str(out))
    assert (code, out.exists()) == (1, False)
    assert "line 7: replicas" in err


@pytest.mark.parametrize(
    ("kind", "version", "form"),
    [
        ("tensorflow-serving", "1.9", "v2"),
        ("tensorflow-serving", "1.8", "v1"),
        ("sealserve", "1.5", "v2"),
    ],
)
def test_render_names_the_format_that_the_server_can_open(
    kind: str, version: str, form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "other.toml"
    words = ["--yes", "--kind", kind, "--gramine", version, "--out", str(file)]
    in_json(capsys, "deploy", "init", *words)
    found = in_json(capsys, "gramine", "render", str(file), "--out", str(tmp_path / "out"))
    assert found["seal_format"] == form
