"""Images as archives: ours, such of ours with a file changed, and such of one static program each.

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
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from podman_host import podman_host

EXECUTABLE = 0o755
ROLES = ("keyservice", "server", "client", "proxy")
TAG = "test"
GIVEN = "SEALSERVE_TEST_IMAGES"  # a folder with ROLE.tar, to be taken in the place of built ones
BUILD_OPTIONS = "SEALSERVE_TEST_BUILD_OPTIONS"  # options of podman's, as a shell reads them
BUILD_SECONDS = 3600


def images(folder: Path) -> dict[str, Path]:
    """The archive of our image for each role, built by our command unless they are given."""
    place = Path(os.environ.get(GIVEN) or folder)
    if GIVEN not in os.environ:
        _build(place)
    return {role: place / f"{role}.tar" for role in ROLES}


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


def image_name(archive: Path) -> str:
    """The name in an archive of one image, with its tag."""
    with tarfile.open(archive) as opened:
        return str(_manifest(opened)["RepoTags"][0])


def changed_image(
    archive: Path, made: Path, file: str, change: Callable[[bytes], bytes], *, tag: str
) -> Path:
    """Write to `made` the image of `archive` with one more layer, in which one file is changed.

    `file` is of an installed package, such as `sealserve/serving/server.py`; `change` is given what
    it holds. The name is as before, with another tag.
    """
    with tarfile.open(archive) as opened:
        manifest = _manifest(opened)
        config = json.loads(_read(opened, manifest["Config"]))
        path, content = _installed(opened, manifest["Layers"], file)
        layer = _tar({path: change(content)})
        config["rootfs"]["diff_ids"].append(f"sha256:{sha256(layer).hexdigest()}")
        config["history"].append({"created_by": f"{file} changed by a test"})
        name = manifest["RepoTags"][0].rpartition(":")[0]
        named = {
            "Config": "changed.json",
            "RepoTags": [f"{name}:{tag}"],
            "Layers": [*manifest["Layers"], "changed.tar"],
        }
        with tarfile.open(made, "w") as written:
            for each in manifest["Layers"]:
                written.addfile(opened.getmember(each), opened.extractfile(each))
            _add(written, "changed.tar", layer)
            _add(written, "changed.json", json.dumps(config).encode())
            _add(written, "manifest.json", json.dumps([named]).encode())
    return made


def _installed(image: tarfile.TarFile, layers: list[str], file: str) -> tuple[str, bytes]:
    """Path and content of a package's file, in the topmost layer that has it."""
    for each in reversed(layers):
        with tarfile.open(fileobj=image.extractfile(each)) as layer:
            for path in layer.getnames():
                if path.endswith(f"-packages/{file}"):
                    return path, _read(layer, path)
    raise AssertionError(f"{file} is in no layer")


def _manifest(image: tarfile.TarFile) -> dict[str, Any]:
    (found,) = json.loads(_read(image, "manifest.json"))
    return dict(found)


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    stream = archive.extractfile(name)
    assert stream is not None
    return stream.read()


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
            _add(archive, name, content)
    return stream.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), EXECUTABLE
    archive.addfile(entry, io.BytesIO(content))
