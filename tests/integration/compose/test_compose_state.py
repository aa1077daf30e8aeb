"""The folder of what runs: one command at a time, nothing believed that is damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sealserve.cli import main
from sealserve.deploy.compose.running import bring_down, in_force, state_of
from sealserve.deploy.compose.state import State
from sealserve.errors import ConfigError, UsageError


@pytest.fixture
def state(tmp_path: Path) -> State:
    return state_of(tmp_path / "sealserve.toml")


def test_while_one_command_is_at_work_another_is_told_so(state: State) -> None:
    with state.held(make=True), pytest.raises(UsageError, match="at work"):
        bring_down(state, tell=str)


def test_what_failed_before_anything_was_begun_leaves_no_folder(state: State) -> None:
    with pytest.raises(KeyboardInterrupt), state.held(make=True):
        raise KeyboardInterrupt
    assert not state.path.exists()
    with pytest.raises(UsageError), state.held(make=True):
        state.write({"with": "processes"})
        raise UsageError("failed")
    assert state.path.exists()


def test_descriptions_in_one_folder_have_a_folder_each(tmp_path: Path) -> None:
    one, other = state_of(tmp_path / "one.toml"), state_of(tmp_path / "other.toml")
    assert one.path != other.path
    assert one.path.parent == other.path.parent == tmp_path


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        json.dumps({"format": 2}),
        json.dumps({"format": 1}),
        "\xff",
        "9" * 5000,
    ],
    ids=[
        "empty",
        "cut off",
        "list",
        "null",
        "nothing",
        "newer",
        "incomplete",
        "no text",
        "long number",
    ],
)
def test_a_damaged_record_is_said_and_nothing_is_ended_by_it(state: State, text: str) -> None:
    state.path.mkdir()
    (state.path / "composition.json").write_text(text, encoding="latin-1")
    with pytest.raises(ConfigError) as refused:
        in_force(state)
    assert refused.value.hint
    with pytest.raises(ConfigError):
        bring_down(state, tell=str)
    assert state.path.exists()


@pytest.mark.parametrize("command", ["status", "logs", "down"])
def test_where_nothing_was_brought_up_there_is_nothing_to_do(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, str(tmp_path / "sealserve.toml")])
    assert ended.value.code == (3 if command == "status" else 0)
    assert capsys.readouterr().out == ""
    assert not list(tmp_path.iterdir())
