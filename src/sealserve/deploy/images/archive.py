"""An image as it is, read from a docker-archive: its configuration, and the packages in it.

Nothing of the image is run, and nothing is unpacked to a disk: of all files only those are read
that say which packages there are. Layers are laid over each other as the OCI image specification
says (`layer.md`, "Whiteouts"). Everything here is an outsider's: sizes and numbers have limits.
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from sealserve.deploy.images.recipe import COPIED_LIST, RPM_LIST
from sealserve.deploy.images.roles import ENCLAVE_FOLDER
from sealserve.errors import FormatError

JSON_LIMIT: Final = 4 << 20
FILE_LIMIT: Final = 32 << 20
ENTRIES_LIMIT: Final = 2_000_000
LAYERS_LIMIT: Final = 200
WANTED_LIMIT: Final = 20_000
TOTAL_LIMIT: Final = 256 << 20  # bytes of all the files that name packages
_DPKG: Final = re.compile(r"var/lib/dpkg/status(\.d/[^/]+)?")
_PYTHON: Final = re.compile(r".*\.dist-info/METADATA")
_SIGSTRUCT: Final = re.compile(rf"{ENCLAVE_FOLDER[1:]}/[^/]+\.sig")
_UNREADABLE: Final = (
    *(tarfile.TarError, zlib.error, EOFError, OSError, RecursionError),
    *(LookupError, TypeError, ValueError, AttributeError),
)
_WHITEOUT: Final = ".wh."
_OPAQUE: Final = ".wh..wh..opq"


@dataclass(frozen=True, slots=True)
class Image:
    """What an archive holds. `files` are those that name packages, and SIGSTRUCTs of enclaves, by
    path without a slash."""

    config_sha256: str
    config: dict[str, Any]
    layers: tuple[str, ...]
    size: int
    files: dict[str, bytes]

    @property
    def labels(self) -> dict[str, str]:
        return {str(k): str(v) for k, v in sorted((self._run.get("Labels") or {}).items())}

    @property
    def user(self) -> str:
        return str(self._run.get("User") or "root")

    @property
    def entrypoint(self) -> tuple[str, ...]:
        return tuple(map(str, self._run.get("Entrypoint") or ()))

    @property
    def created(self) -> str:
        """RFC 3339, in seconds and UTC, as SPDX has it."""
        return f"{str(self.config.get('created', ''))[:19]}Z"

    @property
    def sigstructs(self) -> tuple[bytes, ...]:
        """Of the enclaves in it."""
        return tuple(data for path, data in self.files.items() if _SIGSTRUCT.fullmatch(path))

    @property
    def _run(self) -> dict[str, Any]:
        run = self.config.get("config")
        return run if isinstance(run, dict) else {}


def read_image(path: Path) -> Image:
    """The first image in the docker-archive `path`; raises FormatError for what is none."""
    try:
        with tarfile.open(path, "r:") as archive:
            manifest = json.loads(_member(archive, "manifest.json"))[0]
            raw = _member(archive, str(manifest["Config"]))
            config = json.loads(raw)
            names = [str(name) for name in manifest["Layers"]]
            if len(names) > LAYERS_LIMIT or not isinstance(config, dict):
                raise _malformed(path, "its manifest is not an image's")
            files: dict[str, bytes] = {}
            size = 0
            for name in names:
                size += archive.getmember(name).size
                with layer(archive, name) as stream:
                    _lay_over(files, stream)
            digests = tuple(map(str, config.get("rootfs", {}).get("diff_ids", ())))
    except _UNREADABLE as error:
        raise _malformed(path, f"{type(error).__name__}: {error}") from error
    return Image(hashlib.sha256(raw).hexdigest(), config, digests, size, files)


@contextmanager
def layer(archive: tarfile.TarFile, name: str) -> Iterator[tarfile.TarFile]:
    """A layer of an archive, as a tar file that is read from front to back."""
    stream = archive.extractfile(name)
    if stream is None:
        raise FormatError(f"the layer {name[:200]!r} is no file", code="image.archive")
    with stream, tarfile.open(fileobj=stream, mode="r|*") as opened:
        yield opened


def _lay_over(files: dict[str, bytes], stream: tarfile.TarFile) -> None:
    added: dict[str, bytes] = {}
    for number, entry in enumerate(stream):
        path = entry.name.removeprefix("./").lstrip("/")
        folder, _, name = path.rpartition("/")
        if number > ENTRIES_LIMIT or len(files) > WANTED_LIMIT:
            raise FormatError("an image has too many files", code="image.archive")
        if name == _OPAQUE:
            _remove(files, folder, below_only=True)
        elif name.startswith(_WHITEOUT):
            _remove(files, f"{folder}/{name.removeprefix(_WHITEOUT)}".lstrip("/"))
        elif _is_wanted(path) and entry.isreg() and entry.size <= FILE_LIMIT:
            content: IO[bytes] | None = stream.extractfile(entry)
            if content is not None:
                added[path] = content.read()
    files.update(added)
    if sum(map(len, files.values())) > TOTAL_LIMIT:
        raise FormatError("an image names too many packages", code="image.archive")


def _remove(files: dict[str, bytes], path: str, *, below_only: bool = False) -> None:
    for each in list(files):
        if each.startswith(f"{path}/") or (each == path and not below_only):
            del files[each]


def _is_wanted(path: str) -> bool:
    listed = f"/{path}" in (RPM_LIST, COPIED_LIST)
    return listed or any(each.fullmatch(path) for each in (_DPKG, _PYTHON, _SIGSTRUCT))


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    entry = archive.getmember(name)
    stream = archive.extractfile(entry)
    if stream is None or entry.size > JSON_LIMIT:
        raise ValueError(f"{name[:200]!r} is no file of at most {JSON_LIMIT} bytes")
    return stream.read()


def _malformed(path: Path, what: str) -> FormatError:
    return FormatError(
        f"{path} is no docker-archive of an image: {what}",
        code="image.archive",
        hint="`podman save IMAGE > FILE` writes one",
    )
