"""The Python packages of an image, as wheels with their hashes, made on the machine that builds.

pip fetches them, by the index and the authorities that it is configured for here; the image's build
then asks no index. Versions are those of `constraints.txt`, the ones that were tested together.
Source: pip, "Secure installs" (hash-checking mode) and `pip download` (other platforms).
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import subprocess
import sys
from pathlib import Path
from typing import Final

import sealserve
from sealserve.errors import ConfigError, NetworkError
from sealserve.files import PUBLIC, write_file

WHEELS: Final = "wheels"
INSTALLER: Final = "installer"
REQUIREMENTS: Final = "requirements.txt"
SECONDS: Final = 900.0
_TAIL: Final = 5  # lines of pip's that an error repeats
# glibc from 2.17 to 2.28, which the oldest of the systems has; SGX and TDX are of this processor.
_PLATFORMS: Final = tuple(f"manylinux_2_{minor}_x86_64" for minor in range(28, 16, -1))


def source_folder() -> Path:
    """The checkout that this SealServe runs from; raises ConfigError where it runs from none."""
    folder = Path(sealserve.__file__).parents[2]
    if not (folder / "pyproject.toml").is_file():
        raise ConfigError(
            "this SealServe was not started from its sources, which images are made of",
            hint="name a checkout of them: --source FOLDER",
        )
    return folder


def make_wheels(
    context: Path, source: Path, extras: tuple[str, ...], python_version: str
) -> tuple[str, ...]:
    """Fill `wheels/` and `installer/` of the context; the names of the wheels, in order.

    Raises ConfigError without pip or constraints, NetworkError where pip ends with an error.
    """
    constraints = source / "constraints.txt"
    if not constraints.is_file():
        raise ConfigError(f"{constraints} is missing", hint="--source is a checkout of SealServe")
    wheels, installer = context / WHEELS, context / INSTALLER
    for folder in (wheels, installer):
        folder.mkdir(parents=True)
    _pip("wheel", "--no-deps", "--wheel-dir", str(wheels), str(source))
    (own,) = wheels.glob("sealserve-*.whl")
    _pip(
        *("download", "--only-binary=:all:", "--constraint", str(constraints)),
        *("--python-version", python_version, "--implementation", "cp"),
        *(f"--platform={name}" for name in _PLATFORMS),
        *("--dest", str(wheels), f"{own}[{','.join(extras)}]"),
    )
    version = importlib.metadata.version("pip")
    _pip("download", "--no-deps", "--dest", str(installer), f"pip=={version}")
    (pip,) = installer.glob("pip-*.whl")
    pip.rename(installer / "pip.whl")
    names = tuple(sorted(each.name for each in wheels.glob("*.whl")))
    text = "".join(requirement(name, (wheels / name).read_bytes()) for name in names)
    write_file(wheels / REQUIREMENTS, text.encode(), mode=PUBLIC)
    return names


def requirement(name: str, content: bytes) -> str:
    """The line of a requirements file that takes this wheel and no other."""
    distribution, version = name.split("-")[:2]
    return f"{distribution}=={version} --hash=sha256:{hashlib.sha256(content).hexdigest()}\n"


def _pip(*words: str) -> None:
    command = (sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", *words)
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=SECONDS, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as error:
        raise NetworkError(f"pip did not end within {SECONDS:.0f} s") from error
    if ended.returncode:
        last = " | ".join(ended.stderr.strip().splitlines()[-_TAIL:])
        missing = "No module named pip" in ended.stderr
        raise NetworkError(
            f"pip {words[0]} failed: {last}",
            hint="install pip for this Python"
            if missing
            else "pip's own configuration says where it looks: `python -m pip config list`",
        )
