"""Compose files as the tools that are installed read them; no engine has to run for that."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parents[2] / "golden" / "compose"
TOOLS = (("docker", "compose"), ("docker-compose",))  # podman-compose: tests/containers


def installed(words: tuple[str, ...]) -> bool:
    if shutil.which(words[0]) is None:
        return False
    asked = [*words, "version"]
    return subprocess.run(asked, capture_output=True, timeout=60, check=False).returncode == 0


@pytest.mark.parametrize("words", TOOLS, ids=" ".join)
@pytest.mark.parametrize("file", sorted(GOLDEN.glob("*.yaml")), ids=lambda path: path.name)
def test_the_tool_takes_the_file(words: tuple[str, ...], file: Path) -> None:
    if not installed(words):
        pytest.skip(f"{' '.join(words)} is missing")
    ended = subprocess.run(
        [*words, "-f", str(file), "-p", "tried", "config", "--quiet"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
