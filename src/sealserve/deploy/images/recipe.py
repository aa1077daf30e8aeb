"""The recipe of an image, from the one template: the same request gives the same bytes.

The template has blocks, each behind a line `#@ NAME [apt|dnf]`; a recipe is those that an image
rests on, in their order. Nothing here reads anything but the template, and nothing runs.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Final

from sealserve import __version__
from sealserve.deploy.images import roles
from sealserve.deploy.images.families import Argument, Family, settled
from sealserve.deploy.images.roles import Role
from sealserve.errors import UsageError

RECIPE_NAME: Final = "Containerfile"
RPM_LIST: Final = "/usr/lib/sealserve/rpm-packages"
COPIED_LIST: Final = "/usr/lib/sealserve/copied-from"  # images, one a line
SIGN: Final = "sign"  # the script of the signing step
SIGNED_FOLDER: Final = "/signed"  # where a container that signs writes to
MEASUREMENT_LABEL: Final = "io.sealserve.mr_enclave"

_GRAMINE: Final = "GRAMINE_VERSION"
_UNDATED: Final = "1.5"
_TEMPLATE: Final = "Containerfile.template"
_BLOCK: Final = re.compile(r"^#@ (\S+)(?: (apt|dnf))?\n", re.MULTILINE)
_MARK: Final = re.compile(r"@([A-Z_]+)(?: ([A-Z_]+))?@")
_IMAGE: Final = re.compile(r"^FROM \$\{([A-Z]+)\}", re.MULTILINE)
_TEXT: Final = re.compile(r"[A-Za-z0-9 ._:/@+,-]{1,200}")
_APT_TRACES: Final = (
    "/var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log \\\n"
    "    /var/log/alternatives.log /var/cache/debconf/*-old /var/cache/ldconfig/aux-cache \\\n"
    "    /var/lib/dpkg/*-old"
)
_DNF_TRACES: Final = (
    "/var/cache/dnf /var/log/dnf* /var/log/hawkey.log /var/cache/ldconfig/aux-cache"
)
_LIST_PACKAGES: Final = (
    f"mkdir -p /usr/lib/sealserve \\\n && rpm -qa --queryformat \\\n"
    r"    '%{NAME}\t%{VERSION}-%{RELEASE}\t%{ARCH}\t%{LICENSE}\n'"
    f" > {RPM_LIST} \\\n && sort -o {RPM_LIST} {RPM_LIST}"
)


@dataclass(frozen=True, slots=True)
class Request:
    """An image that is wanted.

    `gramine` is the server in an enclave; it is built first without its signature, then, when it
    was signed, on that image (`unsigned`, its reference) with it. `labels` come on top of those
    that every image has.
    """

    role: Role
    family: Family
    gramine: bool = False
    unsigned: str | None = None
    arguments: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.gramine and not self.role.gramine_entrypoint:
            raise UsageError(
                f"the image {self.role.name} has nothing that runs in an enclave",
                hint="leave --gramine out",
            )
        for name, value in self.labels.items():
            if not _TEXT.fullmatch(value):
                raise UsageError(f"the label {name} cannot be {value!r:.120}")

    @property
    def in_gramine(self) -> bool:
        """Whether it runs in an enclave; the stock server does nowhere else."""
        return self.gramine or not self.role.entrypoint

    @property
    def needs_wheels(self) -> bool:
        """Whether its context has Python packages."""
        return bool(self.role.extras) and self.unsigned is None


def program_name(role: Role) -> str:
    """What its manifest is called, before `.manifest`: as `sealserve gramine render` calls it."""
    return "tensorflow_model_server" if role is roles.TENSORFLOW else "sealserve"


def recipe_arguments(request: Request) -> tuple[Argument, ...]:
    """The build arguments of its recipe, in the order of the family's."""
    text = _blocks(request)
    wanted = {mark[2] for mark in _MARK.finditer(text) if mark[1] == "ARG"}
    wanted |= {image[1] for image in _IMAGE.finditer(text)} - {"UNSIGNED"}
    return tuple(each for each in request.family.arguments if each.name in wanted)


def render_recipe(request: Request, *, complete: bool = True) -> str:
    """The text of the recipe; with `complete`, every argument has a value, or UsageError is raised.

    Without it, an argument that has none is left to whoever builds.
    """
    arguments = {each.name: each for each in recipe_arguments(request)}
    values = settled(arguments.values(), request.arguments, complete=complete)
    text = _blocks(request)

    def argument(name: str) -> str:
        source = textwrap.fill(
            arguments[name].source, 98, initial_indent="# ", subsequent_indent="# "
        )
        default = f'="{values[name]}"' if name in values else ""
        return f"{source}\nARG {name}{default}"

    images = [image[1] for image in _IMAGE.finditer(text)]
    if request.unsigned is not None:
        head = f'ARG UNSIGNED="{_plain(request.unsigned)}"'
    else:
        head = "\n".join(argument(name) for name in images)
    words = {**_words(request), "IMAGES": head, "LABELS": _labels(request)}
    return _MARK.sub(lambda mark: argument(mark[2]) if mark[2] else words[mark[1]], text)


def sign_script(request: Request) -> str:
    """What a container of the image without a signature runs; it takes options of the signer's.

    gramine-manifest reads every file that is trusted, the owner's too, so it cannot run earlier.
    Source: Gramine, `python/gramine-manifest`, `python/gramine-sgx-sign` (`--date` from 1.6 on).
    """
    program = program_name(request.role)
    python = (
        ""
        if request.role is roles.TENSORFLOW
        else '-Dentrypoint="$(readlink -f /usr/bin/python3)" '
    )
    version = settled(recipe_arguments(request), request.arguments, complete=False)[_GRAMINE]
    date = "" if version.startswith(_UNDATED) else "--date 0000-00-00 "
    return (
        "# Fill in the manifest and sign it: --key FILE, or what a plugin of the signer takes.\n"
        "set -eu\n"
        f"gramine-manifest -Darch_libdir={request.family.library_folder} {python}\\\n"
        f"  {roles.ENCLAVE_FOLDER}/{program}.manifest.template /tmp/{program}.manifest\n"
        f"exec gramine-sgx-sign --quiet {date}--manifest /tmp/{program}.manifest \\\n"
        f"  --output {SIGNED_FOLDER}/{program}.manifest.sgx \\\n"
        f'  --sigfile {SIGNED_FOLDER}/{program}.sig "$@"\n'
    )


def _blocks(request: Request) -> str:
    role = request.role
    names: tuple[str, ...]
    if request.unsigned is not None:
        names = ("signed",)
    elif role is roles.PROXY:
        names = ("system", "nginx")
    elif role is roles.TENSORFLOW:
        names = ("system", "gramine", "tensorflow", "unsigned")
    elif request.gramine:
        names = ("system", "interpreter", "packages", "gramine", "python", "unsigned")
    else:
        names = ("system", "interpreter", "packages", "ours")
    found = _template()
    manager = request.family.manager
    texts = [found.get((name, manager)) or found[name, None] for name in ("head", *names, "end")]
    return "\n\n".join(texts[:-1]) + "\n" + texts[-1] + "\n"


@cache
def _template() -> dict[tuple[str, str | None], str]:
    text = (resources.files(__package__) / _TEMPLATE).read_text("utf-8")
    marks = list(_BLOCK.finditer(text))
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    return {
        (mark[1], mark[2]): text[mark.end() : end].strip("\n")
        for mark, end in zip(marks, ends, strict=True)
    }


def _words(request: Request) -> dict[str, str]:
    role = request.role
    stock = role is roles.TENSORFLOW
    return {
        "TITLE": role.title,
        "FAMILY": request.family.title,
        "VERSION": __version__,
        "USER": roles.USER,
        "USER_ID": str(roles.USER_ID),
        "CONFIG_FOLDER": roles.CONFIG_FOLDER,
        "STATE_FOLDER": roles.STATE_FOLDER,
        "WORK_FOLDER": roles.WORK_FOLDER,
        "ENCLAVE_FOLDER": roles.ENCLAVE_FOLDER,
        "STAGE": role.name,
        "GROUND": "system" if stock else "interpreter",
        "PROGRAM": program_name(role),
        "WORKDIR": _work_folder(role),
        "ENTRYPOINT": json.dumps(_entrypoint(request)),
        "APT_TRACES": _APT_TRACES,
        "DNF_TRACES": _DNF_TRACES,
        "RPM_LIST": _LIST_PACKAGES,
        "COPIED_LIST": COPIED_LIST,
    }


def _entrypoint(request: Request) -> tuple[str, ...]:
    if not request.in_gramine:
        return request.role.entrypoint
    if request.unsigned is None:
        return ("sh", f"{roles.ENCLAVE_FOLDER}/{SIGN}")
    return request.role.gramine_entrypoint


def _work_folder(role: Role) -> str:
    if role in (roles.SERVER, roles.TENSORFLOW):
        return roles.WORK_FOLDER
    return roles.STATE_FOLDER if role is roles.KEY_SERVICE else roles.TEMPORARY_FOLDER


def _labels(request: Request) -> str:
    labels = {
        "org.opencontainers.image.title": request.role.title,
        "org.opencontainers.image.version": __version__,
        roles.ROLE_LABEL: request.role.name,
        **request.labels,
    }
    lines = [f'{name}="{value}"' for name, value in sorted(labels.items())]
    return "LABEL " + " \\\n      ".join(lines)


def _plain(reference: str) -> str:
    if not _TEXT.fullmatch(reference):
        raise UsageError(f"{reference!r:.120} is no name of an image")
    return reference
