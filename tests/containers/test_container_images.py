"""The images themselves: what is in them, as whom they run, and that nothing secret is in one."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from container_site import Site
from sealserve.deploy.images.archive import layer, read_image
from sealserve.deploy.images.roles import ROLES

if TYPE_CHECKING:
    from conftest import Images

pytestmark = [pytest.mark.containers, pytest.mark.timeout(2400)]

BUILT = ("keyservice", "server", "client", "proxy")
WINDOW = 24  # bytes: long enough to be in no other file by chance
STEP = 512


@pytest.mark.parametrize("role", BUILT)
def test_an_image_runs_as_the_one_user_and_says_what_it_is(images: Images, role: str) -> None:
    facts = images.facts[role]
    assert facts["user"] == "10001:10001"
    assert tuple(facts["entrypoint"]) == ROLES[role].entrypoint
    assert facts["labels"]["org.opencontainers.image.title"] == ROLES[role].title


@pytest.mark.parametrize("role", BUILT)
def test_the_sbom_lists_what_the_image_itself_says_is_installed(images: Images, role: str) -> None:
    document = json.loads((images.sboms / f"{role}.spdx.json").read_bytes())
    listed = {
        (each["externalRefs"][0]["referenceLocator"].partition("/")[0], each["name"])
        for each in document["packages"]
        if "externalRefs" in each
    }
    assert {name for kind, name in listed if kind == "pkg:deb"} == said(
        images, role, "dpkg-query", "--show", "--showformat=${binary:Package}\n"
    )
    if ROLES[role].extras:
        program = "from importlib import metadata\nfor d in metadata.distributions(): print(d.name)"
        assert {name for kind, name in listed if kind == "pkg:pypi"} == said(
            images, role, "python3", "-c", program
        )


@pytest.mark.parametrize("role", BUILT)
def test_spdx_s_own_library_finds_nothing_wrong_with_the_sbom(images: Images, role: str) -> None:
    program = shutil.which(
        "pyspdxtools", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    )
    if program is None:
        pytest.skip("pyspdxtools is missing (Python's package spdx-tools; extra `containers`)")
    ended = subprocess.run(
        [program, "--infile", str(images.sboms / f"{role}.spdx.json")],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def said(images: Images, role: str, program: str, *words: str) -> set[str]:
    command = ["run", "--rm", "--network", "none", "--entrypoint", program]
    told = images.podman.run(*command, images.references[role], *words)
    return {re.sub(":.*", "", line) for line in told.stdout.split()}


@pytest.mark.parametrize("role", ["client", "proxy"])
def test_the_same_request_gives_the_same_image_without_any_cache(images: Images, role: str) -> None:
    (again,) = images.build(role, "--build-option=--no-cache")["images"]
    assert again["id"] == images.facts[role]["id"]


def test_no_layer_has_a_key_or_the_plaintext_of_anything_sealed(
    images: Images, site: Site, tmp_path: Path
) -> None:
    needles = secrets_of(site)
    assert len(needles) > len(BUILT)
    for role, reference in images.references.items():
        archive = tmp_path / "image.tar"
        images.podman.run(
            "save", "--quiet", "--format", "docker-archive", "--output", str(archive), reference
        )
        assert f"sha256:{read_image(archive).config_sha256}" == images.facts[role]["id"]
        for name, content in files_of(archive):
            found = [what for what, bytes_ in needles if bytes_ in content]
            assert not found, f"{role}: {name} holds {found}"
        archive.unlink()


def secrets_of(site: Site) -> list[tuple[str, bytes]]:
    """Keys, and pieces of plaintexts."""
    key = (site.owner / "wrap.key").read_bytes()
    found = [("the wrap key", key), ("the wrap key in hex", key.hex().encode())]
    for path in [*site.owner.rglob("key.pem"), *site.folder.glob("lab/world/*.pem")]:
        text = path.read_text()
        if "PRIVATE KEY" in text:
            found.append((f"the key {path.name}", text.splitlines()[2].encode()))
    for path in [*site.owner.glob("models/**/*.pb"), site.owner / "ssl_configure" / "ssl.cfg"]:
        plain = path.read_bytes()
        places = range(0, len(plain) - WINDOW, STEP)
        pieces = [plain[place : place + WINDOW] for place in places]
        found += [(path.name, piece) for piece in pieces if len(set(piece)) > WINDOW // 2]
    return found


def files_of(archive: Path) -> Any:
    """Every file of every layer, those included that a later layer removes."""
    with tarfile.open(archive) as opened:
        for name in json.load(opened.extractfile("manifest.json"))[0]["Layers"]:
            with layer(opened, name) as stream:
                for entry in stream:
                    if entry.isreg():
                        yield entry.name, stream.extractfile(entry).read()


def test_show_tells_of_an_image_and_of_its_archive_the_same(images: Images, tmp_path: Path) -> None:
    reference = images.references["proxy"]
    archive = tmp_path / "proxy.tar"
    images.podman.run("save", "--quiet", "--output", str(archive), reference)
    told = []
    for name in ("proxy", reference, str(archive)):
        command = [sys.executable, "-m", "sealserve", "image", "show", name, "--json"]
        ended = subprocess.run(
            [*command, "--with", "podman", "--tag", "test"],
            env=images.podman.environment,
            capture_output=True,
            check=True,
        )
        told.append(json.loads(ended.stdout))
        del told[-1]["image"]
    assert told[0] == told[1] == told[2]
