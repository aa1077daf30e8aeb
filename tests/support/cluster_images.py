"""Images as archives that containerd imports: ours, and such of one static program each.

Source: Docker Image Specification v1.2, "Combined Image JSON + Filesystem Changeset Format".
"""

from __future__ import annotations

import io
import json
import os
import shlex
import subprocess
import sys
import tarfile
import tempfile
from hashlib import sha256
from pathlib import Path

from podman_host import podman_host

EXECUTABLE = 0o755
ROLES = ("keyservice", "server", "client", "proxy")
TAG = "test"
GIVEN = "SEALSERVE_TEST_IMAGES"  # a folder with ROLE.tar, to be taken in the place of built ones
BUILD_OPTIONS = "SEALSERVE_TEST_BUILD_OPTIONS"  # options of podman's, as a shell reads them
BUILD_SECONDS = 3600


def images(folder: Path) -> dict[str, tuple[str, Path]]:
    """Name and archive of our image for each role, built by our command unless they are given."""
    place = Path(os.environ.get(GIVEN) or folder)
    if GIVEN not in os.environ:
        _build(place)
    archives = {role: place / f"{role}.tar" for role in ROLES}
    return {role: (_name(archive), archive) for role, archive in archives.items()}


def _build(folder: Path) -> None:
    options = shlex.split(os.environ.get(BUILD_OPTIONS, ""))
    with podman_host(Path(tempfile.mkdtemp(prefix="sealserve-podman-"))) as (podman, base):
        command = [sys.executable, "-m", "sealserve", "image", "build", *ROLES, "--json"]
        command += ["--with", "podman", "--base", base, "--tag", TAG]
        built = subprocess.run(
            [*command, *(f"--build-option={each}" for each in options)],
            env=podman.environment,
            capture_output=True,
            text=True,
            timeout=BUILD_SECONDS,
            check=False,
        )
        assert built.returncode == 0, built.stdout + built.stderr
        for each in json.loads(built.stdout)["images"]:
            archive = folder / f"{each['labels']['io.sealserve.role']}.tar"
            words = ("--quiet", "--format", "docker-archive", "--output", str(archive))
            podman.run("save", *words, each["image"])


def _name(archive: Path) -> str:
    with tarfile.open(archive) as opened:
        manifest = opened.extractfile("manifest.json")
        assert manifest is not None
        return str(json.load(manifest)[0]["RepoTags"][0])


def program_image(path: Path, name: str, program: Path) -> Path:
    """Write the image NAME, whose entrypoint is `program`."""
    inner = f"/{program.name}"
    layer = _tar({inner[1:]: program.read_bytes()})
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": [inner], "User": "65532:65532"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    members = {"config.json": json.dumps(config).encode(), "layer.tar": layer}
    path.write_bytes(_tar({**members, "manifest.json": json.dumps(manifest).encode()}))
    return path


def _tar(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), EXECUTABLE
            archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()
