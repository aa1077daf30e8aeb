"""From a request to an image: the context, the build, and what came out of it.

The order of things: the files of the context (and whether one is secret) before anything is
fetched, wheels before the engine starts, and the SBOM from the finished image alone.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from sealserve import __version__
from sealserve.deploy.description.model import Description
from sealserve.deploy.images.archive import Image, read_image
from sealserve.deploy.images.context import context_files, signature_labels
from sealserve.deploy.images.engine import Engine
from sealserve.deploy.images.families import Family
from sealserve.deploy.images.recipe import Request, recipe_arguments
from sealserve.deploy.images.roles import DESCRIPTION_LABEL, Role
from sealserve.deploy.images.sbom import spdx
from sealserve.deploy.images.wheels import make_wheels
from sealserve.deploy.writing import write_new
from sealserve.errors import UsageError
from sealserve.files import PUBLIC, write_file

UNSIGNED: Final = "-unsigned"
_GIT_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Order:
    """What is wanted of every image that one command makes."""

    family: Family
    source: Path
    tag: str = __version__
    gramine: bool = False
    signed: Path | None = None
    keyrings: Path | None = None
    description: Description | None = None
    arguments: Mapping[str, str] = field(default_factory=dict)
    source_url: str | None = None

    def request(self, role: Role) -> Request:
        """The image of that role, with those of the arguments that its recipe has."""
        unsigned = None if self.signed is None else role.reference(self.tag + UNSIGNED)
        request = Request(role, self.family, gramine=self.gramine, unsigned=unsigned)
        if unsigned is not None and not request.in_gramine:
            raise UsageError("--signed is for images with Gramine", hint="add --gramine")
        has = {each.name for each in recipe_arguments(request)}
        elsewhere = {each.name for each in self.family.arguments} - has
        described = self.description and {"GRAMINE_VERSION": self.description.gramine.version}
        given = {**(described or {}), **self.arguments}
        arguments = {name: value for name, value in given.items() if name not in elsewhere}
        return replace(request, arguments=arguments, labels=self._labels(role))

    def _labels(self, role: Role) -> dict[str, str]:
        labels = {} if self.signed is None else dict(signature_labels(role, self.signed))
        if self.description is not None:
            labels[DESCRIPTION_LABEL] = self.description.digest
        if self.source_url is not None:
            labels["org.opencontainers.image.source"] = self.source_url
        if revision := _revision(self.source):
            labels["org.opencontainers.image.revision"] = revision
        return labels

    def reference(self, request: Request) -> str:
        """What the image will be called."""
        waits = request.in_gramine and request.unsigned is None
        return request.role.reference(self.tag + UNSIGNED if waits else self.tag)


@dataclass(frozen=True, slots=True)
class Built:
    """An image that an engine has, what is in it, and its SBOM."""

    reference: str
    image: Image
    sbom: bytes


def write_context(folder: Path, order: Order, role: Role, *, complete: bool = True) -> Request:
    """Everything that a build of this role needs, in `folder`, which must not have it yet.

    Without `complete`, arguments without a value are left to whoever builds, and so are wheels.
    """
    request = order.request(role)
    files = context_files(
        request,
        description=order.description,
        keyrings=order.keyrings,
        signed=order.signed,
        complete=complete,
    )
    write_new(folder, files)
    if request.needs_wheels and complete:
        version = request.arguments.get("PYTHON_VERSION") or _default(request, "PYTHON_VERSION")
        make_wheels(folder, order.source, role.extras, version)
    return request


def build(order: Order, role: Role, engine: Engine, log: Path, options: Sequence[str]) -> Built:
    """Build one image; what the engine says goes to the file `log`."""
    with tempfile.TemporaryDirectory(prefix="sealserve-image-") as temporary:
        context = Path(temporary) / "context"
        request = write_context(context, order, role)
        reference = order.reference(request)
        engine.build(context, reference, options, log)
        shutil.rmtree(context)  # its wheels, before the archive comes
        return look(engine, reference, Path(temporary))


def look(engine: Engine, reference: str, temporary: Path) -> Built:
    """What the engine has under that name; the archive is gone again afterwards."""
    archive = temporary / "image.tar"
    try:
        engine.save(reference, archive)
        return read_built(archive, reference)
    finally:
        archive.unlink(missing_ok=True)


def read_built(archive: Path, reference: str | None = None) -> Built:
    """What is in a docker-archive, which is called by its file where no name is given."""
    image = read_image(archive)
    name = reference or archive.name
    return Built(name, image, spdx(image, name))


def write_sbom(built: Built, folder: Path, role: Role) -> Path:
    """The SBOM as `ROLE.spdx.json` in `folder`, in the place of an older one."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{role.name}.spdx.json"
    write_file(path, built.sbom, mode=PUBLIC)
    return path


def _default(request: Request, name: str) -> str:
    found = next(each for each in recipe_arguments(request) if each.name == name)
    return str(found.default)


def _revision(source: Path) -> str | None:
    """The commit of the sources, with a mark where they differ from it; None without git."""
    words = ["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    git = ["git", "--no-optional-locks", "-C", str(source), *words]
    try:
        answer = subprocess.run(git, capture_output=True, text=True, timeout=_GIT_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None
