"""What docs/scaling.md shows below its commands is what they print."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from sealserve.cli import main

PAGE = Path(__file__).parents[3] / "docs" / "scaling.md"
SHOWN = re.compile(r"^```sh\n(.*?)^```\n\n```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HERE = re.compile(r"^cat > (\S+) <<'END'\n(.*?)^END\n", re.MULTILINE | re.DOTALL)


def shown() -> list[tuple[str, str]]:
    return SHOWN.findall(PAGE.read_text())


def test_every_command_of_the_page_shows_what_it_prints() -> None:
    assert len(shown()) == PAGE.read_text().count("```sh\n") > 0


@pytest.mark.parametrize(("block", "printed"), shown(), ids=[str(n) for n in range(len(shown()))])
def test_a_command_prints_what_the_page_shows(
    block: str,
    printed: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in HERE.findall(block):
        Path(name).write_text(text)
    (command,) = (line for line in HERE.sub("", block).splitlines() if line)
    with pytest.raises(SystemExit) as ended:
        main(shlex.split(command)[1:])
    assert ended.value.code == 0
    assert capsys.readouterr().out == printed
