"""What an archive of an image says is in it, and the SBOM of that."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from made_images import FILES, LIBRARY, ODD, archive, tar
from sealserve.deploy.images.archive import Image, read_image
from sealserve.deploy.images.sbom import packages, spdx
from sealserve.errors import FormatError


@pytest.fixture
def image(tmp_path: Path) -> Image:
    return read_image(archive(tmp_path / "image.tar", FILES))


def test_packages_are_those_that_are_installed(image: Image) -> None:
    assert [(each.kind, each.name, each.version) for each in packages(image)] == [
        ("deb", "libc6", "2.36-9+deb12u13"),
        ("deb", "tzdata", "2025b-0+deb12u2"),
        ("oci", "docker.io/tensorflow/serving", "sha256:00ff"),
        ("pypi", "Typing_Extensions", "4.16.0"),
        ("pypi", "odd", "1.0+local"),
        ("rpm", "glibc", "2.38-1.an23"),
    ]
    assert [each.url for each in packages(image)] == [
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u13?arch=amd64",
        "pkg:deb/debian/tzdata@2025b-0%2Bdeb12u2?arch=all",
        "pkg:oci/serving@sha256%3A00ff?repository_url=docker.io/tensorflow/serving",
        "pkg:pypi/typing-extensions@4.16.0",
        "pkg:pypi/odd@1.0%2Blocal",
        "pkg:rpm/glibc@2.38-1.an23?arch=x86_64",
    ]


def test_an_image_is_told_as_its_configuration_has_it(image: Image) -> None:
    assert image.user == "10001:10001"
    assert image.entrypoint == ("x",)
    assert image.labels == {"io.sealserve.role": "server"}
    assert image.created == "2026-11-29T10:00:00Z"


def test_an_image_without_a_user_is_told_to_run_as_root(tmp_path: Path) -> None:
    assert read_image(archive(tmp_path / "image.tar", FILES, config={})).user == "root"


@pytest.mark.parametrize(
    ("above", "left"),
    [
        ({f"{LIBRARY}/.wh.odd-1.0.dist-info": ""}, ["typing_extensions-4.16.0"]),
        ({f"{LIBRARY}/.wh..wh..opq": ""}, []),
        ({"usr/local/.wh.lib": ""}, []),
        ({f"{LIBRARY}/.wh..wh..opq": "", f"{LIBRARY}/a-1.dist-info/METADATA": ODD}, ["a-1"]),
        ({f"./{LIBRARY}/odd-1.0.dist-info/METADATA": ODD}, ["odd-1.0", "typing_extensions-4.16.0"]),
    ],
)
def test_what_an_upper_layer_removes_is_not_in_the_image(
    tmp_path: Path, above: dict[str, str], left: list[str]
) -> None:
    found = read_image(archive(tmp_path / "image.tar", FILES, above)).files
    names = sorted(re.findall(r"([^/]+)\.dist-info", " ".join(found)))
    assert names == left


def test_the_document_is_one_of_spdx_2_3(image: Image) -> None:
    document = json.loads(spdx(image, "server:1"))
    assert document["spdxVersion"] == "SPDX-2.3"
    assert document["dataLicense"] == "CC0-1.0"
    assert document["SPDXID"] == "SPDXRef-DOCUMENT"
    assert image.config_sha256 in document["documentNamespace"]
    assert document["creationInfo"]["created"] == "2026-11-29T10:00:00Z"
    assert re.fullmatch(r"Tool: sealserve-\S+", document["creationInfo"]["creators"][0])
    identifiers = [each["SPDXID"] for each in document["packages"]]
    assert len(set(identifiers)) == len(identifiers)
    assert all(re.fullmatch(r"SPDXRef-[A-Za-z0-9.-]+", each) for each in identifiers)
    related = [each["relatedSpdxElement"] for each in document["relationships"]]
    assert related == identifiers
    kinds = [each["relationshipType"] for each in document["relationships"]]
    assert kinds == ["DESCRIBES", *["CONTAINS"] * (len(identifiers) - 1)]
    for each in document["packages"]:
        assert {"name", "versionInfo", "downloadLocation", "filesAnalyzed"} <= each.keys()
    licenses = {each["name"]: each.get("licenseDeclared") for each in document["packages"]}
    assert licenses["Typing_Extensions"] == "PSF-2.0"
    assert licenses["odd"] == "NOASSERTION"


def test_the_same_image_gives_the_same_bytes(tmp_path: Path) -> None:
    turned = dict(reversed(FILES.items()))
    made = [archive(tmp_path / f"{n}.tar", each) for n, each in enumerate((FILES, FILES))]
    assert spdx(read_image(made[0]), "x") == spdx(read_image(made[1]), "x")
    assert packages(read_image(archive(tmp_path / "t.tar", turned))) == packages(
        read_image(made[0])
    )


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no archive",
        tar({"config.json": "{}"}),
        tar({"manifest.json": "not JSON"}),
        tar({"manifest.json": "[]"}),
        tar({"manifest.json": "{}"}),
        tar({"manifest.json": '[{"Config": "config.json", "Layers": []}]'}),
        tar({"manifest.json": '[{"Config": "c", "Layers": ["gone"]}]', "c": "{}"}),
        tar({"manifest.json": '[{"Config": "c", "Layers": ["l"]}]', "c": "{}", "l": "no tar"}),
        tar({"manifest.json": '[{"Config": "c", "Layers": []}]', "c": "[]"}),
        tar({"manifest.json": "[" * 100_000}),
    ],
)
def test_what_is_no_archive_of_an_image_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "image.tar"
    path.write_bytes(content)
    with pytest.raises(FormatError, match="no docker-archive") as told:
        read_image(path)
    assert told.value.hint
