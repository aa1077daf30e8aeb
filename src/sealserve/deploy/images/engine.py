"""podman, docker or buildah: what builds images and hands them out. Nothing else of theirs is used.

An image leaves an engine as a docker-archive, which all three write. Times inside an image are
fixed where the engine can, so that the same context gives the same image; SOURCE_DATE_EPOCH says
to which (reproducible-builds.org, specification of that variable).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from sealserve.deploy.images.recipe import RECIPE_NAME
from sealserve.errors import NetworkError, UsageError

Name = Literal["podman", "docker", "buildah"]

NAMES: Final[tuple[Name, ...]] = ("podman", "docker", "buildah")
BUILD_SECONDS: Final = 3600.0
SAVE_SECONDS: Final = 600.0
_TAIL: Final = 8  # lines of the engine's that an error repeats


@dataclass(frozen=True, slots=True)
class Engine:
    """One that is installed."""

    name: Name
    program: Path

    def build(self, context: Path, reference: str, options: Sequence[str], log: Path) -> None:
        """Build the recipe in `context` as `reference`; what the engine says goes to `log`.

        Raises NetworkError where the build fails or takes too long.
        """
        words = [str(self.program), "build", "--file", str(context / RECIPE_NAME)]
        words += ["--tag", reference, *self._fixed_times(), *options, str(context)]
        with log.open("wb") as output:
            try:
                ended = subprocess.run(
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    timeout=BUILD_SECONDS,
                )
            except subprocess.TimeoutExpired as error:
                raise NetworkError(f"{self.name} did not end in {BUILD_SECONDS:.0f} s") from error
        if ended.returncode:
            lines = log.read_text(errors="replace").strip().splitlines()[-_TAIL:]
            raise NetworkError(
                f"{self.name} did not build {reference}:\n    " + "\n    ".join(lines),
                code="image.build",
                hint="--build-option passes an option to it, such as --build-option=--network=host",
            )

    def save(self, reference: str, target: Path) -> None:
        """The image as a docker-archive in `target`, a new file; UsageError where there is none."""
        archive = f"docker-archive:{target}:{_tagged(reference)}"
        commands = {
            "podman": ["save", "--format", "docker-archive", "--output", str(target), reference],
            "docker": ["save", "--output", str(target), reference],
            "buildah": ["push", "--quiet", reference, archive],
        }
        try:
            ended = subprocess.run(
                [str(self.program), *commands[self.name]],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=SAVE_SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            raise NetworkError(f"{self.name} did not end in {SAVE_SECONDS:.0f} s") from error
        if ended.returncode:
            last = ended.stderr.strip().splitlines()[-1:] or ["it said nothing"]
            raise UsageError(
                f"{self.name} has no image {reference}: {last[0]}",
                hint="`sealserve image build` makes it",
            )

    def _fixed_times(self) -> tuple[str, ...]:
        epoch = os.environ.get("SOURCE_DATE_EPOCH", "0")
        if self.name == "docker":
            return ("--build-arg", f"SOURCE_DATE_EPOCH={epoch}")
        return ("--timestamp", epoch, "--layers")


def find_engine(name: str | None = None) -> Engine:
    """The engine of that name, or the first that is installed; raises UsageError without one."""
    for each in NAMES:
        if name in (None, each) and (found := shutil.which(each)) is not None:
            return Engine(each, Path(found))
    what = name or "none of podman, docker and buildah"
    raise UsageError(
        f"{what} is {'not ' if name else ''}installed, and images are built by one of them",
        hint="on Debian and Ubuntu: apt-get install podman",
    )


def _tagged(reference: str) -> str:
    return reference if ":" in reference.rpartition("/")[2] else f"{reference}:latest"
