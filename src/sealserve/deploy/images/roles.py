"""What runs in containers: a role for each image, and what all of them have in common.

The composition and the recipe read names, user and folders here, so that neither can drift from the
other. Nothing here is a secret, and nothing here runs anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from sealserve import __version__
from sealserve.errors import UsageError

USER: Final = "sealserve"
USER_ID: Final = 10001  # and the group's
CONFIG_FOLDER: Final = "/etc/sealserve"  # mounted read-only
STATE_FOLDER: Final = "/var/lib/sealserve"  # a volume: the key service's database and state
WORK_FOLDER: Final = "/srv/sealserve"  # mounted read-only: sealed models, sealed ssl.cfg, CA
TEMPORARY_FOLDER: Final = "/tmp"  # noqa: S108  # a tmpfs; all else of the root is read-only
ENCLAVE_FOLDER: Final = "/usr/lib/sealserve/enclave"  # a signed manifest and its SIGSTRUCT
DESCRIPTION_LABEL: Final = "io.sealserve.description"  # SHA-256 of the description, in hex
ROLE_LABEL: Final = "io.sealserve.role"


@dataclass(frozen=True, slots=True)
class Role:
    """One image: its name, what it is, what it starts, and the extras of ours that it needs.

    `gramine_entrypoint` is what an image with Gramine starts in place of `entrypoint`; an empty
    one is no such image.
    """

    name: str
    image: str
    title: str
    entrypoint: tuple[str, ...]
    extras: tuple[str, ...] = ()
    gramine_entrypoint: tuple[str, ...] = ()

    def reference(self, tag: str = __version__) -> str:
        """The image's name with its tag; without one, this version of SealServe."""
        return f"{self.image}:{tag}"


_OURS: Final = ("sealserve",)
KEY_SERVICE: Final = Role(
    "keyservice",
    "sealserve-keyservice",
    "SealServe key service",
    _OURS,
    extras=("keyservice", "pkcs11", "postgresql"),
)
SERVER: Final = Role(
    "server",
    "sealserve-server",
    "SealServe model server",
    _OURS,
    extras=("serving",),
    gramine_entrypoint=("gramine-sgx", f"{ENCLAVE_FOLDER}/sealserve"),
)
TENSORFLOW: Final = Role(
    "tensorflow",
    "sealserve-tensorflow",
    "TensorFlow Serving in Gramine",
    (),
    gramine_entrypoint=("gramine-sgx", f"{ENCLAVE_FOLDER}/tensorflow_model_server"),
)
CLIENT: Final = Role("client", "sealserve-client", "SealServe client", _OURS, extras=("client",))
PROXY: Final = Role(
    "proxy",
    "sealserve-proxy",
    "nginx, which passes TLS through",
    (
        *("nginx", "-p", TEMPORARY_FOLDER, "-c", f"{CONFIG_FOLDER}/nginx.conf"),
        *("-e", "stderr"),
    ),
)

ROLES: Final[Mapping[str, Role]] = MappingProxyType(
    {role.name: role for role in (KEY_SERVICE, SERVER, TENSORFLOW, CLIENT, PROXY)}
)


def find_role(name: str) -> Role:
    """The role of that name; raises UsageError for a name that there is not."""
    role = ROLES.get(name)
    if role is None:
        raise UsageError(f"no image has the role {name[:80]!r}", hint=f"known: {', '.join(ROLES)}")
    return role
