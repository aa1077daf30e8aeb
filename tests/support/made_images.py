"""Archives of images as `podman save` writes them, small ones."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LIBRARY = "usr/local/lib/python3.11/dist-packages"
STATUS = """\
Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9+deb12u13
Description: GNU C Library
 with more lines

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1

Package: tzdata
Status: install ok installed
Architecture: all
Version: 2025b-0+deb12u2
"""
METADATA = """\
Metadata-Version: 2.4
Name: Typing_Extensions
Version: 4.16.0
License-Expression: PSF-2.0

A description, whose Version: is none of ours.
"""
ODD = "Metadata-Version: 2.1\nName: odd\nVersion: 1.0+local\nLicense: as is\n\n"
RPMS = "glibc\t2.38-1.an23\tx86_64\tLGPL-2.1-or-later\nnot a package\n"
FILES = {
    "var/lib/dpkg/status": STATUS,
    f"{LIBRARY}/typing_extensions-4.16.0.dist-info/METADATA": METADATA,
    f"{LIBRARY}/odd-1.0.dist-info/METADATA": ODD,
    "usr/lib/sealserve/rpm-packages": RPMS,
    "usr/lib/sealserve/copied-from": "docker.io/tensorflow/serving:2.20.0@sha256:00ff\n",
    "etc/passwd": "nothing that names a package",
}


def tar(files: Mapping[str, bytes | str]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in files.items():
            data = content if isinstance(content, bytes) else content.encode()
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return stream.getvalue()


def archive(path: Path, *layers: Mapping[str, bytes | str], **config: Any) -> Path:
    """A docker-archive as `podman save` writes it."""
    tars = {f"{number}.tar": tar(files) for number, files in enumerate(layers)}
    run = {"User": "10001:10001", "Labels": {"io.sealserve.role": "server"}, "Entrypoint": ["x"]}
    found = {
        "created": "2026-11-29T10:00:00.123456789Z",
        "config": run,
        "rootfs": {"diff_ids": list(tars)},
        **config,
    }
    manifest = [{"Config": "config.json", "Layers": list(tars), "RepoTags": ["server:1"]}]
    members = {**tars, "config.json": json.dumps(found), "manifest.json": json.dumps(manifest)}
    path.write_bytes(tar(members))
    return path
