"""The way to a key service, where its packages are and where they are not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sealserve.cli import COMMANDS, main

WITHOUT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("sqlalchemy", "alembic", "fastapi", "uvicorn"):
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Missing())
from sealserve.cli import main
main(sys.argv[1:])
"""


def without_packages(*words: object) -> tuple[int, str]:
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ended.returncode, ended.stdout + ended.stderr


def test_policies_are_checked_where_no_key_service_is_installed(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("version = 2\n")
    code, said = without_packages("policy", "check", policy)
    assert (code, "is valid" in said) == (0, True), said
    code, said = without_packages("policy", "apply", policy, "--yes", "--config", "x.toml")
    assert (code, "pip install 'sealserve[keyservice]'" in said) == (1, True), said


@pytest.mark.parametrize("command", ["secret", "revocation", "audit"])
def test_commands_on_a_key_service_say_which_package_is_missing(command: str) -> None:
    code, said = without_packages(command, "list")
    assert (code, "pip install 'sealserve[keyservice]'" in said) == (1, True), said


@pytest.mark.parametrize("command", ["secret", "revocation", "audit"])
def test_every_command_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert COMMANDS[command].extra == "keyservice"
    names = {
        "secret": ["add", "rotate", "list", "show", "retire", "revoke"],
        "revocation": ["add", "lift", "list"],
        "audit": ["verify", "check", "checkpoint", "prove", "search", "export"],
    }[command]
    for words in ([], *([name] for name in names)):
        with pytest.raises(SystemExit) as ended:
            main([command, *words, "--help"])
        said = capsys.readouterr().out
        assert ended.value.code == 0
        assert "Example:\n" in said
        if words and words != ["check"]:
            assert "--server URL" in said
            assert "--json" in said
