"""What the build of an image is given: the recipe, and files that it copies. Nothing secret.

Wheels are `wheels.py`'s affair. Every other file is looked at before it goes in: a private key, a
wrap key or anything that is called like one is refused, because what is in a layer stays there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sealserve.deploy.description.model import Description
from sealserve.deploy.gramine.render import render
from sealserve.deploy.images import roles
from sealserve.deploy.images.recipe import (
    MEASUREMENT_LABEL,
    RECIPE_NAME,
    SIGN,
    Request,
    program_name,
    render_recipe,
    sign_script,
)
from sealserve.deploy.images.roles import Role
from sealserve.errors import UsageError
from sealserve.evidence.sigstruct import check_signature, parse_sigstruct
from sealserve.files import read_file

ENCLAVE: Final = "enclave"
KEYRINGS: Final = "keyrings"
FILE_LIMIT: Final = 16 << 20  # bytes: a signed manifest with all its trusted files
WRAP_KEY_BYTES: Final = 16
_SECRET_NAME: Final = re.compile(
    r"(?i)(.*[._-])?(wrap[._-]?key|key|kek|secret|passphrase)s?(\..*)?"
)
_SECRET_ENDS: Final = (".key", ".p12", ".pfx", "key.pem")
_SECRET_TEXT: Final = (b"PRIVATE KEY", b"server_key:")
_SOURCES: Final = {
    "gramine-keyring.gpg": "https://packages.gramineproject.io/gramine-keyring-SUITE.gpg",
    "gramine.repo": "https://packages.gramineproject.io/rpm/gramine.repo",
    "gramine-keyring.asc": "the address that gramine.repo names as gpgkey",
}


def context_files(
    request: Request,
    *,
    description: Description | None = None,
    keyrings: Path | None = None,
    signed: Path | None = None,
    complete: bool = True,
) -> dict[str, bytes]:
    """The recipe and the files that it copies, by name; UsageError for one that is not there.

    `keyrings` holds the keys of the package sources, `signed` what the signing step wrote.
    """
    files = {RECIPE_NAME: render_recipe(request, complete=complete).encode()}
    if request.unsigned is not None:
        files |= _signed_files(request.role, signed)
    elif request.in_gramine:
        files |= _manifest(request.role, description)
        files[f"{ENCLAVE}/{SIGN}"] = sign_script(request).encode()
        files |= _keyrings(request, keyrings)
    for name, content in files.items():
        refuse_secret(name, content)
    return files


def refuse_secret(name: str, content: bytes) -> None:
    """Raise UsageError for a file that is, or is called like, one that nobody else must have."""
    last = name.rpartition("/")[2]
    called = _SECRET_NAME.fullmatch(last) or last.lower().endswith(_SECRET_ENDS)
    if called or len(content) == WRAP_KEY_BYTES or any(mark in content for mark in _SECRET_TEXT):
        raise UsageError(
            f"{name} looks like a secret, and no secret goes into an image",
            hint="what a layer holds stays in it: mount secrets when the container starts",
        )


def signature_labels(role: Role, signed: Path) -> Mapping[str, str]:
    """What the signature states, as labels; raises RejectedError unless it is whole."""
    stated = parse_sigstruct(read_file(signed / f"{program_name(role)}.sig", limit=FILE_LIMIT))
    check_signature(stated)
    return {MEASUREMENT_LABEL: stated.mr_enclave.hex()}


def _signed_files(role: Role, signed: Path | None) -> dict[str, bytes]:
    if signed is None:
        raise UsageError("what was signed is not given", hint="--signed FOLDER")
    names = (f"{program_name(role)}.manifest.sgx", f"{program_name(role)}.sig")
    return {f"{ENCLAVE}/{name}": read_file(signed / name, limit=FILE_LIMIT) for name in names}


def _manifest(role: Role, description: Description | None) -> dict[str, bytes]:
    if description is None:
        raise UsageError(
            "an enclave is made from a description, and none is given",
            hint="--from sealserve.toml; `sealserve deploy init` writes one",
        )
    kind = "tensorflow-serving" if role is roles.TENSORFLOW else "sealserve"
    if description.server.kind != kind:
        raise UsageError(
            f"the description's server is {description.server.kind!r}, the image's {kind!r}",
            hint=f'build the other image, or write kind = "{kind}" in [server]',
        )
    rendered = render(description)
    return {f"{ENCLAVE}/{rendered.manifest}": rendered.files[rendered.manifest]}


def _keyrings(request: Request, folder: Path | None) -> dict[str, bytes]:
    apt = request.family.manager == "apt"
    names = ("gramine-keyring.gpg",) if apt else ("gramine.repo", "gramine-keyring.asc")
    files = {}
    for name in names:
        if folder is None or not (folder / name).is_file():
            raise UsageError(
                f"{name} is not given: packages of Gramine are taken by its key alone",
                hint=f"--keyrings FOLDER, with {name} from {_SOURCES[name]}; compare its "
                "fingerprint with gramine.readthedocs.io",
            )
        files[f"{KEYRINGS}/{name}"] = read_file(folder / name, limit=FILE_LIMIT)
    return files
