"""What is in an image, as SPDX 2.3 in JSON, made from the packages' own records in it.

The same image gives the same bytes: the time is the image's own. A licence is repeated where it was
declared as an SPDX expression and is NOASSERTION otherwise; nothing is concluded.
Source: SPDX 2.3, clauses 6, 7 and 11; package-url, types `deb`, `oci`, `pypi`, `rpm`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.parser import HeaderParser
from typing import Any, Final
from urllib.parse import quote

from sealserve import __version__
from sealserve.deploy.images.archive import Image
from sealserve.deploy.images.recipe import COPIED_LIST, RPM_LIST
from sealserve.deploy.images.roles import ROLE_LABEL

_EXPRESSION: Final = re.compile(r"[A-Za-z0-9.+-]+(?: (?:AND|OR|WITH) [A-Za-z0-9.+-]+)*")
_NOT_IN_IDS: Final = re.compile(r"[^A-Za-z0-9.-]")
_RPM_FIELDS: Final = 4
_INSTALLED: Final = "install ok installed"


@dataclass(frozen=True, slots=True, order=True)
class Package:
    """A package in an image; `kind` is package-url's type."""

    kind: str
    name: str
    version: str
    architecture: str = ""
    license: str = ""

    @property
    def url(self) -> str:
        """Its package URL."""
        if self.kind == "oci":
            last = self.name.rpartition("/")[2]
            return f"pkg:oci/{last}@{quote(self.version)}?repository_url={self.name}"
        space = {"deb": "debian/", "rpm": ""}.get(self.kind, "")
        name = _python_name(self.name) if self.kind == "pypi" else self.name
        arch = f"?arch={quote(self.architecture)}" if self.architecture else ""
        return f"pkg:{self.kind}/{space}{quote(name)}@{quote(self.version, safe='')}{arch}"


def packages(image: Image) -> tuple[Package, ...]:
    """All of them, in order: those of the system, and Python's distributions."""
    return tuple(sorted(set(_packages(image.files))))


def spdx(image: Image, name: str) -> bytes:
    """The document for `image`, which is called `name`, as UTF-8."""
    found = packages(image)
    identity = _NOT_IN_IDS.sub("-", image.labels.get(ROLE_LABEL, "image"))
    root = "SPDXRef-image"
    document: dict[str, Any] = {
        "SPDXID": "SPDXRef-DOCUMENT",
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "name": name,
        "documentNamespace": (
            f"https://spdx.org/spdxdocs/sealserve-{identity}-{image.config_sha256}"
        ),
        "creationInfo": {
            "created": image.created,
            "creators": [f"Tool: sealserve-{__version__}"],
        },
        "packages": [_root_package(image, name, root), *map(_package, found)],
        "relationships": [
            _relation("SPDXRef-DOCUMENT", "DESCRIBES", root),
            *(_relation(root, "CONTAINS", _identifier(each)) for each in found),
        ],
    }
    return json.dumps(document, indent=1, ensure_ascii=False).encode() + b"\n"


def _packages(files: dict[str, bytes]) -> Iterator[Package]:
    for path, content in files.items():
        text = content.decode("utf-8", "replace")
        if path.endswith(".dist-info/METADATA"):
            yield from _of_python(text)
        elif path.startswith("var/lib/dpkg/"):
            yield from _of_dpkg(text)
        elif f"/{path}" == RPM_LIST:
            yield from _of_rpm(text)
        elif f"/{path}" == COPIED_LIST:
            yield from _of_images(text)


def _of_dpkg(text: str) -> Iterator[Package]:
    for stanza in text.split("\n\n"):
        fields = HeaderParser().parsestr(stanza.strip())
        if fields["Package"] and fields.get("Status", _INSTALLED) == _INSTALLED:
            names = (fields[key] or "" for key in ("Package", "Version", "Architecture"))
            yield Package("deb", *map(str.strip, names))


def _of_python(text: str) -> Iterator[Package]:
    fields = HeaderParser().parsestr(text)
    if fields["Name"] and fields["Version"]:
        declared = fields["License-Expression"] or ""
        yield Package("pypi", fields["Name"].strip(), fields["Version"].strip(), license=declared)


def _of_rpm(text: str) -> Iterator[Package]:
    for line in text.splitlines():
        fields = line.split("\t")
        if len(fields) == _RPM_FIELDS:
            yield Package("rpm", *fields)


def _of_images(text: str) -> Iterator[Package]:
    """Images that something was copied from, of which no package tells."""
    for line in text.split():
        name, _, digest = line.partition("@")
        yield Package("oci", re.sub(r":[^:/]*$", "", name), digest)


def _root_package(image: Image, name: str, identifier: str) -> dict[str, Any]:
    return {
        "SPDXID": identifier,
        "name": name,
        "versionInfo": image.labels.get("org.opencontainers.image.version", "NOASSERTION"),
        "primaryPackagePurpose": "CONTAINER",
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "checksums": [{"algorithm": "SHA256", "checksumValue": image.config_sha256}],
    }


def _package(package: Package) -> dict[str, Any]:
    declared = package.license.strip()
    known = _EXPRESSION.fullmatch(declared) is not None
    return {
        "SPDXID": _identifier(package),
        "name": package.name,
        "versionInfo": package.version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": declared if known and package.kind == "pypi" else "NOASSERTION",
        "copyrightText": "NOASSERTION",
        "externalRefs": [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": package.url,
            }
        ],
    }


def _identifier(package: Package) -> str:
    parts = (package.kind, package.name, package.version, package.architecture)
    return "SPDXRef-" + "-".join(_NOT_IN_IDS.sub("-", part) for part in parts if part)


def _relation(subject: str, kind: str, related: str) -> dict[str, str]:
    return {"spdxElementId": subject, "relationshipType": kind, "relatedSpdxElement": related}


def _python_name(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
