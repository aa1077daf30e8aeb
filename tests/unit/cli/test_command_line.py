"""What holds for every command: help with an example, exit codes, errors as text or as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator

import click
import pytest

from sealserve.cli import COMMANDS, cli, main
from sealserve.cli.output import json_option
from sealserve.errors import (
    DeniedError,
    IntegrityError,
    NetworkError,
    RejectedError,
    SealServeError,
    UsageError,
)


def every_command(
    command: click.Command, context: click.Context, name: str
) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        for word in command.list_commands(context):
            inner = command.get_command(context, word)
            assert inner is not None
            yield from every_command(inner, context, f"{name} {word}".strip())


EVERY = dict(every_command(cli, click.Context(cli), ""))


@pytest.mark.parametrize("name", EVERY, ids=lambda name: name or "sealserve")
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*name.split(), "--help"])
    assert ended.value.code == 0
    assert f"Usage: sealserve {name}".strip() in capsys.readouterr().out


@pytest.mark.parametrize("name", EVERY, ids=lambda name: name or "sealserve")
def test_the_help_of_every_command_has_an_example_of_that_command(name: str) -> None:
    text = EVERY[name].help or ""
    _, _, example = text.partition("Example:")
    assert example.split()[:1] == ["sealserve"]
    assert name in example


def test_the_list_of_commands_says_what_each_is_for(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    printed = " ".join(capsys.readouterr().out.split())
    assert all(f"{name} {entry.summary}" in printed for name, entry in COMMANDS.items())


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("x"), 1),
        (RejectedError("x"), 2),
        (NetworkError("x"), 3),
        (DeniedError("x"), 4),
        (IntegrityError("x"), 5),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_family_of_errors_has_its_exit_code(
    error: SealServeError, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_failing(error, [], monkeypatch) == code


def test_an_error_says_what_was_found_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error = UsageError("two wheels found, four expected", code="wheels", hint="add two")
    run_failing(error, [], monkeypatch)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "error: two wheels found, four expected [wheels]\n  hint: add two\n"


def test_where_json_was_asked_for_an_error_is_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_failing(UsageError("no", code="wheels", hint="add"), ["--json"], monkeypatch)
    expected = {"error": {"code": "wheels", "message": "no", "hint": "add"}}
    assert json.loads(capsys.readouterr().out) == expected


def test_where_json_was_asked_for_wrong_usage_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["evidence", "show", "--json"])
    assert ended.value.code == UsageError.exit_code
    assert "FILE" in json.loads(capsys.readouterr().out)["error"]["message"]


@pytest.mark.parametrize("words", [["seal"], ["nothing"], ["seal", "--nothing"]])
def test_wrong_usage_ends_with_exit_code_1(words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == UsageError.exit_code


def test_a_missing_package_is_named_with_the_extra_that_brings_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def without_openvino(_name: str) -> None:
        raise ModuleNotFoundError("No module named 'openvino'", name="openvino")

    monkeypatch.setattr("importlib.import_module", without_openvino)
    with pytest.raises(SystemExit) as ended:
        main(["serve"])
    assert ended.value.code == UsageError.exit_code
    assert "pip install 'sealserve[serving]'" in capsys.readouterr().err


def run_failing(
    error: SealServeError, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> int | str | None:
    @click.command()
    @json_option
    def failing(as_json: bool) -> None:
        raise error

    monkeypatch.setattr(type(cli), "get_command", lambda *_: failing)
    with pytest.raises(SystemExit) as ended:
        main(["failing", *words])
    return ended.value.code
