"""What an image is made on: a system's packages, their versions, and where each fact is from.

A value that no source at hand gives has no default: it is asked for, with where to get it. Nothing
is downloaded here. Versions of a system's packages are those of its release, whose security updates
come along; what was installed in the end is in the image's SBOM.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from sealserve.errors import UsageError

Manager = Literal["apt", "dnf"]

PINNED: Final = re.compile(r"[a-z0-9][A-Za-z0-9._:/-]{0,200}@sha256:[0-9a-f]{64}")
_VERSION: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+~-]{0,60}")


@dataclass(frozen=True, slots=True)
class Argument:
    """A build argument: its default, or None where whoever builds has to give it.

    `source` says where the default is from, or else where to get a value; `pinned` are images, by
    digest.
    """

    name: str
    default: str | None
    source: str
    pinned: bool = False

    def check(self, value: str) -> str:
        """The value, if it is one; raises UsageError otherwise."""
        pattern = PINNED if self.pinned else _VERSION
        if pattern.fullmatch(value):
            return value
        expected = "IMAGE@sha256:DIGEST" if self.pinned else "a version"
        raise UsageError(
            f"{self.name}: found {value!r:.120}, expected {expected}", hint=self.source
        )


@dataclass(frozen=True, slots=True)
class Family:
    """A system that images are made on, and the arguments of the recipe for it."""

    name: str
    title: str
    manager: Manager
    library_folder: str  # Gramine's `arch_libdir`
    arguments: tuple[Argument, ...]


def _base(image: str) -> Argument:
    return Argument(
        "BASE",
        None,
        f"a digest grows old, so none is kept here: take {image}, with the digest that "
        f"`skopeo inspect docker://{image}` prints",
        pinned=True,
    )


# What is the same on all of them.
_COMMON: Final = (
    Argument(
        "TFSERVING",
        None,
        "TensorFlow Serving 2.20.0 (tensorflow/serving, tag bc7e9d2b9a41, 23 April 2026); no "
        "source at hand confirms the digest of its image: docker.io/tensorflow/serving:2.20.0, "
        "with the digest that `skopeo inspect` prints",
        pinned=True,
    ),
    Argument(
        "GRAMINE_VERSION",
        "1.9",
        "the description's; gramineproject/gramine v1.9, debian/changelog: suites bookworm, "
        "bullseye, noble, jammy",
    ),
)
_DEBIAN: Final = Family(
    "debian",
    "Debian 12",
    "apt",
    "/lib/x86_64-linux-gnu",
    (
        _base("docker.io/library/debian:bookworm-slim"),
        Argument("PYTHON_VERSION", "3.11", "packages.debian.org, bookworm: python3 3.11.2"),
        Argument(
            "NGINX_VERSION",
            "1.22",
            "packages.debian.org, bookworm: nginx and libnginx-mod-stream 1.22.1",
        ),
        Argument(
            "GRAMINE_SUITE",
            "bookworm",
            "gramineproject/gramine v1.9, Documentation/installation.rst, Debian 12",
        ),
        *_COMMON,
    ),
)
_UBUNTU: Final = (
    Argument("PYTHON_VERSION", "3.12", "packages.ubuntu.com, noble: python3.12 3.12.3"),
    Argument(
        "NGINX_VERSION", "1.24", "packages.ubuntu.com, noble: nginx and libnginx-mod-stream 1.24.0"
    ),
    Argument(
        "GRAMINE_SUITE",
        "noble",
        "gramineproject/gramine v1.9, Documentation/installation.rst, Ubuntu 24.04",
    ),
    *_COMMON,
)
_UBUNTU_IMAGE: Final = "docker.io/library/ubuntu:24.04"
_ANOLIS: Final = (
    _base("docker.io/openanolis/anolisos:23"),
    Argument(
        "PYTHON_VERSION",
        None,
        "no source at hand confirms Anolis OS' version: `dnf info python3` in the base image, 3.11 "
        "or later",
    ),
    Argument(
        "NGINX_VERSION",
        None,
        "no source at hand confirms Anolis OS' version: `dnf info nginx` in the base image",
    ),
    *_COMMON,
)

FAMILIES: Final[Mapping[str, Family]] = {
    each.name: each
    for each in (
        _DEBIAN,
        Family(
            "ubuntu",
            "Ubuntu 24.04",
            "apt",
            "/lib/x86_64-linux-gnu",
            (_base(_UBUNTU_IMAGE), *_UBUNTU),
        ),
        # Azure's machines run Ubuntu; its own quote client is not packaged for 24.04, and Microsoft
        # recommends Intel's with the addresses of THIM (Azure-DCAP-Client, issue 175, PR 204): that
        # is the host's affair, `sealserve cloud qcnl azure`, and none of the image's.
        Family(
            "azure",
            "Ubuntu 24.04 on Azure",
            "apt",
            "/lib/x86_64-linux-gnu",
            (_base(_UBUNTU_IMAGE), *_UBUNTU),
        ),
        Family("anolis", "Anolis OS", "dnf", "/lib64", _ANOLIS),
    )
}


def find_family(name: str) -> Family:
    """The family of that name; raises UsageError for a name that there is not."""
    family = FAMILIES.get(name)
    if family is None:
        known = ", ".join(FAMILIES)
        raise UsageError(f"no images are made on {name[:80]!r}", hint=f"known: {known}")
    return family


def settled(
    arguments: Iterable[Argument], given: Mapping[str, str], *, complete: bool
) -> dict[str, str]:
    """A value for each of the arguments; unless it is to be `complete`, for those that have one.

    Raises UsageError for a value that is malformed, or of none of these arguments, or missing.
    """
    known = {each.name: each for each in arguments}
    for name in given:
        if name not in known:
            raise UsageError(
                f"the recipe has no argument {name[:80]!r}",
                hint=f"it has {', '.join(known)}" if known else "it has none",
            )
    values = {}
    for name, argument in known.items():
        value = given.get(name, argument.default)
        if value is not None:
            values[name] = argument.check(value)
        elif complete:
            raise UsageError(f"{name} is not given, and has no default", hint=argument.source)
    return values
