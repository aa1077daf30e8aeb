"""podman, the images and the service in them, each made once for all tests of this folder."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from container_site import (
    Site,
    make_network,
    measure,
    prepare,
    start_edge,
    start_key_service,
)
from podman_host import Podman, podman_host

ROOT = Path(__file__).parents[2]
MADE_OF = ("pyproject.toml", "constraints.txt", "README.md", "LICENSE")
ROLES = ("keyservice", "server", "client", "proxy")
TAG = "test"
BUILD_OPTIONS = "SEALSERVE_TEST_BUILD_OPTIONS"  # options of podman's, as a shell reads them
BUILD_SECONDS = 1800


@dataclass(frozen=True)
class Images:
    """What `sealserve image build` told of each image, and where it put their SBOMs."""

    podman: Podman
    base: str
    source: Path
    facts: dict[str, dict[str, Any]]
    sboms: Path

    @property
    def references(self) -> dict[str, str]:
        return {role: facts["image"] for role, facts in self.facts.items()}

    def build(self, *words: str) -> dict[str, Any]:
        return build(self.podman, self.base, self.source, *words)


def build(podman: Podman, base: str, source: Path, *words: str) -> dict[str, Any]:
    options = shlex.split(os.environ.get(BUILD_OPTIONS, ""))
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "sealserve", "image", "build", *words, "--json"),
            *("--with", "podman", "--base", base, "--tag", TAG),
            *("--source", str(source)),
            *(f"--build-option={each}" for each in options),
        ],
        env=podman.environment,
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return json.loads(ended.stdout)


@pytest.fixture(scope="session")
def host() -> Iterator[tuple[Podman, str]]:
    with podman_host(Path(tempfile.mkdtemp(prefix="sealserve-podman-"))) as found:
        yield found


@pytest.fixture(scope="session")
def images(host: tuple[Podman, str], tmp_path_factory: pytest.TempPathFactory) -> Images:
    podman, base = host
    sboms, source = tmp_path_factory.mktemp("sboms"), tmp_path_factory.mktemp("source")
    for name in MADE_OF:  # as they are now, whoever works on them meanwhile
        (source / name).write_bytes((ROOT / name).read_bytes())
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__"))
    made = build(podman, base, source, *ROLES, "--out", str(sboms))["images"]
    facts = {each["labels"]["io.sealserve.role"]: each for each in made}
    for each in made:
        sys.stderr.write(f"{each['image']}: {each['size_mib']} MiB\n")
    return Images(podman, base, source, facts, sboms)


@pytest.fixture(scope="session")
def site(images: Images, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Both servers serve, behind nginx."""
    made = Site(images.podman, images.references, tmp_path_factory.mktemp("site"))
    prepare(made)
    (made.client / "asking.py").write_text((Path(__file__).parent / "asking.py").read_text())
    make_network(made)
    start_key_service(made, measure(made))
    for name in ("server-1", "server-2"):
        made.start(name, made.serve(name), "Entering the event loop")
    start_edge(made)
    try:
        yield made
    finally:
        made.podman.run("rm", "--all", "--force", "--time", "0", check=False)
        for folder in made.folder.iterdir():
            made.podman.take_back(folder)
